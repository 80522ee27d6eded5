package tokenizer

import (
	"fmt"

	"github.com/farlabs/inference"
)

// kind is the type of a token; the values are those of GGUF.
type kind uint8

const (
	kindNormal      kind = 1
	kindUnknown     kind = 2
	kindControl     kind = 3
	kindUserDefined kind = 4
	kindUnused      kind = 5
)

// vocabulary holds the bytes of every token.
type vocabulary struct {
	text  string   // all tokens' bytes, one after the other
	start []uint32 // [size+1] offsets into text
	kinds []kind
	words map[string]inference.TokenID // normal tokens by their bytes
}

// size returns the number of tokens.
func (v *vocabulary) size() int { return len(v.kinds) }

// kind returns 0 for ids out of range.
func (v *vocabulary) kind(id inference.TokenID) kind {
	if id < 0 || int(id) >= len(v.kinds) {
		return 0
	}
	return v.kinds[id]
}

// bytes returns the bytes of a token, "" for ids out of range.
func (v *vocabulary) bytes(id inference.TokenID) string {
	if id < 0 || int(id) >= len(v.kinds) {
		return ""
	}
	return v.text[v.start[id]:v.start[id+1]]
}

// word returns the normal token with these bytes.
func (v *vocabulary) word(s string) (inference.TokenID, bool) {
	id, ok := v.words[s]
	return id, ok
}

// newVocabulary takes the tokens as GGUF spells them. Normal tokens are in the
// byte-level alphabet; one that is not stands for its own UTF-8, and no text
// encodes to it (as in the Rust library).
func newVocabulary(tokens []string, kinds []kind) (vocabulary, error) {
	v := vocabulary{
		start: make([]uint32, 1, len(tokens)+1),
		kinds: kinds,
		words: make(map[string]inference.TokenID, len(tokens)),
	}
	var text []byte
	words := make([]bool, len(tokens))
	for i, token := range tokens {
		if kinds[i] == kindNormal {
			text, words[i] = appendFromAlphabet(text, token)
		} else {
			text = append(text, token...)
		}
		if len(text) > maxTextBytes {
			return v, fmt.Errorf("%w: tokens have more than %d bytes in all", ErrVocabulary, maxTextBytes)
		}
		v.start = append(v.start, uint32(len(text)))
	}
	v.text = string(text)
	for i, ok := range words {
		if ok {
			id := inference.TokenID(i)
			v.words[v.bytes(id)] = id
		}
	}
	return v, nil
}
