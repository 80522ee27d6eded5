package gateway

import (
	"bytes"
	"compress/gzip"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

func zipped(t *testing.T, s string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := io.WriteString(z, s); err != nil {
		t.Fatal(err)
	}
	z.Close()
	return b.String()
}

func TestBodiesAreBoundedAndJSON(t *testing.T) {
	url := server(t, Config{MaxBody: 4096}) + "/v1/chat/completions"
	padded := func(n int) string { return chatBody + strings.Repeat(" ", n-len(chatBody)) }
	for _, c := range []struct {
		name, body string
		headers    []string
		status     int
	}{
		{"plain", chatBody, nil, 200},
		{"charset", chatBody, []string{"Content-Type", "application/json; charset=utf-8"}, 200},
		{"at the limit", padded(4096), nil, 200},
		{"above it", padded(4097), nil, 413},
		{"gzip", zipped(t, chatBody), []string{"Content-Encoding", "gzip"}, 200},
		{"gzip at the limit", zipped(t, padded(4096)), []string{"Content-Encoding", "gzip"}, 200},
		{"gzip above it", zipped(t, padded(4097)), []string{"Content-Encoding", "gzip"}, 413},
		{"gzip bomb", zipped(t, strings.Repeat("[", 1<<20)), []string{"Content-Encoding", "gzip"}, 413},
		{"broken gzip", zipped(t, chatBody)[:40], []string{"Content-Encoding", "gzip"}, 400},
		{"no gzip", chatBody, []string{"Content-Encoding", "gzip"}, 400},
		{"zstd", chatBody, []string{"Content-Encoding", "zstd"}, 415},
		{"text", chatBody, []string{"Content-Type", "text/plain"}, 415},
		{"form", chatBody, []string{"Content-Type", "application/x-www-form-urlencoded"}, 415},
		{"no type", chatBody, []string{"Content-Type", ""}, 415},
		{"deep", `{"a":` + strings.Repeat("[", 1000) + strings.Repeat("]", 1000) + "}", nil, 400},
		{"malformed", `{"model":`, nil, 400},
		{"empty", " ", nil, 400},
	} {
		r := do(t, "POST", url, c.body, c.headers...)
		if r.status != c.status {
			t.Errorf("%s: %d %s, want %d", c.name, r.status, r.body, c.status)
		}
		if r.status != 200 && !strings.Contains(r.body, `"type":"invalid_request_error"`) {
			t.Errorf("%s: %s", c.name, r.body)
		}
	}
}

func TestBodiesThatDoNotArriveAreNotWaitedFor(t *testing.T) {
	url := server(t, Config{BodyTimeout: 50 * time.Millisecond})
	for _, path := range []string{"/v1/chat/completions", "/nothing"} { // read, and not read
		c, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		if _, err := io.WriteString(c, "POST "+path+" HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"); err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(c)
		if err != nil {
			t.Errorf("%s: the connection stays open: %v", path, err)
		}
		if path != "/nothing" && !strings.HasPrefix(string(b), "HTTP/1.1 408") {
			t.Errorf("%s: %.60s", path, b)
		}
	}
}

// The deadline of a body is not one of the answer.
func TestAnswersMayTakeLongerThanBodies(t *testing.T) {
	m := &fake{generate: slowly("abc", 60*time.Millisecond)}
	url := server(t, Config{Models: []Model{m}, BodyTimeout: 50 * time.Millisecond, WriteTimeout: 50 * time.Millisecond})
	for _, body := range []string{chatBody, streaming(chatBody)} {
		if r := do(t, "POST", url+"/v1/chat/completions", body); r.status != 200 || !strings.Contains(r.body, "stop") {
			t.Error(r)
		}
	}
}
