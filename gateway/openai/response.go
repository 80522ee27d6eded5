package openai

import (
	"strings"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/pipeline"
)

// Response gathers the deltas of all prompts into one answer. One goroutine at
// a time may use it.
type Response struct {
	call    *Call
	head    Header
	vocab   Vocabulary
	choices []wholeChoice
	prompts [][]pipeline.Token
	routes  []*farlabs
	usage   usage
}

type wholeChoice struct {
	text   strings.Builder
	tokens []pipeline.Token // with log-probabilities or ids only
	cut    ids              // drawn after them, without text
	finish pipeline.Finish
}

// NewResponse returns the answer of c, still empty.
func NewResponse(c *Call, h Header, v Vocabulary) *Response {
	n := len(c.Prompts)
	return &Response{
		call: c, head: h, vocab: v, choices: make([]wholeChoice, n*c.N),
		prompts: make([][]pipeline.Token, n), routes: make([]*farlabs, n),
	}
}

// Delta adds a delta of a prompt.
func (r *Response) Delta(prompt int, d pipeline.Delta) {
	if d.Prompt != nil {
		r.prompts[prompt] = d.Prompt
	}
	if d.Route != nil && r.head.Route {
		r.routes[prompt] = routeOf(prompt, d.Route)
	}
	if d.Usage != nil {
		r.usage.add(*d.Usage)
	}
	c := &r.choices[prompt*r.call.N+d.Choice]
	c.text.WriteString(d.Text)
	if r.call.LogProbs || r.call.TokenIDs {
		c.tokens = append(c.tokens, d.Tokens...)
	}
	if d.Finish != "" {
		c.finish, c.cut = d.Finish, d.Cut
	}
}

// Usage returns the tokens over all prompts.
func (r *Response) Usage() (prompt, completion int) { return r.usage.Prompt, r.usage.Completion }

// JSON returns the answer's body.
func (r *Response) JSON() []byte {
	a := &answer{
		ID: r.head.ID, Object: "text_completion", Created: r.head.Created, Model: r.head.Model,
		Usage: &r.usage, Fingerprint: r.head.Fingerprint, FarLabs: r.farlabs(),
	}
	if r.call.Kind == Chat {
		a.Object = "chat.completion"
		a.Choices = r.chatChoices()
		if r.call.TokenIDs {
			a.PromptIDs = r.call.ids[0]
		}
	} else {
		a.Choices = r.textChoices()
	}
	return marshal(a)
}

func (r *Response) chatChoices() []chatChoice {
	out := make([]chatChoice, len(r.choices))
	for i := range r.choices {
		c := &r.choices[i]
		out[i] = chatChoice{
			Index: i, Finish: finish(c.finish), IDs: r.ownIDs(c),
			Message: chatMessage{Role: "assistant", Content: c.text.String()},
		}
		if r.call.LogProbs {
			out[i].LogProbs = &chatLogProbs{Content: []chatLogProb{}}
			out[i].LogProbs.add(c.tokens, r.vocab)
		}
	}
	return out
}

func (r *Response) textChoices() []textChoice {
	out := make([]textChoice, len(r.choices))
	for i := range r.choices {
		c, prompt := &r.choices[i], i/r.call.N
		out[i] = textChoice{Index: i, Text: c.text.String(), Finish: finish(c.finish), IDs: r.ownIDs(c)}
		var at offsets
		var echoed []pipeline.Token
		if r.call.Echo {
			echoed = r.prompts[prompt]
			var text string
			text, at.skip = r.call.echo(prompt, echoed, r.vocab)
			out[i].Text = text + out[i].Text
		}
		if r.call.LogProbs {
			out[i].LogProbs = newTextLogProbs()
			out[i].LogProbs.add(echoed, true, &at, r.vocab)
			out[i].LogProbs.add(c.tokens, false, &at, r.vocab)
		}
		if r.call.TokenIDs {
			out[i].PromptIDs = r.call.ids[prompt]
		}
	}
	return out
}

func (r *Response) ownIDs(c *wholeChoice) *[]inference.TokenID {
	if !r.call.TokenIDs {
		return nil
	}
	return tokenIDs(c.tokens, c.cut)
}

func (r *Response) farlabs() *farlabs {
	far := r.routes[0]
	if far != nil {
		for _, o := range r.routes[1:] {
			if o != nil {
				far.Others = append(far.Others, o)
			}
		}
	}
	return far
}
