package pipeline

import (
	"context"
	"fmt"
	"iter"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/model/sample"
	"github.com/farlabs/inference/pipeline/wire"
)

// Generate answers a request. Breaking out of the loop, or the end of ctx,
// stops the peers. An error ends the sequence; what came before it stands.
func (p *DistributedPipeline) Generate(ctx context.Context, r Request) iter.Seq2[Delta, error] {
	return func(yield func(Delta, error) bool) {
		t, err := p.prepare(r)
		if err != nil {
			yield(Delta{}, err)
			return
		}
		s, err := p.Open(ctx, t.session)
		if err != nil {
			yield(Delta{}, err)
			return
		}
		defer s.end(inference.OutcomeAbort) // also if the loop's body panics
		g := &generation{p: p, t: t, s: s, yield: yield}
		err = g.run(ctx)
		if g.whole || err != nil && ctx.Err() == nil {
			s.Close()
		}
		if err != nil && !g.stopped {
			yield(Delta{}, err)
		}
	}
}

// generation is one running request.
type generation struct {
	p       *DistributedPipeline
	t       *task
	s       *Session
	yield   func(Delta, error) bool
	stopped bool // the reader has had enough
	whole   bool // the reader has all there is

	choices []*choice
	usage   inference.Usage
	epoch   inference.Epoch // of the route that the reader knows
	prompt  []Token
	sampler sample.Sampler
	// Reused from token to token: a row of logits is as long as the vocabulary,
	// and sampled before the next is computed.
	hidden, room []float32
}

// choice is one answer in the making, on the branch of its index.
type choice struct {
	ids  []inference.TokenID
	text *textStream
	done bool
}

func (g *generation) run(ctx context.Context) error {
	t := g.t
	want := wire.WantLast
	if t.PromptLogProbs {
		want = wire.WantAll
	}
	g.usage.PromptTokens = len(t.ids)
	for range t.N {
		g.choices = append(g.choices, &choice{text: newTextStream(g.p.parts.Tokenizer.NewStream(), t.Stop)})
	}
	hidden, err := g.s.Step(ctx, nil, []Group{{IDs: t.ids, Want: want, Line: inference.LinePrefill}})
	if err != nil {
		return fmt.Errorf("prompt: %w", err)
	}
	last, err := g.promptLogits(hidden[0])
	if err != nil {
		return err
	}
	if t.MaxTokens == 0 {
		return g.finishPromptOnly()
	}
	logits := make([][]float32, t.N)
	for i := range logits {
		logits[i] = last
	}
	var ops []wire.BranchOp
	for i := 1; i < t.N; i++ {
		ops = append(ops, Fork(0, len(t.ids), uint32(i)))
	}
	for {
		groups, err := g.sample(logits)
		if err != nil || g.stopped || len(groups) == 0 {
			return err
		}
		// Forks go with the first step whose branches need them; choices that
		// ended on their first token have none.
		rows, err := g.s.Step(ctx, ops, groups)
		if err != nil {
			return fmt.Errorf("token %d: %w", g.usage.CompletionTokens+1, err)
		}
		ops = nil
		if logits, err = g.logits(rows); err != nil {
			return err
		}
	}
}

// promptLogits returns the logits of the prompt's last position, and keeps the
// prompt's log-probabilities where they were asked for.
func (g *generation) promptLogits(h Hidden) ([]float32, error) {
	d := g.p.parts.Ends.Hidden()
	if !g.t.PromptLogProbs {
		rows, err := g.s.Logits(h)
		if err != nil {
			return nil, err
		}
		return rows[0], nil
	}
	g.prompt = []Token{g.token(g.t.ids[0])}
	var last []float32
	// In pieces, so that the logits of a long prompt never stand in memory at once.
	const piece = 32
	for i := 0; i < len(g.t.ids); i += piece {
		n := min(piece, len(g.t.ids)-i)
		rows, err := g.s.Logits(Hidden{Data: h.Data[i*d : (i+n)*d]})
		if err != nil {
			return nil, err
		}
		for j, row := range rows {
			if at := i + j + 1; at < len(g.t.ids) {
				tok := g.token(g.t.ids[at])
				g.score(&tok, row)
				g.prompt = append(g.prompt, tok)
			}
		}
		last = rows[n-1]
	}
	return last, nil
}

func (g *generation) finishPromptOnly() error {
	for i := range g.choices {
		g.emit(Delta{Choice: i, Finish: FinishLength}, i == len(g.choices)-1)
	}
	return nil
}

// logits returns the logits of each row, by branch.
func (g *generation) logits(rows []Hidden) ([][]float32, error) {
	g.hidden = g.hidden[:0]
	for _, h := range rows {
		g.hidden = append(g.hidden, h.Data...)
	}
	if n := len(rows) * g.p.parts.Ends.Vocab(); cap(g.room) < n {
		g.room = make([]float32, n)
	}
	l, err := g.s.logits(Hidden{Data: g.hidden}, g.room)
	if err != nil {
		return nil, err
	}
	byBranch := make([][]float32, len(g.choices))
	for i, h := range rows {
		byBranch[h.Branch] = l[i]
	}
	return byBranch, nil
}

// sample draws the next token of every unfinished choice, tells the reader and
// returns what the next step has to compute: nothing when all are done.
func (g *generation) sample(logits [][]float32) ([]Group, error) {
	var groups []Group
	left := 0
	for _, c := range g.choices {
		if !c.done {
			left++
		}
	}
	for i, c := range g.choices {
		if c.done {
			continue
		}
		history := sample.History{Prompt: g.t.ids, Generated: c.ids}
		position := len(g.t.ids) + len(c.ids)
		pick := g.sampler.Sample(logits[i], &g.t.Sampling, history, position, uint32(i))
		if pick.ID == sample.None {
			return nil, fmt.Errorf("position %d: no token can be chosen, every logit is −∞ or not a number", position)
		}
		c.ids = append(c.ids, pick.ID)
		g.usage.CompletionTokens++
		tok := g.token(pick.ID)
		g.score(&tok, logits[i])
		d := c.push(tok, g.p.isEnd(pick.ID) && !g.t.IgnoreEOS, len(c.ids) >= g.t.MaxTokens)
		d.Choice = i
		if c.done {
			left--
		} else {
			groups = append(groups, Group{
				Branch: uint32(i), Start: position, IDs: []inference.TokenID{pick.ID},
				Want: wire.WantLast, Line: inference.LineDecode,
			})
		}
		if !g.emit(d, left == 0) {
			return nil, nil
		}
	}
	return groups, nil
}

// push adds a token to a choice and returns what the reader learns by it.
func (c *choice) push(tok Token, end, full bool) Delta {
	var d Delta
	if end {
		// The token that ends the text is not part of it.
		d.Text, d.Tokens = c.text.flush()
		d.Finish, d.Cut = FinishStop, []inference.TokenID{tok.ID}
	} else {
		var stopped bool
		d.Text, d.Tokens, stopped = c.text.push(tok)
		switch {
		case stopped:
			d.Finish, d.Cut = FinishStop, c.text.cut
		case full:
			text, toks := c.text.flush()
			d.Text += text
			d.Tokens = append(d.Tokens, toks...)
			d.Finish = FinishLength
		}
	}
	c.done = d.Finish != ""
	return d
}

// emit hands a delta to the reader; last completes it with the usage.
func (g *generation) emit(d Delta, last bool) bool {
	if g.s.epoch != g.epoch || last {
		info := g.s.Route()
		g.epoch, d.Route = g.s.epoch, &info
	}
	if g.prompt != nil {
		d.Prompt, g.prompt = g.prompt, nil
	}
	if last {
		u := g.usage
		d.Usage = &u
	}
	if d.Text == "" && len(d.Tokens) == 0 && d.Finish == "" && d.Route == nil && d.Prompt == nil {
		return true
	}
	g.whole = last
	if !g.yield(d, nil) {
		g.stopped = true
	}
	return !g.stopped
}

func (g *generation) token(id inference.TokenID) Token {
	return Token{ID: id, Bytes: g.p.parts.Tokenizer.Bytes(id)}
}

func (g *generation) score(tok *Token, logits []float32) {
	if !g.t.LogProbs && !g.t.PromptLogProbs {
		return
	}
	logits = logits[:min(len(logits), g.t.Sampling.Vocab)]
	tok.LogProb = sample.LogProbs(logits, []inference.TokenID{tok.ID})[0]
	if g.t.TopLogProbs > 0 {
		tok.Top = sample.TopLogProbs(logits, g.t.TopLogProbs)
	}
}

func (p *DistributedPipeline) isEnd(id inference.TokenID) bool {
	for _, e := range p.parts.Tokenizer.EOG() {
		if e == id {
			return true
		}
	}
	return false
}
