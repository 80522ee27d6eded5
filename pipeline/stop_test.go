package pipeline

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/model/modeltest"
	"github.com/farlabs/inference/model/tokenizer"
	"pgregory.net/rapid"
)

var testTokenizer = sync.OnceValue(func() *tokenizer.Tokenizer {
	t, err := tokenizer.FromGGUF(metadata(modeltest.Small().Metadata()))
	if err != nil {
		panic(err)
	}
	return t
})

// metadata gives a model's keys without its file.
type metadata map[string]any

func (m metadata) String(k string) (string, bool)    { v, ok := m[k].(string); return v, ok }
func (m metadata) Strings(k string) ([]string, bool) { v, ok := m[k].([]string); return v, ok }
func (m metadata) Bool(k string) (bool, bool)        { v, ok := m[k].(bool); return v, ok }
func (m metadata) Uint(k string) (uint64, bool)      { v, ok := m[k].(uint32); return uint64(v), ok }
func (m metadata) Ints(k string) ([]int64, bool) {
	v, ok := m[k].([]int32)
	l := make([]int64, len(v))
	for i, x := range v {
		l[i] = int64(x)
	}
	return l, ok
}

// spell returns one token per byte.
func spell(text string) (ids []inference.TokenID) {
	tok := testTokenizer()
	for i := range len(text) {
		for id := range inference.TokenID(tok.Size()) {
			if string(tok.Bytes(id)) == text[i:i+1] {
				ids = append(ids, id)
				break
			}
		}
	}
	return ids
}

// show pushes ids and returns each piece of text that came out, the last of the
// flush. tokens are those that came out, and those that a stop text took.
func show(ids []inference.TokenID, stops ...string) (pieces []string, tokens []inference.TokenID, stopped bool) {
	s := newTextStream(testTokenizer().NewStream(), stops)
	add := func(text string, l []Token) {
		pieces = append(pieces, text)
		for _, t := range l {
			tokens = append(tokens, t.ID)
		}
	}
	for i, id := range ids {
		text, l, stop := s.push(Token{ID: id})
		add(text, l)
		if stop {
			if tokens = append(tokens, s.cut...); len(tokens) != i+1 {
				pieces = append(pieces, fmt.Sprintf("%d tokens are accounted for of %d", len(tokens), i+1))
			}
			return pieces, tokens, true
		}
	}
	add(s.flush())
	return pieces, tokens, false
}

func TestTextThatMayOpenAStopIsHeldBack(t *testing.T) {
	for _, c := range []struct {
		text  string
		stops []string
		want  string // pieces, "|" between them
		stop  bool
	}{
		{"abc", nil, "a|b|c|", false},
		{"abc", []string{""}, "a|b|c|", false},
		{"abcd", []string{"bd"}, "a||bc|d|", false},
		{"abcd", []string{"bcx"}, "a|||bcd|", false},
		{"abcd", []string{"cd"}, "a|b||", true},
		{"aab", []string{"ab"}, "|a|", true},
		{"ab", []string{"abc"}, "||ab", false},
		{"xy", []string{"x"}, "", true},
		{"abcabd", []string{"abd"}, "||abc|||", true},
		{"héy", []string{"y"}, "h||é|", true},
		{"h日y", nil, "h|||日|y|", false},
		{"é", []string{"é"}, "|", true},
		{"\xe6\x97", nil, "||\ufffd", false},
	} {
		pieces, _, stop := show(spell(c.text), c.stops...)
		if got := strings.Join(pieces, "|"); got != c.want || stop != c.stop {
			t.Errorf("%q, stops %q: %q, stopped %v; want %q, %v", c.text, c.stops, got, stop, c.want, c.stop)
		}
	}
}

func TestStopIsFoundAcrossTokenBorders(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tok := testTokenizer()
		ids := rapid.SliceOfN(rapid.Map(rapid.IntRange(0, tok.Size()-1), func(i int) inference.TokenID { return inference.TokenID(i) }), 0, 30).Draw(t, "ids")
		if rapid.Bool().Draw(t, "text") {
			ids = tok.Encode(rapid.StringOf(rapid.RuneFrom([]rune("thein é日 "))).Draw(t, "string"), false)
		}
		whole := tok.Decode(ids)
		stops := rapid.SliceOfN(rapid.StringOfN(rapid.RuneFrom([]rune("thein é日\ufffd")), 1, 4, -1), 0, 3).Draw(t, "stops")
		pieces, tokens, stopped := show(ids, stops...)
		text := strings.Join(pieces, "")
		if !strings.HasPrefix(whole, text) {
			t.Fatalf("%q is shown of %q", text, whole)
		}
		for _, s := range stops {
			if strings.Contains(text, s) {
				t.Fatalf("%q is shown, which has the stop %q", text, s)
			}
		}
		if !stopped {
			at := len(whole)
			for _, s := range stops {
				if i := strings.Index(whole, s); i >= 0 {
					at = min(at, i)
				}
			}
			if text != whole[:at] {
				t.Fatalf("%q is shown of %q, stops %q", text, whole, stops)
			}
		}
		if len(tokens) > len(ids) {
			t.Fatal("more tokens than were pushed")
		}
		for i, id := range tokens {
			if ids[i] != id {
				t.Fatalf("token %d is %d, want %d", i, id, ids[i])
			}
		}
		if !stopped && len(tokens) != len(ids) {
			t.Fatalf("%d of %d tokens", len(tokens), len(ids))
		}
	})
}

// What a choice's last Delta tells makes its tokens whole: all that were drawn.
func TestTokensWithoutTextAreToldAtTheEnd(t *testing.T) {
	ids := spell("abcd")
	for _, c := range []struct {
		name  string
		stops []string
		end   inference.TokenID // after the text; 0: none
		shown string
		cut   int
	}{
		{"the end-of-text token", nil, 1, "abcd", 1},
		{"a stop text", []string{"cd"}, 0, "ab", 2},
		{"a stop text that may open when the text ends", []string{"dx"}, 1, "abcd", 1},
		{"nothing", nil, 0, "abcd", 0},
	} {
		ch := choice{text: newTextStream(testTokenizer().NewStream(), c.stops)}
		var text string
		var all, cut []inference.TokenID
		tell := func(d Delta) {
			text += d.Text
			for _, tok := range d.Tokens {
				all = append(all, tok.ID)
			}
			cut = append(cut, d.Cut...)
			if (d.Finish == "") && len(d.Cut) > 0 {
				t.Errorf("%s: told before the end", c.name)
			}
		}
		drawn := slices.Clone(ids)
		for i, id := range ids {
			tell(ch.push(Token{ID: id}, false, c.end == 0 && i == len(ids)-1))
		}
		if c.end != 0 {
			drawn = append(drawn, c.end)
			tell(ch.push(Token{ID: c.end}, true, false))
		}
		if text != c.shown || len(cut) != c.cut || !slices.Equal(append(all, cut...), drawn) {
			t.Errorf("%s: %q, tokens %v, cut %v of %v", c.name, text, all, cut, drawn)
		}
	}
}
