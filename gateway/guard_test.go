package gateway

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/farlabs/inference/pipeline"
)

func TestOnlyAllowedHostsAreServed(t *testing.T) {
	s, err := New(Config{Hosts: []string{"gate.example", "192.168.1.4", "[fd00::4]"}})
	if err != nil {
		t.Fatal(err)
	}
	for host, ok := range map[string]bool{
		"localhost": true, "LOCALHOST:8080": true, "localhost.": true, "127.0.0.1:1": true, "127.0.0.2": true, "[::1]:8080": true, "[::1]": true,
		"gate.example": true, "Gate.Example:443": true, "192.168.1.4:80": true, "[fd00::4]:80": true,
		"": false, ":80": false, "evil.example": false, "evil.example:8080": false, "localhost.evil.example": false, "notlocalhost": false,
		"127.0.0.1.evil.example": false, "192.168.1.5": false, "0.0.0.0": false, "gate.example.evil": false, "@localhost": false, "127.1": false,
	} {
		for _, path := range []string{"/", "/health", "/v1/models"} {
			r := httptest.NewRequest("GET", path, nil)
			r.Host = host
			w := httptest.NewRecorder()
			s.Handler().ServeHTTP(w, r)
			if (w.Code == 200) != ok || !ok && w.Code != 403 {
				t.Errorf("%q %s: %d", host, path, w.Code)
			}
		}
	}
}

func TestNoHostIsNeverAllowed(t *testing.T) {
	s, err := New(Config{Hosts: []string{"*"}})
	if err != nil {
		t.Fatal(err)
	}
	for host, status := range map[string]int{"": 403, ":80": 403, "any.example": 200} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Host = host
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		if w.Code != status {
			t.Errorf("%q: %d", host, w.Code)
		}
	}
}

func TestPagesOfOtherOriginsAreRefused(t *testing.T) {
	url := server(t, Config{Hosts: []string{"gate.example", "*"}, Origins: []string{"https://chat.example"}})
	for origin, ok := range map[string]bool{
		"http://localhost:3000": true, "http://127.0.0.1": true, "https://[::1]:9": true, "https://gate.example": true, "https://chat.example": true,
		"https://evil.example": false, "null": false, "https://chat.example.evil": false, "file://": false, "http://chat.example": false,
		"chrome-extension://localhost": false,
	} {
		r := do(t, "POST", url+"/v1/chat/completions", chatBody, "Origin", origin)
		if (r.status == 200) != ok || !ok && r.status != 403 {
			t.Errorf("%s: %d", origin, r.status)
		}
		got := r.header.Get("Access-Control-Allow-Origin")
		if ok && (got != origin || r.header.Get("Vary") != "Origin") || !ok && got != "" {
			t.Errorf("%s: allow-origin %q", origin, got)
		}
		if r.header.Get("Access-Control-Allow-Credentials") != "" {
			t.Error("credentials are allowed")
		}
	}
}

func TestPreflightAllowsWhatClientsSend(t *testing.T) {
	url := server(t, Config{APIKeys: []string{"key"}})
	r := do(t, "OPTIONS", url+"/v1/chat/completions", "", "Origin", "http://localhost:3000",
		"Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "authorization, X-Stainless-OS,openai-organization,x-evil, content-type,x-farlabs-route")
	if r.status != 204 || r.header.Get("Access-Control-Allow-Headers") != "authorization, x-stainless-os, openai-organization, content-type, x-farlabs-route" {
		t.Error(r.status, r.header)
	}
	if !strings.Contains(r.header.Get("Access-Control-Allow-Methods"), "POST") {
		t.Error(r.header)
	}
}

func TestKeysOpenEverythingButTheOpenPages(t *testing.T) {
	url := server(t, Config{APIKeys: []string{"first", "second"}})
	for _, c := range []struct {
		headers []string
		ok      bool
	}{
		{nil, false},
		{[]string{"Authorization", "Bearer second"}, true},
		{[]string{"Authorization", "bearer first"}, true},
		{[]string{"x-api-key", "first"}, true},
		{[]string{"Authorization", "Bearer third"}, false},
		{[]string{"Authorization", "Basic first"}, false},
		{[]string{"Authorization", "first"}, false},
		{[]string{"Authorization", "Bearer "}, false},
		{[]string{"x-api-key", ""}, false},
	} {
		for _, path := range []string{"/v1/models", "/v1/chat/completions", "/nothing", "/network"} {
			r := do(t, "GET", url+path, "", c.headers...)
			if (r.status == 401) == c.ok {
				t.Errorf("%v %s: %d", c.headers, path, r.status)
			}
			if r.status == 401 && !strings.Contains(r.body, `"code":"invalid_api_key"`) {
				t.Error(r.body)
			}
		}
		for _, path := range []string{"/", "/health", "/v1/health"} {
			if r := do(t, "GET", url+path, "", c.headers...); r.status != 200 {
				t.Errorf("%s: %d", path, r.status)
			}
		}
	}
}

// Neither request nor answer, in whatever way a request ends, leaves a word in
// the log.
func TestNothingThatWasSaidIsLogged(t *testing.T) {
	const canary = "canary-7c1f"
	var l logs
	scripts := map[string]script{
		"ok":    say(canary),
		"fails": fails("", errors.New("hop: "+canary)),
		"late":  fails(canary, errors.New("hop: "+canary)),
		"hop":   fails("", &pipeline.HopError{Peer: "12D3A", Kind: pipeline.FailFaulty, Err: errors.New(canary)}),
		"bad":   fails("", errors.Join(pipeline.ErrInvalidRequest, errors.New(canary))),
		"panic": func(context.Context, pipeline.Request, func(pipeline.Delta, error) bool) { panic(canary) },
	}
	m := &fake{generate: func(ctx context.Context, r pipeline.Request, yield func(pipeline.Delta, error) bool) {
		scripts[r.Stop[0]](ctx, r, yield)
	}}
	url := server(t, Config{Models: []Model{m}, Log: l.logger(), APIKeys: []string{"key-" + canary}})
	key := []string{"x-api-key", "key-" + canary}
	for name := range scripts {
		for _, body := range []string{
			`{"model":"small","messages":[{"role":"user","content":"` + canary + `"}],"stop":"` + name + `","user":"` + canary + `"}`,
			`{"model":"small","prompt":"` + canary + `","stop":"` + name + `"}`,
			`{"model":"small","prompt":"panic` + canary + `","return_token_ids":true}`,
			`{"model":"small","prompt":"` + canary + `","suffix":"` + canary + `"}`,
			`{"model":"` + canary + `","messages":[{"role":"user","content":"` + canary + `"}]}`,
			`{"model":"small","messages":[{"role":"` + canary + `","content":"x"}]}`,
			`{"` + canary,
		} {
			path := "/v1/chat/completions"
			if strings.Contains(body, "prompt") {
				path = "/v1/completions"
			}
			do(t, "POST", url+path+"?q="+canary, body, key...)
			do(t, "POST", url+path, streaming(body), key...)
		}
	}
	do(t, "GET", url+"/"+canary, "", key...)
	do(t, "GET", url+"/v1/models/"+canary, "", key...)
	do(t, "GET", url+"/v1/models", "", "Origin", "http://"+canary, "User-Agent", canary)
	do(t, "GET", url+"/", "", "Host", canary)
	if s := l.String(); strings.Contains(s, canary) {
		t.Errorf("the log has the canary:\n%s", s)
	} else if !strings.Contains(s, "peer=12D3A") || !strings.Contains(s, "panic") || !strings.Contains(s, "completion_tokens=") {
		t.Errorf("the log lacks what an operator needs:\n%s", s)
	}
}

// Whether the model panics in its own time or while the request is read.
func TestPanicOfAModelIsAnError(t *testing.T) {
	m := &fake{generate: func(context.Context, pipeline.Request, func(pipeline.Delta, error) bool) { panic("boom") }}
	url := server(t, Config{Models: []Model{m}})
	if r := do(t, "POST", url+"/v1/chat/completions", chatBody); r.status != 500 || strings.Contains(r.body, "boom") {
		t.Error(r)
	}
	if r := do(t, "POST", url+"/v1/completions", `{"model":"small","prompt":"panic","return_token_ids":true}`); r.status != 500 || !strings.Contains(r.body, `"type":"server_error"`) {
		t.Error(r)
	}
	if r := do(t, "GET", url+"/health", ""); r.status != http.StatusOK {
		t.Error(r)
	}
}
