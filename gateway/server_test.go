package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/pipeline"
)

func TestEveryRouteIsServedWithAndWithoutV1(t *testing.T) {
	url := server(t, Config{Network: fakeNetwork{}})
	for _, prefix := range []string{"", "/v1"} {
		for _, c := range []struct {
			method, path, body string
			status             int
			want               string
		}{
			{"GET", "/", "", 200, "/v1/chat/completions"},
			{"HEAD", "/", "", 200, ""},
			{"GET", "/health", "", 200, `"ok"`},
			{"GET", "/models", "", 200, `"id":"small:q4_1"`},
			{"GET", "/models/", "", 200, `"object":"list"`},
			{"GET", "/models/small:q4_1", "", 200, `"object":"model"`},
			{"GET", "/models/small", "", 200, `"id":"small:q4_1"`},
			{"GET", "/models/other", "", 404, `"code":"model_not_found"`},
			{"GET", "/network", "", 200, `"nodes"`},
			{"POST", "/chat/completions", chatBody, 200, `"content":"Hello"`},
			{"POST", "/completions", `{"model":"small","prompt":"Hey"}`, 200, `"text":"Hello"`},
			{"GET", "/chat/completions", "", 405, `"code":"method_not_supported"`},
			{"DELETE", "/models", "", 405, `"param":null`},
			{"OPTIONS", "/models", "", 204, ""},
			{"GET", "/nothing", "", 404, `"code":"unknown_url"`},
			{"POST", "/embeddings", "{}", 404, `"code":"unknown_url"`},
		} {
			r := do(t, c.method, url+prefix+c.path, c.body)
			if r.status != c.status || !strings.Contains(r.body, c.want) {
				t.Errorf("%s %s%s: %d %s", c.method, prefix, c.path, r.status, r.body)
			}
			if r.header.Get("x-request-id") == "" {
				t.Errorf("%s %s%s: no x-request-id", c.method, prefix, c.path)
			}
		}
	}
}

type fakeNetwork struct{}

func (fakeNetwork) Network(context.Context, time.Duration) pipeline.NetworkInfo {
	return pipeline.NetworkInfo{
		Models: []pipeline.ModelInfo{{Model: "small:q4_1", Blocks: 2, Coverage: []int{1, 0}, Missing: []string{"1:2"}, Nodes: 1}},
		Nodes:  []pipeline.NodeInfo{{Peer: "12D3A", Name: "brave-otter", Model: "small:q4_1", Blocks: "0:1", State: inference.StateServing}},
	}
}

func TestModelListServesBothFamiliesOfClients(t *testing.T) {
	url := server(t, Config{Models: []Model{&fake{}, &fake{id: "other"}}})
	var l map[string]any
	if err := json.Unmarshal([]byte(do(t, "GET", url+"/v1/models", "").body), &l); err != nil {
		t.Fatal(err)
	}
	if l["object"] != "list" || l["has_more"] != false || l["first_id"] != "small:q4_1" || l["last_id"] != "other" {
		t.Errorf("list %v", l)
	}
	for _, m := range l["data"].([]any) {
		for _, key := range []string{"id", "object", "created", "owned_by", "type", "display_name", "created_at"} {
			if m.(map[string]any)[key] == nil {
				t.Errorf("%v lacks %s", m, key)
			}
		}
	}
	if r := do(t, "GET", server(t, Config{Models: []Model{}})+"/v1/models", ""); !strings.Contains(r.body, `"data":[],"has_more":false,"first_id":null`) {
		t.Error(r.body)
	}
}

func TestNoNetworkIsA404(t *testing.T) {
	if r := do(t, "GET", server(t, Config{})+"/v1/network", ""); r.status != 404 {
		t.Error(r)
	}
}

// serve runs Serve and returns its address, the function that ends it, and
// what it returned.
func serve(t *testing.T, cfg Config) (addr string, stop func(), ended <-chan error) {
	t.Helper()
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	return l.Addr().String(), cancel, done
}

func TestServeLetsRunningRequestsFinish(t *testing.T) {
	asked, release := make(chan struct{}), make(chan struct{})
	m := &fake{generate: func(ctx context.Context, r pipeline.Request, yield func(pipeline.Delta, error) bool) {
		close(asked)
		<-release
		say("done")(ctx, r, yield)
	}}
	addr, stop, ended := serve(t, Config{Models: []Model{m}})
	answer := make(chan reply, 1)
	go func() { answer <- do(t, "POST", "http://"+addr+"/v1/chat/completions", chatBody) }()
	within(t, "the request", asked)
	stop()
	time.Sleep(20 * time.Millisecond)
	close(release)
	if r := <-answer; r.status != 200 || !strings.Contains(r.body, "done") {
		t.Error(r)
	}
	http.DefaultClient.CloseIdleConnections()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestServeCancelsWhatOutlivesTheGracePeriod(t *testing.T) {
	asked := make(chan struct{})
	m := &fake{generate: func(ctx context.Context, _ pipeline.Request, yield func(pipeline.Delta, error) bool) {
		yield(pipeline.Delta{Text: "a"}, nil)
		close(asked)
		<-ctx.Done()
		yield(pipeline.Delta{}, ctx.Err())
	}}
	addr, stop, ended := serve(t, Config{Models: []Model{m}, Grace: 20 * time.Millisecond})
	answer := make(chan reply, 1)
	go func() { answer <- do(t, "POST", "http://"+addr+"/v1/chat/completions", streaming(chatBody)) }()
	within(t, "the request", asked)
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if r := <-answer; !strings.Contains(r.body, `"code":"server_is_overloaded"`) || strings.Contains(r.body, "[DONE]") {
		t.Error(r.body)
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestServeReturnsWhenTheListenerFails(t *testing.T) {
	s, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if err := s.Serve(t.Context(), l); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}

func TestHeadersAreBounded(t *testing.T) {
	addr, stop, ended := serve(t, Config{HeaderTimeout: 50 * time.Millisecond})
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: localhost\r\nX: "+strings.Repeat("x", 40<<10)+"\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	b, _ := io.ReadAll(c)
	if !strings.HasPrefix(string(b), "HTTP/1.1 431") {
		t.Errorf("%.60s", b)
	}
	slow, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	if _, err := io.WriteString(slow, "GET / HTTP/1.1\r\nHost: loc"); err != nil {
		t.Fatal(err)
	}
	_ = slow.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.ReadAll(slow); err != nil {
		t.Errorf("headers that do not end are waited for: %v", err)
	}
	stop()
	<-ended
}

func TestConfigNamesEveryFault(t *testing.T) {
	_, err := New(Config{Models: []Model{&fake{}, &fake{}}, APIKeys: []string{" "}, MaxBody: -1, MaxPrice: -1})
	if !errors.Is(err, inference.ErrInvalid) {
		t.Fatal(err)
	}
	for _, want := range []string{"twice", "API key", "limit", "max price"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v lacks %q", err, want)
		}
	}
}

func TestListeningBeyondThisMachineNeedsAKey(t *testing.T) {
	for addr, ok := range map[string]bool{
		"127.0.0.1:8080": true, "127.8.8.8:0": true, "[::1]:8080": true, "localhost:80": true, "[::ffff:127.0.0.1]:80": true,
		"0.0.0.0:8080": false, ":8080": false, "[::]:8080": false, "192.168.1.4:8080": false, "box.local:80": false, "8080": false,
	} {
		if err := CheckListen(addr, nil); (err == nil) != ok {
			t.Errorf("%s: %v", addr, err)
		}
	}
	if err := CheckListen(":8080", []string{"k"}); err != nil {
		t.Error(err)
	}
	if err := CheckListen(":8080", nil); !errors.Is(err, ErrOpenBind) {
		t.Error(err)
	}
}
