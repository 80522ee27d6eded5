package gateway

import (
	"bytes"
	"context"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/model/tokenizer"
	"github.com/farlabs/inference/pipeline"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// metadata is a vocabulary in memory: a token per byte, then <s> and <e>.
type metadata map[string]any

func (m metadata) String(key string) (string, bool)    { v, ok := m[key].(string); return v, ok }
func (m metadata) Strings(key string) ([]string, bool) { v, ok := m[key].([]string); return v, ok }
func (m metadata) Ints(key string) ([]int64, bool)     { v, ok := m[key].([]int64); return v, ok }
func (m metadata) Uint(key string) (uint64, bool)      { v, ok := m[key].(uint64); return v, ok }
func (m metadata) Bool(key string) (bool, bool)        { v, ok := m[key].(bool); return v, ok }

var byteTokenizer = sync.OnceValue(func() *tokenizer.Tokenizer {
	var tokens []string
	var kinds []int64
	other := rune(256)
	for b := range rune(256) {
		r := b
		// GPT-2 spells unprintable bytes as letters from 256 on.
		if !(b >= 33 && b <= 126 || b >= 161 && b <= 172 || b >= 174) {
			r = other
			other++
		}
		tokens, kinds = append(tokens, string(r)), append(kinds, 1)
	}
	tokens, kinds = append(tokens, "<s>", "<e>"), append(kinds, 3, 3)
	t, err := tokenizer.FromGGUF(metadata{
		"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "gpt-2", "tokenizer.ggml.tokens": tokens,
		"tokenizer.ggml.token_type": kinds, "tokenizer.ggml.merges": []string{},
		"tokenizer.ggml.bos_token_id": uint64(256), "tokenizer.ggml.eos_token_id": uint64(257),
	})
	if err != nil {
		panic(err)
	}
	return t
})

// fake is a Model that does what its function says.
type fake struct {
	id       inference.ModelID
	generate func(ctx context.Context, r pipeline.Request, yield func(pipeline.Delta, error) bool)

	mu       sync.Mutex
	requests []pipeline.Request
}

func (f *fake) Model() inference.ModelID {
	if f.id == "" {
		return "small:q4_1"
	}
	return f.id
}
func (f *fake) Digest() inference.Digest        { return inference.Digest{1, 2, 3} }
func (f *fake) Context() int                    { return 512 }
func (f *fake) Tokenizer() *tokenizer.Tokenizer { return byteTokenizer() }
func (f *fake) Encode(r pipeline.Request) ([]inference.TokenID, error) {
	if strings.HasPrefix(r.Prompt, "panic") {
		panic(r.Prompt)
	}
	if r.Prompt == "too long" {
		return nil, pipeline.ErrContextLength
	}
	return byteTokenizer().Encode(r.Prompt, false), nil
}

func (f *fake) Generate(ctx context.Context, r pipeline.Request) iter.Seq2[pipeline.Delta, error] {
	f.mu.Lock()
	f.requests = append(f.requests, r)
	f.mu.Unlock()
	return func(yield func(pipeline.Delta, error) bool) {
		if f.generate == nil {
			say("Hello")(ctx, r, yield)
			return
		}
		f.generate(ctx, r, yield)
	}
}

func (f *fake) last(t *testing.T) pipeline.Request {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.requests) == 0 {
		t.Fatal("the model was not asked")
	}
	return f.requests[len(f.requests)-1]
}

type script = func(ctx context.Context, r pipeline.Request, yield func(pipeline.Delta, error) bool)

// say answers with a text, byte by byte.
func say(text string) script {
	return func(_ context.Context, r pipeline.Request, yield func(pipeline.Delta, error) bool) {
		for i := range len(text) {
			d := pipeline.Delta{Text: text[i : i+1], Tokens: []pipeline.Token{{ID: inference.TokenID(text[i]), Bytes: []byte{text[i]}}}}
			if i == 0 {
				d.Route = &pipeline.RouteInfo{Epoch: 1}
			}
			if !yield(d, nil) {
				return
			}
		}
		yield(pipeline.Delta{Finish: pipeline.FinishStop, Usage: &inference.Usage{PromptTokens: 3, CompletionTokens: len(text) + 1}}, nil)
	}
}

// fails ends with an error after a text.
func fails(text string, err error) script {
	return func(_ context.Context, _ pipeline.Request, yield func(pipeline.Delta, error) bool) {
		if text == "" || yield(pipeline.Delta{Text: text}, nil) {
			yield(pipeline.Delta{}, err)
		}
	}
}

// server runs a gateway the way Serve does, and returns its URL. Its end is
// the test's: every request must have ended.
func server(t *testing.T, cfg Config) string {
	t.Helper()
	if cfg.Models == nil {
		cfg.Models = []Model{&fake{}}
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	h := httptest.NewServer(s.Handler())
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		h.Close()
	})
	return h.URL
}

type reply struct {
	status int
	header http.Header
	body   string
}

// do sends a request; headers are pairs.
func do(t *testing.T, method, url, body string, headers ...string) reply {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			req.Host = headers[i+1]
			continue
		}
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{resp.StatusCode, resp.Header, string(b)}
}

const chatBody = `{"model":"small","messages":[{"role":"user","content":"Hey"}]}`

func streaming(body string) string { return strings.Replace(body, "{", `{"stream":true,`, 1) }

// logs collects log lines.
type logs struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logs) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func within(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(10 * time.Second):
		t.Fatal(what + " did not happen")
	}
}
