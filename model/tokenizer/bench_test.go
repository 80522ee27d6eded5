package tokenizer

import (
	"strings"
	"testing"
)

// BenchmarkEncode encodes 100 kB of the golden strings that are natural text.
func BenchmarkEncode(b *testing.B) {
	text := strings.Join(golden(b).Strings[3:60], "\n")
	text = strings.Repeat(text, 100_000/len(text)+1)
	for _, pre := range splitNames {
		tok := tokenizerOf(b, pre)
		b.Run(pre, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				tok.Encode(text, true)
			}
		})
	}
}
