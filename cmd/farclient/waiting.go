package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/pipeline"
	"github.com/farlabs/inference/pipeline/route"
)

// quiet is how long a session may wait for a route before people are told.
const quiet = 2 * time.Second

// waiting tells people what an answer waits for: once when that has lasted for
// quiet, and again when it becomes something else. It is for one session at a
// time. Safe for concurrent use.
type waiting struct {
	w     io.Writer
	model string
	lost  func() error // why no node is connected; nil: one is. Set before the first session

	mu      sync.Mutex
	session inference.SessionID
	since   time.Time // the session has no route; zero: it has one
	told    string
}

func (w *waiting) events() pipeline.Events {
	return pipeline.Events{
		Waiting: w.wait,
		Routed:  func(inference.SessionID, pipeline.RouteInfo) { w.routed() },
	}
}

func (w *waiting) routed() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.since, w.told = time.Time{}, ""
}

// wait is called again and again, every half second at least, while there is
// no route.
func (w *waiting) wait(session inference.SessionID, why error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	if w.since.IsZero() || w.session != session {
		w.session, w.since, w.told = session, now, ""
	}
	// That nobody is there was found out when the client joined.
	text, least := "", time.Duration(0)
	if err := w.lost(); err != nil {
		text = fmt.Sprintf("Waiting: %v.", err)
	} else {
		text, least = w.text(why), quiet
	}
	if now.Sub(w.since) < least || text == w.told {
		return
	}
	w.told = text
	fmt.Fprintln(w.w, text)
}

func (w *waiting) text(why error) string {
	var none *route.NoRouteError
	switch {
	case errors.Is(why, pipeline.ErrBusy):
		return "Waiting: the nodes that serve " + w.model + " are busy."
	case !errors.As(why, &none) || len(none.Missing) == 0:
		return fmt.Sprintf("Waiting for a route over %s: %v.", w.model, why)
	}
	blocks := make([]string, len(none.Missing))
	for i, b := range none.Missing {
		blocks[i] = b.String()
	}
	return fmt.Sprintf("Waiting for blocks %s of %s: no node that answers serves them. `farclient network` shows who serves what.",
		strings.Join(blocks, ", "), w.model)
}
