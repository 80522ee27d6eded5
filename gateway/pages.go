package gateway

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/farlabs/inference/pipeline"
)

const endpoints = `Far Labs Inference

POST /v1/chat/completions   messages in, an answer out; "stream": true for server-sent events
POST /v1/completions        a prompt, or several, or token ids, continued
GET  /v1/models             the models that can be asked
GET  /v1/network            models, blocks and nodes of the network
GET  /health                whether this server is up

The API is OpenAI's: point a client's base URL at /v1. Ours besides: "max_price" in a
request (USD per 1M tokens over all nodes), and the header x-farlabs-route: 1, which adds
the route and its timings to answers.

Models
`

func (s *Server) index(w http.ResponseWriter, _ *http.Request) {
	var b bytes.Buffer
	b.WriteString(endpoints)
	for _, m := range s.cfg.Models {
		fmt.Fprintf(&b, "  %s  context %d\n", m.Model(), m.Context())
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write(b.Bytes())
}

func (s *Server) health(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
}

// modelEntry serves the clients of OpenAI and of Anthropic alike.
type modelEntry struct {
	ID            string `json:"id"`
	Object        string `json:"object"`
	Created       int64  `json:"created"`
	OwnedBy       string `json:"owned_by"`
	Type          string `json:"type"`
	DisplayName   string `json:"display_name"`
	CreatedAt     string `json:"created_at"`
	ContextLength int    `json:"context_length"`
	Digest        string `json:"digest"`
}

// modelList is a page of either API; there is only one.
type modelList struct {
	Object  string       `json:"object"`
	Data    []modelEntry `json:"data"`
	HasMore bool         `json:"has_more"`
	FirstID *string      `json:"first_id"`
	LastID  *string      `json:"last_id"`
}

func (s *Server) entry(m Model) modelEntry {
	return modelEntry{
		ID: string(m.Model()), Object: "model", Created: s.started.Unix(), OwnedBy: "farlabs",
		Type: "model", DisplayName: string(m.Model()), CreatedAt: s.started.UTC().Format(time.RFC3339),
		ContextLength: m.Context(), Digest: m.Digest().String(),
	}
}

func (s *Server) listModels(w http.ResponseWriter, _ *http.Request) {
	l := modelList{Object: "list", Data: []modelEntry{}}
	for _, m := range s.cfg.Models {
		l.Data = append(l.Data, s.entry(m))
	}
	if n := len(l.Data); n > 0 {
		l.FirstID, l.LastID = &l.Data[0].ID, &l.Data[n-1].ID
	}
	writeJSON(w, http.StatusOK, l)
}

func (s *Server) showModel(w http.ResponseWriter, r *http.Request) {
	if r.PathValue("id") == "" { // a slash at the end of the list's path
		s.listModels(w, r)
		return
	}
	m, ok := s.find(r.PathValue("id"))
	if !ok {
		refuse(w, s.unknownModel(r.PathValue("id")))
		return
	}
	writeJSON(w, http.StatusOK, s.entry(m))
}

func (s *Server) showNetwork(w http.ResponseWriter, r *http.Request) {
	if s.cfg.Network == nil {
		fail(w, http.StatusNotFound, apiError{Type: "invalid_request_error", Code: "unknown_url",
			Message: "this server shows no network"})
		return
	}
	writeJSON(w, http.StatusOK, s.network.get(r.Context()))
}

// networkCache keeps a view for a second, so that any number of readers cost
// the peers one question.
type networkCache struct {
	from Network

	mu   sync.Mutex
	at   time.Time
	info pipeline.NetworkInfo
}

// loadWait is how long nodes have to tell their load.
const loadWait = 500 * time.Millisecond

func (c *networkCache) get(ctx context.Context) pipeline.NetworkInfo {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.at) > time.Second {
		// Readers that wait share the answer: it must not end with one of them.
		c.info = c.from.Network(context.WithoutCancel(ctx), loadWait)
		c.at = time.Now()
	}
	return c.info
}
