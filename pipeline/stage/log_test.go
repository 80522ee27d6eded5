package stage_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/farlabs/inference/pipeline/stage"
	"github.com/farlabs/inference/pipeline/wire"
)

// lines keeps what a logger in JSON writes.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// of returns the lines with a message.
func (l *lines) of(t *testing.T, msg string) (all []map[string]any) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range bytes.Lines(l.b.Bytes()) {
		var m map[string]any
		if err := json.Unmarshal(line, &m); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if m["msg"] == msg {
			all = append(all, m)
		}
	}
	return all
}

func TestLogHasALineForTheBeginningAndTheEndOfASession(t *testing.T) {
	run(t, func(r *rig) {
		l := &lines{}
		n := r.node("n", all, func(c *stage.Config) {
			c.Log = slog.New(slog.NewJSONHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
		})
		rt := r.client.session([]*node{n})
		rt.open()
		rt.step(tokens(1, 20), row(0, 0, 20, wire.WantLast))
		rt.change = func(m *wire.Open) { m.Keep = true }
		rt.open() // another epoch is no other session
		nap(2 * time.Second)
		rt.send(rt.ids(tokens(1, 1), row(0, 30, 1, wire.WantLast))) // beyond the branch
		rt.wantFail(wire.CodeBadRequest)
		rt.close()
		opened, failed, ended := l.of(t, "session opened"), l.of(t, "session failed"), l.of(t, "session ended")
		if len(opened) != 1 || len(failed) != 1 || len(ended) != 1 {
			t.Fatalf("%d opened, %d failed, %d ended", len(opened), len(failed), len(ended))
		}
		o, e := opened[0], ended[0]
		if o["session"] != rt.id.String() || o["peer"] != "client" || o["blocks"] != all.String() || o["class"] == "" {
			t.Errorf("opened: %v", o)
		}
		if failed[0]["code"] != wire.CodeBadRequest.String() {
			t.Errorf("failed: %v", failed[0])
		}
		if ms, _ := e["ms"].(float64); e["session"] != rt.id.String() || e["outcome"] != "ok" || e["positions"] != 20.0 || e["units"] != 120.0 || ms < 2000 {
			t.Errorf("ended: %v", e)
		}
		for _, m := range []map[string]any{o, e} {
			if len(m) > 8 { // time, level, msg and five of its own
				t.Errorf("says more than it should: %v", m)
			}
		}
	})
}
