package tokenizer

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/farlabs/inference"
)

// Vocab reads the metadata of a GGUF file; the second result is false where a
// key is missing or of another type. Uint and Ints take any integer type.
type Vocab interface {
	String(key string) (string, bool)
	Strings(key string) ([]string, bool)
	Ints(key string) ([]int64, bool)
	Uint(key string) (uint64, bool)
	Bool(key string) (bool, bool)
}

// The metadata keys that are read.
const (
	keyModel    = "tokenizer.ggml.model"
	keyPre      = "tokenizer.ggml.pre"
	keyTokens   = "tokenizer.ggml.tokens"
	keyMerges   = "tokenizer.ggml.merges"
	keyTypes    = "tokenizer.ggml.token_type"
	keyBOS      = "tokenizer.ggml.bos_token_id"
	keyEOS      = "tokenizer.ggml.eos_token_id"
	keyEOT      = "tokenizer.ggml.eot_token_id"
	keyEOM      = "tokenizer.ggml.eom_token_id"
	keyAddBOS   = "tokenizer.ggml.add_bos_token"
	keyAddEOS   = "tokenizer.ggml.add_eos_token"
	keyTemplate = "tokenizer.chat_template"
)

// The limits of a vocabulary. The largest in use have 262,144 tokens and
// 514,906 merges.
const (
	maxTokens     = 1 << 20
	maxMerges     = 1 << 21
	maxTextBytes  = 1 << 26 // of all tokens
	maxTokenBytes = 1 << 12 // of one, as the file spells it
)

// endTokens are the names under which models keep tokens that end a turn, in
// addition to the ids that the metadata give.
var endTokens = []string{
	"<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|endoftext|>", "<|end_of_text|>",
	"<|end|>", "<end_of_turn>", "<|end_of_turn|>", "<|endofturn|>", "</s>",
	"<|END_OF_TURN_TOKEN|>", "<|end▁of▁sentence|>", "<EOT>",
}

// FromGGUF builds the tokenizer of a GGUF file. It returns an
// [*UnsupportedError] for a kind of tokenizer that is not implemented and an
// error that wraps [ErrVocabulary] for a vocabulary that makes no sense. It
// keeps no reference to what v returns.
func FromGGUF(v Vocab) (*Tokenizer, error) {
	t, err := fromGGUF(v)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %w", err)
	}
	return t, nil
}

func fromGGUF(v Vocab) (*Tokenizer, error) {
	model, _ := v.String(keyModel)
	if model != "gpt2" {
		return nil, &UnsupportedError{keyModel, model}
	}
	pre, _ := v.String(keyPre)
	split, ok := splits[pre]
	if !ok {
		return nil, &UnsupportedError{keyPre, pre}
	}
	if add, _ := v.Bool(keyAddEOS); add {
		return nil, &UnsupportedError{keyAddEOS, "true"}
	}
	tokens, kinds, byToken, err := readTokens(v)
	if err != nil {
		return nil, err
	}
	t := &Tokenizer{split: split, cache: newWordCache(), addBOS: split.addBOS}
	if t.tokens, err = newVocabulary(tokens, kinds); err != nil {
		return nil, err
	}
	special := map[string]inference.TokenID{}
	for i, k := range kinds {
		if k == kindControl || k == kindUnknown || k == kindUserDefined {
			id := inference.TokenID(i)
			special[t.tokens.bytes(id)] = id
		}
	}
	t.specials = newSpecials(special)
	for b := range t.bytes {
		t.bytes[b] = none
		if id, ok := byToken[string(alphabet[b])]; ok && t.tokens.kind(id) == kindNormal {
			t.bytes[b] = id
		}
	}
	if t.merges, err = readMerges(v, byToken); err != nil {
		return nil, err
	}
	if err := t.readEnds(v); err != nil {
		return nil, err
	}
	if add, ok := v.Bool(keyAddBOS); ok {
		t.addBOS = add
	}
	t.addBOS = t.addBOS && t.bos != none
	template, _ := v.String(keyTemplate)
	t.template = strings.Clone(template)
	return t, nil
}

// readTokens returns the tokens as the file spells them, their kinds, and
// their ids.
func readTokens(v Vocab) ([]string, []kind, map[string]inference.TokenID, error) {
	tokens, ok := v.Strings(keyTokens)
	if !ok || len(tokens) == 0 {
		return nil, nil, nil, fmt.Errorf("%w: %s is missing", ErrVocabulary, keyTokens)
	}
	if len(tokens) > maxTokens {
		return nil, nil, nil, fmt.Errorf("%w: %s has %d entries, more than %d", ErrVocabulary, keyTokens, len(tokens), maxTokens)
	}
	types, ok := v.Ints(keyTypes)
	if !ok || len(types) != len(tokens) {
		return nil, nil, nil, fmt.Errorf("%w: %s has %d entries, %s %d", ErrVocabulary, keyTypes, len(types), keyTokens, len(tokens))
	}
	kinds := make([]kind, len(types))
	byToken := make(map[string]inference.TokenID, len(tokens))
	for i, token := range tokens {
		k := types[i]
		if k < int64(kindNormal) || k > int64(kindUnused) {
			return nil, nil, nil, fmt.Errorf("%w: token %d has type %d; byte-level vocabularies have 1 to 5", ErrVocabulary, i, k)
		}
		kinds[i] = kind(k)
		if token == "" || len(token) > maxTokenBytes {
			return nil, nil, nil, fmt.Errorf("%w: token %d has %d bytes; want 1 to %d", ErrVocabulary, i, len(token), maxTokenBytes)
		}
		if other, ok := byToken[token]; ok {
			return nil, nil, nil, fmt.Errorf("%w: tokens %d and %d are both %s", ErrVocabulary, other, i, quoted(token))
		}
		byToken[token] = inference.TokenID(i)
	}
	return tokens, kinds, byToken, nil
}

// readMerges returns the merges by pair. Each entry is two tokens with a blank
// between them, and the two together must be a token.
func readMerges(v Vocab, byToken map[string]inference.TokenID) (map[pair]merge, error) {
	list, ok := v.Strings(keyMerges)
	if !ok {
		return nil, fmt.Errorf("%w: %s is missing", ErrVocabulary, keyMerges)
	}
	if len(list) > maxMerges {
		return nil, fmt.Errorf("%w: %s has %d entries, more than %d", ErrVocabulary, keyMerges, len(list), maxMerges)
	}
	merges := make(map[pair]merge, len(list))
	for rank, entry := range list {
		left, right, ok := strings.Cut(entry, " ")
		if !ok || strings.Contains(right, " ") {
			return nil, fmt.Errorf("%w: merge %d is %s; want two tokens", ErrVocabulary, rank, quoted(entry))
		}
		l, okLeft := byToken[left]
		r, okRight := byToken[right]
		id, okBoth := byToken[left+right]
		if !okLeft || !okRight || !okBoth {
			return nil, fmt.Errorf("%w: merge %d, %s, names a token that there is not", ErrVocabulary, rank, quoted(entry))
		}
		if _, ok := merges[pair{l, r}]; ok {
			return nil, fmt.Errorf("%w: merge %d, %s, stands twice", ErrVocabulary, rank, quoted(entry))
		}
		merges[pair{l, r}] = merge{rank: uint32(rank), id: id}
	}
	return merges, nil
}

// readEnds fills bos and eog.
func (t *Tokenizer) readEnds(v Vocab) error {
	id := func(key string) (inference.TokenID, error) {
		n, ok := v.Uint(key)
		if !ok {
			return none, nil
		}
		if n >= uint64(t.Size()) {
			return none, fmt.Errorf("%w: %s is %d; there are %d tokens", ErrVocabulary, key, n, t.Size())
		}
		return inference.TokenID(n), nil
	}
	var err error
	if t.bos, err = id(keyBOS); err != nil {
		return err
	}
	ends := map[inference.TokenID]bool{}
	for _, key := range []string{keyEOS, keyEOT, keyEOM} {
		end, err := id(key)
		if err != nil {
			return err
		}
		if end != none {
			ends[end] = true
		}
	}
	for _, name := range endTokens {
		if end, ok := t.specials.lookup(name); ok && t.tokens.kind(end) == kindControl {
			ends[end] = true
		}
	}
	t.eog = slices.Sorted(maps.Keys(ends))
	return nil
}

// quoted is s for an error message, cut to a bearable length.
func quoted(s string) string {
	if len(s) > 64 {
		s = s[:64] + "…"
	}
	return strconv.Quote(s)
}
