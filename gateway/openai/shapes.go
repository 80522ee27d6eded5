package openai

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/pipeline"
)

// Header is what all chunks of an answer share.
type Header struct {
	ID          string // NewID
	Created     int64  // Unix seconds
	Model       string // its full id
	Fingerprint string // of what determines results
	Route       bool   // tell the route, in the field "farlabs"
}

// NewID makes an answer's id of a request's.
func (c *Call) NewID(request string) string {
	if c.Kind == Chat {
		return "chatcmpl-" + request
	}
	return "cmpl-" + request
}

// Vocabulary spells tokens. *tokenizer.Tokenizer is one.
type Vocabulary interface {
	Bytes(id inference.TokenID) []byte
}

// answer is a whole answer, or a chunk of one. Usage is left out when nil; a
// *usage that is nil within it is null.
type answer struct {
	ID          string   `json:"id"`
	Object      string   `json:"object"`
	Created     int64    `json:"created"`
	Model       string   `json:"model"`
	Choices     any      `json:"choices"`
	Usage       any      `json:"usage,omitempty"`
	Fingerprint string   `json:"system_fingerprint"`
	PromptIDs   ids      `json:"prompt_token_ids,omitempty"` // chats, on demand
	FarLabs     *farlabs `json:"farlabs,omitempty"`
}

type ids = []inference.TokenID

// chatChunk is a choice of a chat's chunk.
type chatChunk struct {
	Index    int           `json:"index"`
	Delta    chatDelta     `json:"delta"`
	LogProbs *chatLogProbs `json:"logprobs"`
	Finish   *string       `json:"finish_reason"`
	IDs      *ids          `json:"token_ids,omitempty"`
}

type chatDelta struct {
	Role    string  `json:"role,omitempty"`
	Content *string `json:"content,omitempty"`
}

// chatChoice is a choice of a whole chat answer.
type chatChoice struct {
	Index    int           `json:"index"`
	Message  chatMessage   `json:"message"`
	LogProbs *chatLogProbs `json:"logprobs"`
	Finish   *string       `json:"finish_reason"`
	IDs      *ids          `json:"token_ids,omitempty"`
}

type chatMessage struct {
	Role    string  `json:"role"`
	Content string  `json:"content"`
	Refusal *string `json:"refusal"` // always null
}

// textChoice is a choice of a completion, whole or a chunk.
type textChoice struct {
	Text      string        `json:"text"`
	Index     int           `json:"index"`
	LogProbs  *textLogProbs `json:"logprobs"`
	Finish    *string       `json:"finish_reason"`
	PromptIDs ids           `json:"prompt_token_ids,omitempty"`
	IDs       *ids          `json:"token_ids,omitempty"`
}

// usage counts tokens.
type usage struct {
	Prompt     int `json:"prompt_tokens"`
	Completion int `json:"completion_tokens"`
	Total      int `json:"total_tokens"`
	Details    struct {
		Cached int `json:"cached_tokens"`
	} `json:"prompt_tokens_details"`
}

func (u *usage) add(v inference.Usage) {
	u.Prompt += v.PromptTokens
	u.Completion += v.CompletionTokens
	u.Total += v.Total()
	u.Details.Cached += v.CachedTokens
}

// farlabs tells the route of a prompt's session. It is ours, and only there
// when asked for.
type farlabs struct {
	Prompt  int             `json:"prompt"`
	Session string          `json:"session"`
	Epoch   inference.Epoch `json:"epoch"`
	Route   []farHop        `json:"route"`
	Others  []*farlabs      `json:"others,omitempty"` // whole answers of several prompts: those after the first
}

type farHop struct {
	Peer    inference.PeerID `json:"peer"`
	Name    string           `json:"name"`
	Blocks  string           `json:"blocks"`
	Direct  bool             `json:"direct"`
	Wait    float64          `json:"wait_ms"`
	Compute float64          `json:"compute_ms"`
	Gap     float64          `json:"gap_ms"`
}

func routeOf(prompt int, r *pipeline.RouteInfo) *farlabs {
	f := &farlabs{Prompt: prompt, Session: r.Session, Epoch: r.Epoch, Route: []farHop{}}
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	for _, h := range r.Hops {
		f.Route = append(f.Route, farHop{h.Peer, h.Name, h.Blocks, h.Direct, ms(h.Wait), ms(h.Compute), ms(h.Gap)})
	}
	return f
}

// marshal encodes our own shapes, whose values all have a JSON form.
func marshal(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(fmt.Sprintf("openai: %T does not marshal: %v", v, err))
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

func finish(f pipeline.Finish) *string {
	if f == "" {
		return nil
	}
	s := string(f)
	return &s
}
