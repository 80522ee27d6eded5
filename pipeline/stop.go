package pipeline

import (
	"strings"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/model/tokenizer"
)

// textStream turns tokens into text that can be shown: whole characters, up to
// but not including the first stop text, nothing that may yet turn out to open
// one.
type textStream struct {
	decode *tokenizer.Stream
	stops  []string
	held   string // decoded, may open a stop
	out    int    // bytes of text released
	tokens []heldToken
	cut    []inference.TokenID // tokens that a stop text took whole
}

// heldToken is a token that is released with the text up to end.
type heldToken struct {
	Token
	start, end int // bytes of text decoded before and after it was pushed
}

func newTextStream(decode *tokenizer.Stream, stops []string) *textStream {
	t := &textStream{decode: decode}
	for _, s := range stops {
		if s != "" {
			t.stops = append(t.stops, s)
		}
	}
	return t
}

// push adds a token. It returns the text and tokens that are safe to show;
// stopped says that a stop text was met, and nothing may follow.
func (t *textStream) push(tok Token) (text string, tokens []Token, stopped bool) {
	start := t.out + len(t.held)
	t.held += t.decode.Push(tok.ID)
	t.tokens = append(t.tokens, heldToken{tok, start, t.out + len(t.held)})
	if at, ok := t.find(); ok {
		text, tokens = t.release(at)
		// A token that the stop text begins in is shown up to there, so that
		// tokens and text stay equal.
		if len(t.tokens) > 0 && t.tokens[0].start < t.out {
			cut := t.tokens[0]
			cut.Bytes = cut.Bytes[:min(t.out-cut.start, len(cut.Bytes))]
			tokens, t.tokens = append(tokens, cut.Token), t.tokens[1:]
		}
		for _, k := range t.tokens {
			t.cut = append(t.cut, k.ID)
		}
		t.held, t.tokens = "", nil
		return text, tokens, true
	}
	text, tokens = t.release(len(t.held) - t.opening())
	return text, tokens, false
}

// flush returns what was held back, at the end of the text.
func (t *textStream) flush() (string, []Token) {
	t.held += t.decode.Flush()
	if at, ok := t.find(); ok {
		t.held = t.held[:at]
	}
	text, tokens := t.release(len(t.held))
	for _, k := range t.tokens {
		tokens = append(tokens, k.Token)
	}
	t.tokens = nil
	return text, tokens
}

// find returns where the earliest stop text begins.
func (t *textStream) find() (int, bool) {
	at := -1
	for _, s := range t.stops {
		if i := strings.Index(t.held, s); i >= 0 && (at < 0 || i < at) {
			at = i
		}
	}
	return at, at >= 0
}

// opening returns the length of the longest end of held that begins a stop text.
func (t *textStream) opening() int {
	for n := min(len(t.held), t.longest()-1); n > 0; n-- {
		tail := t.held[len(t.held)-n:]
		for _, s := range t.stops {
			if strings.HasPrefix(s, tail) {
				return n
			}
		}
	}
	return 0
}

func (t *textStream) longest() (n int) {
	for _, s := range t.stops {
		n = max(n, len(s))
	}
	return n
}

func (t *textStream) release(n int) (string, []Token) {
	text := t.held[:n]
	t.held = t.held[n:]
	t.out += n
	var tokens []Token
	for len(t.tokens) > 0 && t.tokens[0].end <= t.out {
		tokens = append(tokens, t.tokens[0].Token)
		t.tokens = t.tokens[1:]
	}
	return text, tokens
}
