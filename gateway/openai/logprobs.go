package openai

import (
	"fmt"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/farlabs/inference/pipeline"
)

// chatLogProbs are the log-probabilities of a chat's tokens. The tokens of a
// choice, their bytes joined, are its text.
type chatLogProbs struct {
	Content []chatLogProb `json:"content"`
	Refusal *string       `json:"refusal"` // always null
}

type chatLogProb struct {
	chatTop
	Top []chatTop `json:"top_logprobs"`
}

type chatTop struct {
	Token   string  `json:"token"`
	LogProb float64 `json:"logprob"`
	Bytes   []int   `json:"bytes"`
}

func (l *chatLogProbs) add(tokens []pipeline.Token, v Vocabulary) {
	for _, t := range tokens {
		p := chatLogProb{chatTop: newChatTop(t.Bytes, t.LogProb), Top: []chatTop{}}
		for _, top := range t.Top {
			p.Top = append(p.Top, newChatTop(v.Bytes(top.ID), top.LogProb))
		}
		l.Content = append(l.Content, p)
	}
}

func newChatTop(b []byte, logProb float64) chatTop {
	t := chatTop{Token: strings.ToValidUTF8(string(b), "\ufffd"), LogProb: finite(logProb), Bytes: make([]int, len(b))}
	for i, x := range b {
		t.Bytes[i] = int(x)
	}
	return t
}

// finite replaces what JSON cannot say. −9999 is what OpenAI sends for tokens
// of no probability.
func finite(x float64) float64 {
	if math.IsInf(x, 0) || math.IsNaN(x) {
		return -9999
	}
	return x
}

// textLogProbs are the log-probabilities of a completion's tokens, in parallel
// lists. A prompt's first token has none.
type textLogProbs struct {
	Tokens   []string             `json:"tokens"`
	LogProbs []*float64           `json:"token_logprobs"`
	Top      []map[string]float64 `json:"top_logprobs"`
	Offset   []int                `json:"text_offset"` // of each token in the choice's text, characters
}

func newTextLogProbs() *textLogProbs {
	return &textLogProbs{Tokens: []string{}, LogProbs: []*float64{}, Top: []map[string]float64{}, Offset: []int{}}
}

// add appends tokens; first says that the first of them has no probability.
func (l *textLogProbs) add(tokens []pipeline.Token, first bool, at *offsets, v Vocabulary) {
	for i, t := range tokens {
		l.Tokens = append(l.Tokens, spell(t.Bytes))
		l.Offset = append(l.Offset, at.next(t.Bytes))
		if first && i == 0 {
			l.LogProbs = append(l.LogProbs, nil)
			l.Top = append(l.Top, nil)
			continue
		}
		p := finite(t.LogProb)
		l.LogProbs = append(l.LogProbs, &p)
		top := map[string]float64{spell(t.Bytes): p}
		for _, x := range t.Top {
			name, p := spell(v.Bytes(x.ID)), finite(x.LogProb)
			// Different ids may have the same spelling: the likelier one counts.
			if old, ok := top[name]; !ok || p > old {
				top[name] = p
			}
		}
		l.Top = append(l.Top, top)
	}
}

// spell writes a token as a string, "bytes:\xe2\x80" where it is not one, as
// OpenAI's completions do: keys of a map have to differ.
func spell(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	var s strings.Builder
	s.WriteString("bytes:")
	for _, x := range b {
		fmt.Fprintf(&s, `\x%02x`, x)
	}
	return s.String()
}

// offsets counts characters over tokens that may hold parts of them.
type offsets struct {
	skip    int    // bytes that are not in the text
	chars   int    // characters that are complete
	pending []byte // of the next one
}

// next returns where a token begins.
func (o *offsets) next(b []byte) int {
	at := o.chars
	n := min(o.skip, len(b))
	o.skip -= n
	o.pending = append(o.pending, b[n:]...)
	for len(o.pending) > 0 && utf8.FullRune(o.pending) {
		_, size := utf8.DecodeRune(o.pending)
		o.pending = o.pending[size:]
		o.chars++
	}
	return at
}

// echo returns the text of a prompt, as it was given or as its ids spell it.
// tokens are the prompt's, where the pipeline told them; the second result are
// the bytes of them in front that are not in the text: a beginning-of-text
// token that the prompt did not have.
func (c *Call) echo(prompt int, tokens []pipeline.Token, v Vocabulary) (text string, skip int) {
	var joined strings.Builder
	if tokens != nil {
		for _, t := range tokens {
			joined.Write(t.Bytes)
		}
	} else {
		for _, id := range c.Prompts[prompt].IDs {
			joined.Write(v.Bytes(id))
		}
	}
	text = c.texts[prompt]
	if text == "" {
		return strings.ToValidUTF8(joined.String(), "\ufffd"), 0
	}
	if strings.HasSuffix(joined.String(), text) {
		skip = joined.Len() - len(text)
	}
	return text, skip
}
