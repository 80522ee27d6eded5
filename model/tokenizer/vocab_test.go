package tokenizer

import (
	"bufio"
	"cmp"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/farlabs/inference/model/catalog"
	"github.com/farlabs/inference/model/weights"
)

// metadata is a Vocab in memory.
type metadata map[string]any

func (m metadata) String(key string) (string, bool)    { v, ok := m[key].(string); return v, ok }
func (m metadata) Strings(key string) ([]string, bool) { v, ok := m[key].([]string); return v, ok }
func (m metadata) Ints(key string) ([]int64, bool)     { v, ok := m[key].([]int64); return v, ok }
func (m metadata) Uint(key string) (uint64, bool)      { v, ok := m[key].(uint64); return v, ok }
func (m metadata) Bool(key string) (bool, bool)        { v, ok := m[key].(bool); return v, ok }

var _ Vocab = (*weights.Checkpoint)(nil)

// special is a token outside the merges.
type special struct {
	text string
	kind kind
}

// newMetadata writes a vocabulary as a GGUF file has it.
func newMetadata(pre string, tokens, merges []string, specials []special) metadata {
	types := make([]int64, len(tokens))
	for i := range types {
		types[i] = int64(kindNormal)
	}
	for _, s := range specials {
		tokens = append(tokens, s.text)
		types = append(types, int64(s.kind))
	}
	return metadata{keyModel: "gpt2", keyPre: pre, keyTokens: tokens, keyTypes: types, keyMerges: merges}
}

// spell writes bytes in the byte-level alphabet.
func spell(raw string) string {
	var b strings.Builder
	for i := range len(raw) {
		b.WriteRune(alphabet[raw[i]])
	}
	return b.String()
}

// singles are the byte tokens in the order of GPT-2: printable ones first.
func singles() []string {
	var printable, others []string
	for _, c := range alphabet {
		if c < 0x100 {
			printable = append(printable, string(c))
		} else {
			others = append(others, string(c))
		}
	}
	return append(printable, others...)
}

// testFile opens a file that scripts/testdata.sh fetches.
func testFile(tb testing.TB, name string) *os.File {
	tb.Helper()
	f, err := os.Open(filepath.Join(catalog.CacheDir(), "testdata", name))
	if err != nil {
		tb.Fatalf("%v\nrun scripts/testdata.sh once to fetch the vocabularies", err)
	}
	tb.Cleanup(func() { f.Close() })
	return f
}

// gpt2Metadata reads the merges of GPT-2, which imply its tokens.
func gpt2Metadata(tb testing.TB, specials []special) metadata {
	tokens := singles()
	var merges []string
	lines := bufio.NewScanner(testFile(tb, "gpt2.bpe"))
	lines.Scan() // version
	for lines.Scan() {
		merges = append(merges, lines.Text())
		tokens = append(tokens, strings.ReplaceAll(lines.Text(), " ", ""))
	}
	return newMetadata("gpt-2", tokens, merges, specials)
}

// ranked reads a tiktoken file: tokens in the order of their ranks.
func ranked(tb testing.TB, name string) (tokens []string, ranks map[string]int) {
	ranks = map[string]int{}
	lines := bufio.NewScanner(testFile(tb, name))
	for lines.Scan() {
		text, _, _ := strings.Cut(lines.Text(), " ")
		raw, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			tb.Fatal(err)
		}
		ranks[string(raw)] = len(tokens)
		tokens = append(tokens, string(raw))
	}
	return tokens, ranks
}

// llama3Metadata has a merge for every pair of tokens that makes a token, as
// the published files do.
func llama3Metadata(tb testing.TB, specials []special) metadata {
	tokens, ranks := ranked(tb, "llama3.tiktoken")
	var spelled, merges []string
	for _, token := range tokens {
		var cuts []int
		for i := 1; i < len(token); i++ {
			_, left := ranks[token[:i]]
			_, right := ranks[token[i:]]
			if left && right {
				cuts = append(cuts, i)
			}
		}
		slices.SortFunc(cuts, func(a, b int) int {
			return cmp.Or(ranks[token[:a]]-ranks[token[:b]], ranks[token[a:]]-ranks[token[b:]])
		})
		for _, i := range cuts {
			merges = append(merges, spell(token[:i])+" "+spell(token[i:]))
		}
		spelled = append(spelled, spell(token))
	}
	return newMetadata("llama-bpe", spelled, merges, specials)
}

// qwen2Metadata has one merge for each token: the two parts that byte-pair
// encoding with the lower ranks leaves of it.
func qwen2Metadata(tb testing.TB, specials []special) metadata {
	tokens, ranks := ranked(tb, "qwen2.tiktoken")
	var spelled, merges []string
	for i, token := range tokens {
		spelled = append(spelled, spell(token))
		parts := strings.Split(token, "")
		parts = parts[:0]
		for j := range len(token) {
			parts = append(parts, token[j:j+1])
		}
		for len(parts) > 2 {
			best, at := i, -1
			for k := range len(parts) - 1 {
				if r, ok := ranks[parts[k]+parts[k+1]]; ok && r < best {
					best, at = r, k
				}
			}
			if at < 0 {
				break
			}
			parts = slices.Replace(parts, at, at+2, parts[at]+parts[at+1])
		}
		if len(parts) == 2 {
			merges = append(merges, spell(parts[0])+" "+spell(parts[1]))
		}
	}
	return newMetadata("qwen2", spelled, merges, specials)
}

// smollmCheckpoint opens the demo model.
func smollmCheckpoint(tb testing.TB) *weights.Checkpoint {
	tb.Helper()
	source, err := catalog.Resolve("smollm2-135m-instruct:q4_1", catalog.CacheDir())
	if err != nil {
		tb.Fatalf("%v\nrun `make model` once to fetch the model", err)
	}
	c, err := weights.Open(source.Path)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { c.Close() })
	return c
}

// vocabOf returns the vocabulary that the goldens of a split were made with.
func vocabOf(tb testing.TB, name string) Vocab {
	tb.Helper()
	var specials []special
	for _, s := range golden(tb).Splits[name].Special {
		k := kindUserDefined
		if s[1] == true {
			k = kindControl
		}
		specials = append(specials, special{s[0].(string), k})
	}
	switch name {
	case "gpt-2":
		return gpt2Metadata(tb, specials)
	case "llama-bpe":
		return llama3Metadata(tb, specials)
	case "qwen2":
		return qwen2Metadata(tb, specials)
	case "smollm":
		return smollmCheckpoint(tb)
	}
	tb.Fatalf("no vocabulary for %q", name)
	return nil
}

var (
	builtMu sync.Mutex
	built   = map[string]*Tokenizer{}
)

// tokenizerOf returns the tokenizer of vocabOf, built once.
func tokenizerOf(tb testing.TB, name string) *Tokenizer {
	tb.Helper()
	builtMu.Lock()
	defer builtMu.Unlock()
	if built[name] == nil {
		t, err := FromGGUF(vocabOf(tb, name))
		if err != nil {
			tb.Fatal(fmt.Errorf("%s: %w", name, err))
		}
		built[name] = t
	}
	return built[name]
}
