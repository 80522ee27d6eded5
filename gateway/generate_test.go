package gateway

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/gateway/openai"
	"github.com/farlabs/inference/model/chat"
	"github.com/farlabs/inference/pipeline"
)

// slowly says a text with a pause before each byte.
func slowly(text string, pause time.Duration) script {
	return func(ctx context.Context, r pipeline.Request, yield func(pipeline.Delta, error) bool) {
		say(text)(ctx, r, func(d pipeline.Delta, err error) bool {
			select {
			case <-time.After(pause):
				return yield(d, err)
			case <-ctx.Done():
				yield(pipeline.Delta{}, ctx.Err())
				return false
			}
		})
	}
}

func TestStreamIsWholeEvents(t *testing.T) {
	url := server(t, Config{})
	r := do(t, "POST", url+"/v1/chat/completions", streaming(chatBody), "x-farlabs-route", "1")
	for key, want := range map[string]string{
		"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache", "X-Accel-Buffering": "no",
	} {
		if got := r.header.Get(key); got != want {
			t.Errorf("%s: %q", key, got)
		}
	}
	events := strings.Split(r.body, "\n\n")
	if n := len(events); n != 9 || events[7] != "data: [DONE]" || events[8] != "" {
		t.Fatalf("%d events: %q", n, events)
	}
	for _, e := range events[:7] {
		data, ok := strings.CutPrefix(e, "data: ")
		var chunk map[string]any
		if !ok || json.Unmarshal([]byte(data), &chunk) != nil || chunk["error"] != nil {
			t.Errorf("event %q", e)
		}
	}
	if !strings.Contains(events[0], `"role":"assistant"`) || !strings.Contains(events[0], `"farlabs":`) {
		t.Error(events[0])
	}
	if r := do(t, "POST", url+"/v1/chat/completions", streaming(chatBody)); strings.Contains(r.body, "farlabs") {
		t.Error("the route is told without being asked for")
	}
	if a, b := r.header.Get("x-request-id"), events[0]; !strings.Contains(b, `"id":"chatcmpl-`+strings.TrimPrefix(a, "req_")) {
		t.Errorf("request %s, answer %s", a, b)
	}
}

func TestErrorsHaveTheirStatus(t *testing.T) {
	for _, c := range []struct {
		err    error
		status int
		body   string
		retry  string
	}{
		{&openai.Error{Param: "n", Message: "n: no"}, 400, `{"error":{"message":"n: no","type":"invalid_request_error","param":"n","code":null}}`, ""},
		{fmt.Errorf("a: %w", pipeline.ErrContextLength), 400, `"code":"context_length_exceeded"`, ""},
		{pipeline.ErrInvalidRequest, 400, `"type":"invalid_request_error"`, ""},
		{&chat.RefusedError{Message: "roles must alternate"}, 400, `roles must alternate`, ""},
		{pipeline.ErrPriceCeiling, 402, `"type":"insufficient_funds"`, ""},
		{&pipeline.BusyError{RetryAfter: 1500 * time.Millisecond, Err: errors.New("full")}, 503, `"code":"server_is_overloaded"`, "2"},
		{pipeline.ErrBusy, 503, `"code":"server_is_overloaded"`, "5"},
		{&pipeline.RoomError{Needed: 500, Holds: 480}, 503, `"code":"kv_cache_too_small"`, ""},
		{fmt.Errorf("blocks 10:20: %w", pipeline.ErrNoRoute), 503, `blocks 10:20`, "5"},
		{pipeline.ErrNoProgress, 504, `"code":"timeout"`, ""},
		{context.DeadlineExceeded, 504, `"code":"timeout"`, ""},
		{&pipeline.HopError{Kind: pipeline.FailFaulty, Err: errors.New("x")}, 500, `"type":"server_error"`, ""},
		{context.Canceled, 500, `"type":"server_error"`, ""}, // not the client's doing
		{errors.New("odd"), 500, `"param":null,"code":null`, ""},
	} {
		url := server(t, Config{Models: []Model{&fake{generate: fails("", c.err)}}})
		for _, body := range []string{chatBody, streaming(chatBody)} {
			r := do(t, "POST", url+"/v1/chat/completions", body)
			if r.status != c.status || !strings.Contains(r.body, c.body) || r.header.Get("Retry-After") != c.retry {
				t.Errorf("%v: %d %s, retry after %q", c.err, r.status, r.body, r.header.Get("Retry-After"))
			}
			var e struct{ Error map[string]any }
			if err := json.Unmarshal([]byte(r.body), &e); err != nil || len(e.Error) != 4 || r.header.Get("Content-Type") != "application/json" {
				t.Errorf("%v: not an error of four keys: %s", c.err, r.body)
			}
		}
	}
}

func TestErrorAfterTheFirstEventEndsTheStream(t *testing.T) {
	url := server(t, Config{Models: []Model{&fake{generate: fails("a", pipeline.ErrNoRoute)}}})
	r := do(t, "POST", url+"/v1/chat/completions", streaming(chatBody))
	events := strings.Split(strings.TrimSuffix(r.body, "\n\n"), "\n\n")
	if last := events[len(events)-1]; r.status != 200 || !strings.HasPrefix(last, `data: {"error":{"message":"no route","type":`) {
		t.Errorf("%d %s", r.status, r.body)
	}
}

func TestAnswerThatBreaksOffIsAnError(t *testing.T) {
	m := &fake{generate: func(_ context.Context, _ pipeline.Request, yield func(pipeline.Delta, error) bool) {
		yield(pipeline.Delta{Text: "a"}, nil)
	}}
	if r := do(t, "POST", server(t, Config{Models: []Model{m}})+"/v1/chat/completions", chatBody); r.status != 500 {
		t.Error(r)
	}
}

func TestSilenceIsFilledWithEmptyChunks(t *testing.T) {
	m := &fake{generate: slowly("ab", 100*time.Millisecond)}
	url := server(t, Config{Models: []Model{m}, KeepAlive: 30 * time.Millisecond})
	r := do(t, "POST", url+"/v1/chat/completions", streaming(chatBody))
	if n := strings.Count(r.body, `"delta":{},"logprobs":null,"finish_reason":null`); n < 2 {
		t.Errorf("%d empty chunks:\n%s", n, r.body)
	}
	if strings.Count(r.body, `"role"`) != 1 || !strings.HasSuffix(r.body, "data: [DONE]\n\n") || strings.Contains(r.body, "\n:") {
		t.Error(r.body)
	}
}

func TestClientThatLeavesCancelsItsSession(t *testing.T) {
	for _, body := range []string{streaming(chatBody), chatBody} {
		begun, cancelled := make(chan struct{}), make(chan struct{})
		m := &fake{generate: func(ctx context.Context, _ pipeline.Request, yield func(pipeline.Delta, error) bool) {
			yield(pipeline.Delta{Text: "a"}, nil)
			close(begun)
			<-ctx.Done()
			close(cancelled)
		}}
		url := server(t, Config{Models: []Model{m}})
		ctx, leave := context.WithCancel(t.Context())
		req, err := http.NewRequestWithContext(ctx, "POST", url+"/v1/chat/completions", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			if resp, err := http.DefaultClient.Do(req); err == nil {
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
		}()
		within(t, "the request", begun)
		leave()
		within(t, "the cancellation", cancelled)
		<-gone
	}
}

func TestClientThatNeverReadsIsCut(t *testing.T) {
	cancelled := make(chan struct{})
	long := strings.Repeat("x", 64<<10)
	m := &fake{generate: func(ctx context.Context, _ pipeline.Request, yield func(pipeline.Delta, error) bool) {
		defer close(cancelled)
		for yield(pipeline.Delta{Text: long}, nil) && ctx.Err() == nil {
		}
	}}
	url := server(t, Config{Models: []Model{m}, WriteTimeout: 100 * time.Millisecond})
	c, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	body := streaming(chatBody)
	fmt.Fprintf(c, "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	within(t, "the cancellation", cancelled)
}

func TestRequestsAtOnceAreBounded(t *testing.T) {
	begun, release := make(chan struct{}, 2), make(chan struct{})
	m := &fake{generate: func(ctx context.Context, r pipeline.Request, yield func(pipeline.Delta, error) bool) {
		begun <- struct{}{}
		<-release
		say("x")(ctx, r, yield)
	}}
	url := server(t, Config{Models: []Model{m}, MaxConcurrent: 2})
	answers := make(chan reply, 2)
	for range 2 {
		go func() { answers <- do(t, "POST", url+"/v1/chat/completions", chatBody) }()
	}
	for range 2 {
		<-begun
	}
	r := do(t, "POST", url+"/v1/chat/completions", chatBody)
	if r.status != 429 || r.header.Get("Retry-After") != "1" || !strings.Contains(r.body, `"code":"rate_limit_exceeded"`) || r.header.Get("x-ratelimit-remaining-requests") != "0" || r.header.Get("x-ratelimit-remaining-tokens") != "0" {
		t.Error(r)
	}
	if r := do(t, "GET", url+"/v1/models", ""); r.status != 200 {
		t.Error("other routes wait too")
	}
	close(release)
	for range 2 {
		if r := <-answers; r.status != 200 || r.header.Get("x-ratelimit-limit-requests") != "2" || r.header.Get("x-ratelimit-limit-tokens") != "1024" || r.header.Get("x-ratelimit-reset-tokens") == "" {
			t.Error(r)
		}
	}
	if r := do(t, "POST", url+"/v1/chat/completions", chatBody); r.status != 200 {
		t.Error("slots are not given back:", r)
	}
}

func TestPromptsRunAtOnceButNotAll(t *testing.T) {
	var now, most atomic.Int32
	m := &fake{generate: func(ctx context.Context, r pipeline.Request, yield func(pipeline.Delta, error) bool) {
		n := now.Add(1)
		for {
			if old := most.Load(); n <= old || most.CompareAndSwap(old, n) {
				break
			}
		}
		time.Sleep(20 * time.Millisecond)
		now.Add(-1)
		say(r.Prompt)(ctx, r, yield)
	}}
	url := server(t, Config{Models: []Model{m}, Parallel: 3, MaxPrompts: 10})
	r := do(t, "POST", url+"/v1/completions", `{"model":"small","prompt":["a","b","c","d","e","f","g"]}`)
	var a struct {
		Choices []struct {
			Text  string
			Index int
		}
		Usage struct {
			Prompt int `json:"prompt_tokens"`
		}
	}
	if err := json.Unmarshal([]byte(r.body), &a); err != nil {
		t.Fatal(err)
	}
	var texts []string
	for i, c := range a.Choices {
		if c.Index != i {
			t.Errorf("choice %d has index %d", i, c.Index)
		}
		texts = append(texts, c.Text)
	}
	if d := cmp.Diff([]string{"a", "b", "c", "d", "e", "f", "g"}, texts); d != "" || a.Usage.Prompt != 21 {
		t.Error(d, a.Usage)
	}
	if most.Load() != 3 {
		t.Errorf("%d prompts ran at once, want 3", most.Load())
	}
	if r := do(t, "POST", url+"/v1/completions", `{"model":"small","prompt":[`+strings.Repeat(`"a",`, 10)+`"a"]}`); r.status != 400 {
		t.Error(r)
	}
}

func TestFirstFailingPromptEndsTheOthers(t *testing.T) {
	m := &fake{generate: func(ctx context.Context, r pipeline.Request, yield func(pipeline.Delta, error) bool) {
		if r.Prompt == "bad" {
			yield(pipeline.Delta{}, pipeline.ErrNoRoute)
			return
		}
		<-ctx.Done()
		yield(pipeline.Delta{}, ctx.Err())
	}}
	url := server(t, Config{Models: []Model{m}})
	if r := do(t, "POST", url+"/v1/completions", `{"model":"small","prompt":["a","bad","c"]}`); r.status != 503 {
		t.Error(r)
	}
}

func TestRequestsReachTheModel(t *testing.T) {
	m := &fake{}
	var usd []float64
	url := server(t, Config{Models: []Model{m}, MaxPrice: 3, Ceiling: func(x float64) (inference.Wei, error) {
		usd = append(usd, x)
		return inference.WeiOf(uint64(x * 1000)), nil
	}})
	for _, price := range []string{"2", "5", "0"} {
		if r := do(t, "POST", url+"/v1/chat/completions", strings.Replace(chatBody, "{", `{"n":2,"max_price":`+price+`,`, 1)); r.status != 200 {
			t.Fatal(r)
		}
	}
	var ceilings []inference.Wei
	for _, r := range m.requests {
		ceilings = append(ceilings, r.Session.Ceiling)
		if r.N != 2 || r.Messages[0].Content != "Hey" {
			t.Errorf("request %+v", r)
		}
	}
	// Zero would mean "no ceiling" to a session.
	if !slices.Equal(usd, []float64{2, 3, 0}) || !slices.Equal(ceilings, []inference.Wei{inference.WeiOf(2000), inference.WeiOf(3000), inference.WeiOf(1)}) {
		t.Errorf("asked %v, ceilings %v", usd, ceilings)
	}
	if r := do(t, "POST", server(t, Config{})+"/v1/chat/completions", strings.Replace(chatBody, "{", `{"max_price":1,`, 1)); r.status != 400 || !strings.Contains(r.body, `"param":"max_price"`) {
		t.Error(r)
	}
	if r := do(t, "POST", url+"/v1/chat/completions", strings.Replace(chatBody, "{", `{"logit_bias":{"258":1},`, 1)); r.status != 400 || !strings.Contains(r.body, `"param":"logit_bias"`) {
		t.Error(r)
	}
}

func TestIDsAreEncodedOnceAndTold(t *testing.T) {
	m := &fake{}
	url := server(t, Config{Models: []Model{m}})
	r := do(t, "POST", url+"/v1/completions", `{"model":"small","prompt":"Hey","return_token_ids":true}`)
	if !strings.Contains(r.body, `"prompt_token_ids":[72,101,121],"token_ids":[72,101,108,108,111]`) {
		t.Error(r.body)
	}
	if last := m.last(t); last.Prompt != "" || !slices.Equal(last.IDs, []inference.TokenID{72, 101, 121}) {
		t.Errorf("the model got %+v", last)
	}
	if r := do(t, "POST", url+"/v1/completions", `{"model":"small","prompt":"too long","return_token_ids":true}`); r.status != 400 || !strings.Contains(r.body, "context_length_exceeded") {
		t.Error(r)
	}
}

func TestFingerprintIsOfModelAndProgram(t *testing.T) {
	print := func(version string) string {
		r := do(t, "POST", server(t, Config{Version: version})+"/v1/chat/completions", chatBody)
		var a struct {
			Fingerprint string `json:"system_fingerprint"`
		}
		if err := json.Unmarshal([]byte(r.body), &a); err != nil {
			t.Fatal(err)
		}
		return a.Fingerprint
	}
	if a, b, c := print("1"), print("1"), print("2"); a != b || a == c || !strings.HasPrefix(a, "fp_") {
		t.Error(a, b, c)
	}
}

// Each token is on its way before the next is asked for.
func TestTokensAreFlushed(t *testing.T) {
	next := make(chan struct{})
	m := &fake{generate: func(ctx context.Context, r pipeline.Request, yield func(pipeline.Delta, error) bool) {
		say("ab")(ctx, r, func(d pipeline.Delta, err error) bool {
			<-next
			return yield(d, err)
		})
	}}
	url := server(t, Config{Models: []Model{m}})
	req, err := http.NewRequestWithContext(t.Context(), "POST", url+"/v1/completions", strings.NewReader(`{"model":"small","prompt":"x","stream":true}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	// The status comes with the first token.
	go func() { next <- struct{}{} }()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for _, want := range []string{`"text":"a"`, `"text":"b"`, `"finish_reason":"stop"`} {
		for lines.Scan() && lines.Text() == "" {
		}
		if !strings.Contains(lines.Text(), want) {
			t.Errorf("%s, want %s", lines.Text(), want)
		}
		if want != `"finish_reason":"stop"` {
			next <- struct{}{}
		}
	}
	_, _ = io.Copy(io.Discard, resp.Body)
}

func TestNetworkIsAskedOnceASecond(t *testing.T) {
	var asked atomic.Int32
	url := server(t, Config{Network: counting{&asked}})
	for range 20 {
		if r := do(t, "GET", url+"/v1/network", ""); r.status != 200 {
			t.Fatal(r)
		}
	}
	if n := asked.Load(); n > 3 {
		t.Errorf("20 readers asked %d times", n)
	}
}

type counting struct{ n *atomic.Int32 }

func (c counting) Network(ctx context.Context, wait time.Duration) pipeline.NetworkInfo {
	c.n.Add(1)
	return fakeNetwork{}.Network(ctx, wait)
}
