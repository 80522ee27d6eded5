package openai

import (
	"github.com/farlabs/inference"
	"github.com/farlabs/inference/pipeline"
)

// Stream turns deltas into server-sent events. Every method returns the bytes
// to send next, events whole. One goroutine at a time may use it.
type Stream struct {
	call    *Call
	head    Header
	vocab   Vocabulary
	choices []streamChoice
	usage   []inference.Usage // of each prompt, so far
	routed  []bool            // prompts whose first route was told
	prompts [][]pipeline.Token
}

type streamChoice struct {
	begun   bool
	done    bool
	offsets offsets
}

// NewStream returns the stream of c's answer.
func NewStream(c *Call, h Header, v Vocabulary) *Stream {
	n := len(c.Prompts)
	s := &Stream{
		call: c, head: h, vocab: v, choices: make([]streamChoice, n*c.N),
		usage: make([]inference.Usage, n), routed: make([]bool, n), prompts: make([][]pipeline.Token, n),
	}
	for i := range n {
		if c.ids != nil {
			s.usage[i].PromptTokens = len(c.ids[i])
		}
	}
	return s
}

// piece is what one chunk says of one choice.
type piece struct {
	index  int
	role   bool
	text   string
	tokens []pipeline.Token
	echo   []pipeline.Token
	finish pipeline.Finish
	cut    ids  // with finish
	first  bool // of its choice
}

// Delta returns the events of a delta of a prompt; there may be none.
func (s *Stream) Delta(prompt int, d pipeline.Delta) []byte {
	if d.Prompt != nil {
		s.prompts[prompt] = d.Prompt
	}
	if d.Usage != nil {
		s.usage[prompt] = *d.Usage
	} else {
		s.usage[prompt].CompletionTokens += len(d.Tokens) + len(d.Cut)
	}
	index := prompt*s.call.N + d.Choice
	pieces := s.opening(prompt, index)
	if d.Text != "" || len(d.Tokens) > 0 && (s.call.LogProbs || s.call.TokenIDs) {
		pieces = append(pieces, piece{index: index, text: d.Text, tokens: d.Tokens})
	}
	if d.Finish != "" {
		s.choices[index].done = true
		pieces = append(pieces, piece{index: index, finish: d.Finish, cut: d.Cut})
	}
	if len(pieces) == 0 && d.Route != nil && s.head.Route {
		pieces = append(pieces, piece{index: index})
	}
	var out []byte
	for i, p := range pieces {
		var far *farlabs
		// The first route goes with the first chunk, so that a reader knows it
		// before the text; the last with the last, which it describes.
		last := d.Usage != nil
		if d.Route != nil && s.head.Route && (i == len(pieces)-1 && last || i == 0 && (!last || !s.routed[prompt])) {
			far = routeOf(prompt, d.Route)
			s.routed[prompt] = true
		}
		out = append(out, s.event(p, far)...)
	}
	return out
}

// opening returns the pieces that begin a choice, when it has not begun: the
// role of a chat, the echo of a completion.
func (s *Stream) opening(prompt, index int) []piece {
	c := &s.choices[index]
	if c.begun {
		return nil
	}
	c.begun = true
	if s.call.Kind == Chat {
		return []piece{{index: index, role: true, first: true}}
	}
	p := piece{index: index, first: true}
	if s.call.Echo {
		tokens := s.prompts[prompt]
		p.text, c.offsets.skip = s.call.echo(prompt, tokens, s.vocab)
		if s.call.LogProbs {
			p.echo = tokens
		}
	} else if !s.call.TokenIDs {
		return nil
	}
	return []piece{p}
}

// KeepAlive returns an event that says nothing new.
func (s *Stream) KeepAlive() []byte {
	for i := range s.choices {
		if s.choices[i].done {
			continue
		}
		if !s.choices[i].begun && s.call.Kind == Chat {
			s.choices[i].begun = true
			return s.event(piece{index: i, role: true, first: true}, nil)
		}
		return s.event(piece{index: i}, nil)
	}
	return nil
}

// End returns the last events, when every prompt's deltas have been given.
func (s *Stream) End() []byte {
	var out []byte
	if s.call.IncludeUsage {
		a := s.answer([]struct{}{})
		a.Usage = s.total()
		out = event(a)
	}
	return append(out, "data: [DONE]\n\n"...)
}

// Fail returns the event that ends a stream whose status has been sent.
func (s *Stream) Fail(e APIError) []byte {
	return event(map[string]APIError{"error": e})
}

// Usage returns the tokens so far, over all prompts.
func (s *Stream) Usage() (prompt, completion int) {
	u := s.total()
	return u.Prompt, u.Completion
}

func (s *Stream) total() *usage {
	u := new(usage)
	for _, v := range s.usage {
		u.add(v)
	}
	return u
}

func (s *Stream) answer(choices any) *answer {
	object := "text_completion"
	if s.call.Kind == Chat {
		object = "chat.completion.chunk"
	}
	return &answer{
		ID: s.head.ID, Object: object, Created: s.head.Created, Model: s.head.Model,
		Choices: choices, Fingerprint: s.head.Fingerprint,
	}
}

func (s *Stream) event(p piece, far *farlabs) []byte {
	var a *answer
	var own *ids
	if s.call.TokenIDs {
		own = tokenIDs(p.tokens, p.cut)
	}
	prompt := p.index / s.call.N
	if s.call.Kind == Chat {
		c := chatChunk{Index: p.index, Finish: finish(p.finish), IDs: own}
		switch {
		case p.role:
			c.Delta = chatDelta{Role: "assistant", Content: new(string)}
		case p.finish == "" && (p.text != "" || len(p.tokens) > 0):
			c.Delta = chatDelta{Content: &p.text}
		}
		if s.call.LogProbs && len(p.tokens) > 0 {
			c.LogProbs = new(chatLogProbs)
			c.LogProbs.add(p.tokens, s.vocab)
		}
		a = s.answer([]chatChunk{c})
		if p.first && s.call.TokenIDs {
			a.PromptIDs = s.call.ids[prompt]
		}
	} else {
		c := textChoice{Index: p.index, Text: p.text, Finish: finish(p.finish), IDs: own}
		if s.call.LogProbs && len(p.tokens)+len(p.echo) > 0 {
			c.LogProbs = newTextLogProbs()
			c.LogProbs.add(p.echo, true, &s.choices[p.index].offsets, s.vocab)
			c.LogProbs.add(p.tokens, false, &s.choices[p.index].offsets, s.vocab)
		}
		if p.first && s.call.TokenIDs {
			c.PromptIDs = s.call.ids[prompt]
		}
		a = s.answer([]textChoice{c})
	}
	switch {
	case s.call.ContinuousUsage:
		a.Usage = s.total()
	case s.call.IncludeUsage:
		a.Usage = (*usage)(nil)
	}
	a.FarLabs = far
	return event(a)
}

func event(v any) []byte {
	return append(append([]byte("data: "), marshal(v)...), '\n', '\n')
}

// tokenIDs returns the ids of tokens and of those behind them that have no text,
// an empty list for none. As vLLM's, the ids of a choice are all that were drawn,
// as many as usage says: so that a conversation can go on from ids alone.
func tokenIDs(tokens []pipeline.Token, cut ids) *ids {
	list := make(ids, len(tokens), len(tokens)+len(cut))
	for i, t := range tokens {
		list[i] = t.ID
	}
	list = append(list, cut...)
	return &list
}
