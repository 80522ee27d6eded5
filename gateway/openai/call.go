package openai

import (
	"encoding/json"
	"math"
	"strconv"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/model/sample"
	"github.com/farlabs/inference/pipeline"
)

// Kind is the endpoint that a call came through.
type Kind uint8

// The kinds of call.
const (
	Chat       Kind = iota + 1 // /v1/chat/completions
	Completion                 // /v1/completions
)

// Call is a request that has been understood.
type Call struct {
	Kind  Kind
	Model string // as written
	// Prompts has a request per prompt, alike but for the prompt. Session is
	// left to the caller.
	Prompts []pipeline.Request
	N       int // choices per prompt

	Stream          bool
	IncludeUsage    bool // a last chunk with usage
	ContinuousUsage bool // usage in every chunk
	Echo            bool // the answer begins with the prompt
	LogProbs        bool // of the answer and, with Echo, of the prompt
	TopLogProbs     int
	TokenIDs        bool     // ids besides the text
	MaxPrice        *float64 // USD per 1M tokens over all hops, ≥ 0; nil: not said

	texts []string              // of prompts that came as text, for Echo
	ids   [][]inference.TokenID // of the prompts, where they are known
}

// NeedsIDs reports whether the answer tells ids or counts of the prompt before
// the pipeline does, so that SetIDs has to be called for every prompt.
func (c *Call) NeedsIDs() bool { return c.TokenIDs || c.ContinuousUsage }

// SetIDs replaces a prompt by its ids, which it keeps.
func (c *Call) SetIDs(prompt int, ids []inference.TokenID) {
	if c.ids == nil {
		c.ids = make([][]inference.TokenID, len(c.Prompts))
	}
	c.ids[prompt] = ids
	r := &c.Prompts[prompt]
	r.Messages, r.Prompt, r.IDs = nil, "", ids
}

// Limits of a request beyond what the pipeline checks.
const (
	maxChoices  = 128 // per prompt
	maxTop      = 20
	maxStops    = 32
	maxStopText = 4096 // bytes
	maxBias     = 4096
)

// options reads what both kinds have in common.
func (c *Call) options(f *fields) pipeline.Request {
	c.Model = f.string("model")
	if c.Model == "" {
		f.fail("model", "name a model; GET /v1/models lists them")
	}
	c.N = int(f.int("n", 1, 1, maxChoices))
	c.Stream = f.bool("stream", false)
	if o := f.object("stream_options"); o != nil {
		c.IncludeUsage = c.Stream && o.bool("include_usage", false)
		c.ContinuousUsage = c.Stream && o.bool("continuous_usage_stats", false)
		f.take(o)
	}
	c.TokenIDs = f.bool("return_token_ids", false)
	if _, ok := f.get("max_price"); ok {
		usd := f.float("max_price", 0, 0, 1e9)
		c.MaxPrice = &usd
	}
	return pipeline.Request{
		N: c.N, Seed: f.seed("seed"), Stop: stops(f), IgnoreEOS: f.bool("ignore_eos", false),
		Sampling: sample.Params{
			Temperature:       float32(f.float("temperature", 1, 0, 2)),
			TopP:              topP(f.float("top_p", 1, 0, 1)),
			TopK:              int(max(f.int("top_k", 0, -1, math.MaxInt32), 0)),
			MinP:              float32(f.float("min_p", 0, 0, 1)),
			RepetitionPenalty: repetition(f),
			PresencePenalty:   float32(f.float("presence_penalty", 0, -2, 2)),
			FrequencyPenalty:  float32(f.float("frequency_penalty", 0, -2, 2)),
			LogitBias:         logitBias(f),
		},
	}
}

// topP keeps 0, which asks for the likeliest token only, apart from "absent".
func topP(p float64) float32 { return max(float32(p), math.SmallestNonzeroFloat32) }

func repetition(f *fields) float32 {
	p := f.float("repetition_penalty", 1, 0, 100)
	if p == 0 {
		f.fail("repetition_penalty", "want more than 0; 1 is none")
	}
	return max(float32(p), math.SmallestNonzeroFloat32)
}

// length sets how many tokens to make; −1: as many as fit. To make none is to
// compute the prompt only, which pipeline does when its log-probabilities are
// asked for.
func length(r *pipeline.Request, n int64) {
	switch {
	case n == 0:
		r.PromptLogProbs = true
	case n > 0:
		r.MaxTokens = int(n)
	}
}

func stops(f *fields) []string {
	r, ok := f.get("stop")
	if !ok {
		return nil
	}
	list := []json.RawMessage{r}
	if kind(r) == '[' {
		list = f.list("stop")
	}
	if len(list) > maxStops {
		f.fail("stop", "%d texts, want at most %d", len(list), maxStops)
		return nil
	}
	var texts []string
	for _, r := range list {
		var s string
		if json.Unmarshal(r, &s) != nil || isNull(r) {
			f.fail("stop", "want a string or a list of strings")
			return nil
		}
		if s == "" || len(s) > maxStopText {
			f.fail("stop", "a text has %d bytes, want 1 to %d", len(s), maxStopText)
			return nil
		}
		texts = append(texts, s)
	}
	return texts
}

func logitBias(f *fields) map[inference.TokenID]float32 {
	o := f.object("logit_bias")
	if o == nil {
		return nil
	}
	if len(o.raw) > maxBias {
		f.fail("logit_bias", "%d tokens, want at most %d", len(o.raw), maxBias)
		return nil
	}
	bias := map[inference.TokenID]float32{}
	for key, r := range o.raw {
		v, err := number(r)
		if err != nil || isNull(r) || !(v >= -100 && v <= 100) {
			f.fail("logit_bias", "token %s: want a number from -100 to 100", printable(key))
			return nil
		}
		if v == 0 {
			continue // changes nothing, whatever the key
		}
		id, err := strconv.ParseInt(key, 10, 32)
		if err != nil || id < 0 {
			f.fail("logit_bias", "key %s: want the id of a token", printable(key))
			return nil
		}
		bias[inference.TokenID(id)] = float32(v)
	}
	return bias
}
