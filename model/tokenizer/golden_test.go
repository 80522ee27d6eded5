package tokenizer

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/farlabs/inference"
)

// goldens is testdata/golden.json, written by testdata/golden.py.
type goldens struct {
	Tokenizers string      `json:"tokenizers"` // version of the Rust library
	Classes    string      `json:"classes"`
	Strings    []string    `json:"strings"`
	NFC        [][2]string `json:"nfc"`
	Splits     map[string]struct {
		Vocab   int                            `json:"vocab"`
		Special [][2]any                       `json:"special"` // text, whether it is a control token
		Plain   [][]inference.TokenID          `json:"plain"`
		Parsed  map[string][]inference.TokenID `json:"parsed"` // by index, where it differs from Plain
		Text    map[string]string              `json:"text"`   // decoded from the parsed ids, where it differs from the string
	} `json:"splits"`
}

var loadGolden = sync.OnceValues(func() (*goldens, error) {
	b, err := os.ReadFile("testdata/golden.json")
	if err != nil {
		return nil, err
	}
	g := new(goldens)
	return g, json.Unmarshal(b, g)
})

func golden(tb testing.TB) *goldens {
	tb.Helper()
	g, err := loadGolden()
	if err != nil {
		tb.Fatal(err)
	}
	return g
}

var splitNames = []string{"gpt-2", "smollm", "llama-bpe", "qwen2"}

func TestIDsAreThoseOfTheRustLibrary(t *testing.T) {
	g := golden(t)
	if len(g.Strings) < 80 || len(g.Splits) != len(splitNames) {
		t.Fatalf("%d strings × %d splits, want 80 × %d at least", len(g.Strings), len(g.Splits), len(splitNames))
	}
	for _, name := range splitNames {
		t.Run(name, func(t *testing.T) {
			want, tok := g.Splits[name], tokenizerOf(t, name)
			if tok.Size() != want.Vocab {
				t.Errorf("%d tokens, want %d", tok.Size(), want.Vocab)
			}
			for i, s := range g.Strings {
				if got := tok.Encode(s, false); !slices.Equal(got, want.Plain[i]) {
					t.Errorf("plain %q:\n got %v\nwant %v", s, got, want.Plain[i])
				}
				parsed, ok := want.Parsed[strconv.Itoa(i)]
				if !ok {
					parsed = want.Plain[i]
				}
				if got := tok.Encode(s, true); !slices.Equal(got, parsed) {
					t.Errorf("with special tokens %q:\n got %v\nwant %v", s, got, parsed)
				}
				text, ok := want.Text[strconv.Itoa(i)]
				if !ok {
					text = s
				}
				if got := tok.Decode(parsed); got != text {
					t.Errorf("decoded %q, want %q", got, text)
				}
			}
		})
	}
}

func TestClassesAreThoseOfTheRustLibrary(t *testing.T) {
	digest := sha256.New()
	for r := rune(0); r <= utf8.MaxRune; r++ {
		s := "a"
		if utf8.ValidRune(r) {
			s = string(r)
		}
		c, _ := classAt(s, 0)
		bits := map[class]byte{letter: 1, number: 2, space: 4, newline: 4}[c]
		digest.Write([]byte{bits})
	}
	if got := hex.EncodeToString(digest.Sum(nil)); got != golden(t).Classes {
		t.Errorf("classes of all code points differ from those of tokenizers %s: a newer Unicode in package unicode?", golden(t).Tokenizers)
	}
}

func TestNFCIsThatOfTheRustLibrary(t *testing.T) {
	for _, pair := range golden(t).NFC {
		if got := nfc(pair[0]); got != pair[1] {
			t.Errorf("nfc(%+q)\n got %+q\nwant %+q", pair[0], got, pair[1])
		}
		if strings.ContainsFunc(pair[0], func(r rune) bool { return unicode.Is(lateMarks, r) }) {
			continue
		}
		if got := compose(decompose(pair[0])); got != pair[1] {
			t.Errorf("compose(%+q)\n got %+q\nwant %+q", pair[0], got, pair[1])
		}
	}
}
