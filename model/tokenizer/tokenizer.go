// Package tokenizer maps text to token ids and back: byte-level BPE with the
// vocabularies that GGUF files carry.
//
// In: a vocabulary ([Vocab]; the metadata of a GGUF file), then UTF-8 text or
// ids. Out: ids, or UTF-8 text. The ids are those of the Rust tokenizers
// library for the same vocabulary. Text passes these steps:
//
//  1. Special tokens are split off, leftmost-longest, where asked for. Nothing
//     else makes a special token: text that merely looks like one is text.
//  2. Unicode normalisation (NFC for the qwen2 split, none for the others).
//  3. The split into words that tokenizer.ggml.pre names: smollm, gpt-2,
//     llama-bpe or qwen2, each a hand-written scanner.
//  4. Byte-pair merges within each word, lowest rank first, leftmost first.
//     A byte that the vocabulary does not have is dropped, as there is no
//     unknown token in these vocabularies.
//
// Bytes that are not UTF-8 become U+FFFD, one for each maximal invalid part
// (Unicode 3.9, table 3-8), on the way in and on the way out.
//
// A [Tokenizer] is immutable but for a bounded cache of words, and safe for
// concurrent use; a [Stream] belongs to one goroutine. The package knows
// nothing of models, files, chat templates or the network, and adds no
// begin-of-text token by itself ([Tokenizer.AddBOS] says whether to).
package tokenizer

import (
	"strings"

	"github.com/farlabs/inference"
)

// Tokenizer encodes and decodes one vocabulary.
type Tokenizer struct {
	split    split
	tokens   vocabulary
	merges   map[pair]merge
	bytes    [256]inference.TokenID // id of each single byte; none where missing
	specials specials

	bos      inference.TokenID
	addBOS   bool
	eog      []inference.TokenID
	template string
	cache    wordCache
}

// none stands for "no such token".
const none inference.TokenID = -1

// Part is a stretch of text and whether special tokens in it count as such.
type Part struct {
	Text    string
	Special bool
}

// Encode returns the ids of text. With parseSpecial, the text of a control,
// unknown or user-defined token becomes that token; without, all of it is
// plain text. It adds no begin-of-text token.
func (t *Tokenizer) Encode(text string, parseSpecial bool) []inference.TokenID {
	return t.EncodeParts([]Part{{Text: text, Special: parseSpecial}})
}

// EncodeParts returns the ids of the concatenated parts. Special tokens are
// found inside parts with Special set and never across two parts; plain text
// is encoded across parts, so that for harmless text the cut does not show in
// the ids.
func (t *Tokenizer) EncodeParts(parts []Part) []inference.TokenID {
	var ids []inference.TokenID
	var plain []string // not yet encoded
	flush := func() {
		switch len(plain) {
		case 0:
			return
		case 1:
			ids = t.encodePlain(ids, plain[0])
		default:
			ids = t.encodePlain(ids, strings.Join(plain, ""))
		}
		plain = plain[:0]
	}
	for _, part := range parts {
		text := part.Text
		for part.Special {
			start, end, id := t.specials.find(text)
			if id == none {
				break
			}
			if start > 0 {
				plain = append(plain, text[:start])
			}
			flush()
			ids = append(ids, id)
			text = text[end:]
		}
		if text != "" {
			plain = append(plain, text)
		}
	}
	flush()
	return ids
}

// encodePlain appends the ids of text without special tokens.
func (t *Tokenizer) encodePlain(ids []inference.TokenID, text string) []inference.TokenID {
	text = valid(text)
	if t.split.nfc {
		text = nfc(text)
	}
	for start := 0; start < len(text); {
		end := t.split.next(text, start)
		ids = t.encodeWord(ids, text[start:end])
		start = end
	}
	return ids
}

// encodeWord appends the ids of one word.
func (t *Tokenizer) encodeWord(ids []inference.TokenID, word string) []inference.TokenID {
	if len(word) == 1 {
		if id := t.bytes[word[0]]; id != none {
			ids = append(ids, id)
		}
		return ids
	}
	if t.split.wholeWord {
		if id, ok := t.tokens.word(word); ok {
			return append(ids, id)
		}
	}
	if cached, ok := t.cache.get(word); ok {
		return append(ids, cached...)
	}
	start := len(ids)
	ids = t.merge(ids, word)
	t.cache.put(word, ids[start:])
	return ids
}

// Size returns the number of ids, special and unused ones included.
func (t *Tokenizer) Size() int { return t.tokens.size() }

// BOS returns the begin-of-text token, if the vocabulary names one.
func (t *Tokenizer) BOS() (inference.TokenID, bool) { return t.bos, t.bos != none }

// AddBOS reports whether raw text should begin with BOS. Chat templates write
// it themselves.
func (t *Tokenizer) AddBOS() bool { return t.addBOS }

// EOG returns every id that ends a turn or the text, ascending. The caller
// must not change it.
func (t *Tokenizer) EOG() []inference.TokenID { return t.eog }

// IsSpecial reports whether id is a control or unknown token, which Decode
// skips. User-defined tokens are not special in this sense.
func (t *Tokenizer) IsSpecial(id inference.TokenID) bool {
	k := t.tokens.kind(id)
	return k == kindControl || k == kindUnknown
}

// Lookup returns the token whose text is exactly text: a special token, else a
// normal one (" the", not "Ġthe").
func (t *Tokenizer) Lookup(text string) (inference.TokenID, bool) {
	if id, ok := t.specials.lookup(text); ok {
		return id, true
	}
	return t.tokens.word(text)
}

// ChatTemplate returns the template that came with the vocabulary, "" if none.
func (t *Tokenizer) ChatTemplate() string { return t.template }
