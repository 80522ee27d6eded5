package tokenizer

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/farlabs/inference"
)

// FuzzRoundTrip: text that is encoded and decoded is the same, by Decode and
// by a stream; invalid UTF-8 comes back replaced, and qwen2 in NFC.
func FuzzRoundTrip(f *testing.F) {
	var toks []*Tokenizer
	for _, pre := range splitNames {
		toks = append(toks, smallTokenizer(f, pre))
	}
	for _, s := range []string{"", smallText, "I'll 'LL 'ſ  \r\n\n x", "e\u0301\u0323 \u1100\u1161\u11a8", "\xff\xe2\x82 \xf0\x9f", "<|im_start|>x<|im_end|>", "\u0344" + strings.Repeat("\u0301", 35)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, tok := range toks {
			want := valid(s)
			if !utf8.ValidString(want) {
				t.Fatalf("valid(%q) is not", s)
			}
			if tok.split.nfc {
				want = nfc(want)
				if again := nfc(want); again != want {
					t.Fatalf("nfc twice: %+q, %+q", want, again)
				}
			}
			ids := tok.Encode(s, false)
			if got := tok.Decode(ids); got != want {
				t.Fatalf("decoded %q, want %q", got, want)
			}
			checkStream(t, tok, ids)
			checkStream(t, tok, tok.Encode(s, true))
			half := len(s) / 2
			parts := tok.EncodeParts([]Part{{s[:half], false}, {s[half:], false}})
			if got := tok.Decode(parts); got != want {
				t.Fatalf("parts decoded %q, want %q", got, want)
			}
		}
	})
}

// FuzzStream: whatever the ids, a stream gives what Decode gives, in whole
// characters.
func FuzzStream(f *testing.F) {
	tok := smallTokenizer(f, "smollm")
	f.Add([]byte{0, 1, 2, 200, 255, 128, 0xE2, 0x82, 0xAC})
	f.Fuzz(func(t *testing.T, raw []byte) {
		var ids []inference.TokenID
		for i, b := range raw {
			ids = append(ids, inference.TokenID(b)+inference.TokenID(i%3)*100-1)
		}
		checkStream(t, tok, ids)
	})
}

func checkStream(t *testing.T, tok *Tokenizer, ids []inference.TokenID) {
	t.Helper()
	s, got := tok.NewStream(), ""
	for _, id := range ids {
		piece := s.Push(id)
		if !utf8.ValidString(piece) || len(s.held) > 3 {
			t.Fatalf("piece %q, %d bytes held", piece, len(s.held))
		}
		got += piece
	}
	if got += s.Flush(); got != tok.Decode(ids) {
		t.Fatalf("stream %q, Decode %q", got, tok.Decode(ids))
	}
}

// FuzzFromGGUF: a hostile vocabulary gives an error of this package or a
// tokenizer whose ids are in range.
func FuzzFromGGUF(f *testing.F) {
	m := smallMetadata("gpt-2")
	tokens, merges := strings.Join(m[keyTokens].([]string), "\n"), strings.Join(m[keyMerges].([]string), "\n")
	f.Add("gpt-2", tokens, "", merges, uint64(1), "the tree")
	f.Add("qwen2", "a\nb\nab\n<|im_end|>", "\x01\x01\x01\x03", "a b", uint64(3), "ab<|im_end|>ba")
	f.Add("llama-bpe", "a\na", "\x01\x01", "", uint64(0), "a")
	f.Add("smollm", "é\n日\nĠ", "\x01\x04\x02", "é Ġ", uint64(9), "\xff é日")
	f.Fuzz(func(t *testing.T, pre, tokens, types, merges string, end uint64, text string) {
		m := metadata{keyModel: "gpt2", keyPre: pre, keyTokens: strings.Split(tokens, "\n"), keyEOS: end}
		var kinds []int64
		for i := range m[keyTokens].([]string) {
			k := int64(kindNormal)
			if i < len(types) {
				k = int64(types[i])
			}
			kinds = append(kinds, k)
		}
		m[keyTypes] = kinds
		m[keyMerges] = []string{}
		if merges != "" {
			m[keyMerges] = strings.Split(merges, "\n")
		}
		tok, err := FromGGUF(m)
		if err != nil {
			var unsupported *UnsupportedError
			if !errors.Is(err, ErrVocabulary) && !errors.As(err, &unsupported) {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		for _, special := range []bool{false, true} {
			ids := tok.Encode(text, special)
			for _, id := range ids {
				if id < 0 || int(id) >= tok.Size() {
					t.Fatalf("id %d of %d", id, tok.Size())
				}
			}
			checkStream(t, tok, ids)
		}
	})
}
