package gateway

import (
	"errors"
	"net/http"
	"time"

	"github.com/farlabs/inference/gateway/openai"
)

// sender writes server-sent events.
type sender struct {
	w     http.ResponseWriter
	rc    *http.ResponseController
	begun bool
}

func (s *sender) send(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	if !s.begun {
		s.begun = true
		h := s.w.Header()
		h.Set("Content-Type", "text/event-stream; charset=utf-8")
		h.Set("Cache-Control", "no-cache")
		h.Set("X-Accel-Buffering", "no")
	}
	if _, err := s.w.Write(b); err != nil {
		return err
	}
	if err := s.rc.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}

// stream sends an answer as it comes. The status is sent with the first event:
// what fails before it gets a status of its own.
func (s *Server) stream(w http.ResponseWriter, g *generation, a *openai.Stream) {
	out := &sender{w: w, rc: http.NewResponseController(w)}
	silence := time.NewTimer(s.cfg.KeepAlive)
	defer silence.Stop()
	defer func() {
		prompt, completion := a.Usage()
		note(w, "prompt_tokens", prompt, "completion_tokens", completion)
	}()
	for {
		var b []byte
		select {
		case d, ok := <-g.deltas:
			if !ok {
				s.finish(w, out, g, a)
				return
			}
			b = a.Delta(d.prompt, d.Delta)
		case <-silence.C:
			b = a.KeepAlive()
			silence.Reset(s.cfg.KeepAlive)
		}
		if len(b) == 0 {
			continue
		}
		if err := out.send(b); err != nil {
			note(w, "cut", true) // the caller cancels the sessions
			return
		}
		silence.Reset(s.cfg.KeepAlive)
	}
}

// finish sends the end of a stream, or the error that it ends with.
func (s *Server) finish(w http.ResponseWriter, out *sender, g *generation, a *openai.Stream) {
	switch {
	case g.err == nil:
		_ = out.send(a.End())
	case !out.begun:
		refuse(w, g.err)
	default:
		status, body, _ := answerOf(g.err)
		note(w, append(errorAttrs(g.err), "ended", status)...)
		if status != statusClientGone {
			_ = out.send(a.Fail(body))
		}
	}
}
