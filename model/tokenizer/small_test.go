package tokenizer

import (
	"sort"
	"strings"
	"testing"
)

// smallText is what the vocabulary of smallMetadata is trained on.
const smallText = "the theme of these three: there is a tree, the tree is tall, and all the trees are tall. " +
	"That's all they'd said. Naïve café déjà vu über été. 日本語と日本人 日本 🙂🙂🙂 12 123 2024 2025 \n\n\t\tif x == y {\n\t\treturn z\n\t}\n"

// smallMetadata is a vocabulary of all bytes, up to 150 merges trained on smallText,
// and a few special tokens; it needs no file.
func smallMetadata(pre string) metadata {
	tokens := singles()
	var merges []string
	var words [][]string
	for _, word := range strings.SplitAfter(smallText, " ") {
		var parts []string
		for i := range len(word) {
			parts = append(parts, spell(word[i:i+1]))
		}
		words = append(words, parts)
	}
	for range 150 {
		counts := map[[2]string]int{}
		for _, w := range words {
			for i := range len(w) - 1 {
				counts[[2]string{w[i], w[i+1]}]++
			}
		}
		var pairs [][2]string
		for p := range counts {
			pairs = append(pairs, p)
		}
		sort.Slice(pairs, func(i, j int) bool {
			a, b := pairs[i], pairs[j]
			if counts[a] != counts[b] {
				return counts[a] > counts[b]
			}
			return a[0]+" "+a[1] < b[0]+" "+b[1]
		})
		if len(pairs) == 0 {
			break
		}
		best := pairs[0]
		merges = append(merges, best[0]+" "+best[1])
		tokens = append(tokens, best[0]+best[1])
		for k, w := range words {
			for i := 0; i < len(w)-1; i++ {
				if w[i] == best[0] && w[i+1] == best[1] {
					w = append(w[:i], append([]string{best[0] + best[1]}, w[i+2:]...)...)
				}
			}
			words[k] = w
		}
	}
	seen := map[string]bool{}
	distinct, kept := tokens[:0:0], merges[:0:0]
	for i, token := range tokens {
		if seen[token] {
			continue // two pairs that make the same token: the first stays
		}
		seen[token] = true
		distinct = append(distinct, token)
		if i >= 256 {
			kept = append(kept, merges[i-256])
		}
	}
	m := newMetadata(pre, distinct, kept, []special{
		{"<|endoftext|>", kindControl}, {"<|im_start|>", kindControl}, {"<|im_end|>", kindControl},
		{"<|im", kindControl}, {"<tool_call>", kindUserDefined}, {"[PAD0]", kindUnused}, {"<unk>", kindUnknown},
	})
	n := len(distinct)
	m[keyBOS], m[keyEOS] = uint64(n+1), uint64(n+2)
	m[keyTemplate] = "{{ messages }}"
	return m
}

func smallTokenizer(tb testing.TB, pre string) *Tokenizer {
	tb.Helper()
	t, err := FromGGUF(smallMetadata(pre))
	if err != nil {
		tb.Fatal(err)
	}
	return t
}
