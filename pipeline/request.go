package pipeline

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/model/chat"
	"github.com/farlabs/inference/model/sample"
	"github.com/farlabs/inference/model/tokenizer"
)

// Request asks for text. One of Messages, Prompt and IDs is set.
type Request struct {
	Messages []chat.Message
	// Prompt is plain text; special tokens in it are recognised, and the
	// beginning-of-text token is put in front where the model wants it.
	Prompt string
	IDs    []inference.TokenID // taken as they are

	MaxTokens int // per choice; 0: what the context leaves
	Sampling  sample.Params
	// Seed makes sampling repeatable; nil: a random one. Sampling.Seed is ignored.
	Seed *uint64
	N    int // choices, which share the work for the prompt; 0: 1
	// Stop ends a choice before the first of these texts, which is not in the answer.
	Stop      []string
	IgnoreEOS bool // go on after an end-of-text token
	// LogProbs asks for log-probabilities of the chosen tokens and of the
	// TopLogProbs likeliest; PromptLogProbs for those of the prompt's tokens.
	LogProbs       bool
	TopLogProbs    int
	PromptLogProbs bool

	Session SessionOptions // zero fields: the pipeline's defaults
}

// Finish says why a choice ended.
type Finish string

// The reasons.
const (
	FinishStop   Finish = "stop"   // end-of-text token or stop text
	FinishLength Finish = "length" // MaxTokens or the context
)

// Delta is what became known since the last one.
type Delta struct {
	Choice int
	Text   string  // whole characters only
	Tokens []Token // whose text is out, or partly held back for the next Delta
	Finish Finish  // set in a choice's last Delta
	// Cut, with Finish, are the tokens that were drawn after all of Tokens and
	// show no text: the end-of-text token, or what a stop text took.
	Cut []inference.TokenID

	Prompt []Token          // with PromptLogProbs, in the first Delta of choice 0
	Usage  *inference.Usage // in the very last Delta
	Route  *RouteInfo       // in the first Delta, after every reroute, and in the very last
}

// Token is one token of an answer or prompt.
type Token struct {
	ID      inference.TokenID
	Bytes   []byte
	LogProb float64 // with LogProbs; 0 for a prompt's first token, which has none
	Top     []sample.LogProb
}

// task is a Request that has been checked.
type task struct {
	Request
	ids     []inference.TokenID
	session SessionOptions
}

// prepare checks r and turns its prompt into ids.
func (p *DistributedPipeline) prepare(r Request) (*task, error) {
	t := &task{Request: r, session: p.options(r.Session)}
	if t.N == 0 {
		t.N = 1
	}
	if t.N < 1 || t.N > 128 {
		return nil, fmt.Errorf("n = %d: want 1 to 128: %w", t.N, ErrInvalidRequest)
	}
	if t.MaxTokens < 0 {
		return nil, fmt.Errorf("max tokens %d: %w", t.MaxTokens, ErrInvalidRequest)
	}
	if t.TopLogProbs < 0 || t.TopLogProbs > 20 {
		return nil, fmt.Errorf("top logprobs %d: want 0 to 20: %w", t.TopLogProbs, ErrInvalidRequest)
	}
	if t.Sampling.Vocab == 0 {
		t.Sampling.Vocab = min(p.parts.Tokenizer.Size(), p.parts.Ends.Vocab())
	}
	if r.Seed != nil {
		t.Sampling.Seed = *r.Seed
	} else {
		t.Sampling.Seed = randomSeed()
	}
	if err := t.Sampling.Validate(); err != nil {
		return nil, fmt.Errorf("sampling: %w: %w", ErrInvalidRequest, err)
	}
	ids, err := p.ids(&r)
	if err != nil {
		return nil, err
	}
	t.ids = ids
	for _, id := range ids {
		if id < 0 || int(id) >= p.parts.Ends.Vocab() {
			return nil, fmt.Errorf("token id %d: the vocabulary has %d: %w", id, p.parts.Ends.Vocab(), ErrInvalidRequest)
		}
	}
	t.session.MaxBranches = max(t.session.MaxBranches, t.N)
	room := t.session.withDefaults(p.parts.Context).MaxLength - len(ids)
	if room < 0 || room == 0 && !t.PromptLogProbs {
		return nil, fmt.Errorf("the prompt has %d tokens, the context %d: %w", len(ids), p.parts.Context, ErrContextLength)
	}
	if t.MaxTokens == 0 && !t.PromptLogProbs || t.MaxTokens > room {
		t.MaxTokens = room
	}
	t.session.ExpectPrompt, t.session.ExpectTokens = len(ids), min(t.MaxTokens, 256)
	t.session.ExpectLength = len(ids) + t.N*t.session.ExpectTokens
	if r.MaxTokens > 0 { // who names no limit hardly wants the whole context
		t.session.ExpectLength = len(ids) + t.N*t.MaxTokens
	}
	return t, nil
}

// options fills zero fields with the pipeline's defaults.
func (p *DistributedPipeline) options(o SessionOptions) SessionOptions {
	d := p.parts.Defaults
	for _, f := range []struct{ v, d *int }{
		{&o.MaxLength, &d.MaxLength}, {&o.MaxBranches, &d.MaxBranches}, {&o.Chunk, &d.Chunk},
		{&o.ExpectPrompt, &d.ExpectPrompt}, {&o.ExpectTokens, &d.ExpectTokens},
		{&o.ExpectLength, &d.ExpectLength},
	} {
		if *f.v == 0 {
			*f.v = *f.d
		}
	}
	if o.Lifetime == 0 {
		o.Lifetime = d.Lifetime
	}
	if o.Wire == 0 {
		o.Wire = d.Wire
	}
	if o.Timeout == 0 {
		o.Timeout = d.Timeout
	}
	if o.Ceiling.IsZero() {
		o.Ceiling = d.Ceiling
	}
	if o.Class == "" {
		o.Class = d.Class
	}
	o.Relay = o.Relay || d.Relay
	return o
}

// Encode returns the ids of a request's prompt.
func (p *DistributedPipeline) Encode(r Request) ([]inference.TokenID, error) { return p.ids(&r) }

func (p *DistributedPipeline) ids(r *Request) ([]inference.TokenID, error) {
	tok := p.parts.Tokenizer
	var ids []inference.TokenID
	switch {
	case len(r.Messages) > 0 && r.Prompt == "" && len(r.IDs) == 0:
		if p.parts.Template == nil {
			return nil, fmt.Errorf("the model has no chat template, send a prompt instead of messages: %w", ErrInvalidRequest)
		}
		in := chat.Input{Messages: r.Messages, AddGenerationPrompt: true, Now: time.Now()}
		if id, ok := tok.BOS(); ok {
			in.BOS = string(tok.Bytes(id))
		}
		if eog := tok.EOG(); len(eog) > 0 {
			in.EOS = string(tok.Bytes(eog[0]))
		}
		parts, err := p.parts.Template.RenderParts(in)
		if err != nil {
			return nil, fmt.Errorf("chat template: %w: %w", ErrInvalidRequest, err)
		}
		list := make([]tokenizer.Part, len(parts))
		for i, part := range parts {
			list[i] = tokenizer.Part{Text: part.Text, Special: !part.Data}
		}
		ids = tok.EncodeParts(list)
	case r.Prompt != "" && len(r.Messages) == 0 && len(r.IDs) == 0:
		ids = tok.Encode(r.Prompt, true)
		if bos, ok := tok.BOS(); ok && tok.AddBOS() && (len(ids) == 0 || ids[0] != bos) {
			ids = append([]inference.TokenID{bos}, ids...)
		}
	case len(r.IDs) > 0 && len(r.Messages) == 0 && r.Prompt == "":
		ids = r.IDs
	case len(r.Messages) == 0 && r.Prompt == "" && len(r.IDs) == 0:
		return nil, fmt.Errorf("the prompt is empty: %w", ErrInvalidRequest)
	default:
		return nil, fmt.Errorf("more than one of messages, prompt and ids: %w", ErrInvalidRequest)
	}
	if len(ids) == 0 {
		return nil, fmt.Errorf("the prompt is empty: %w", ErrInvalidRequest)
	}
	return ids, nil
}

func randomSeed() uint64 {
	var b [8]byte
	if _, err := rand.Read(b[:]); err != nil {
		panic(err) // crypto/rand never fails on the systems we build for
	}
	return binary.LittleEndian.Uint64(b[:])
}
