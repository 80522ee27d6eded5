package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/pipeline"
	"github.com/farlabs/inference/pipeline/route"
)

func TestWaitingIsToldAfterAWhileAndWhenItChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		var lost error
		w := &waiting{w: &out, model: "m", lost: func() error { return lost }}
		e := w.events()
		session := inference.SessionID{1}
		missing := func(ranges ...inference.BlockRange) error { return &route.NoRouteError{Missing: ranges} }
		gap, all := inference.BlockRange{Start: 10, End: 20}, inference.BlockRange{Start: 0, End: 30}
		wait := func(d time.Duration, why error) string {
			out.Reset()
			for range d / (500 * time.Millisecond) {
				e.Waiting(session, why)
				time.Sleep(500 * time.Millisecond)
			}
			return out.String()
		}
		if s := wait(quiet, missing(all)); s != "" {
			t.Errorf("said %q at once", s)
		}
		want := "Waiting for blocks 0:30 of m: no node that answers serves them. `farclient network` shows who serves what.\n"
		if s := wait(10*time.Second, missing(all)); s != want {
			t.Errorf("said %q, want %q", s, want)
		}
		if s := wait(10*time.Second, missing(gap, gap)); strings.Count(s, "\n") != 1 || !strings.Contains(s, "blocks 10:20, 10:20 of m") {
			t.Errorf("of another gap it said %q", s)
		}
		if s := wait(time.Second, &pipeline.BusyError{Err: errors.New("full")}); !strings.Contains(s, "busy") {
			t.Errorf("of a busy node it said %q", s)
		}
		e.Routed(session, pipeline.RouteInfo{})
		if s := wait(quiet, missing(gap)); s != "" {
			t.Errorf("after a route it said %q at once", s)
		}
		session = inference.SessionID{2}
		if s := wait(quiet, missing(gap)); s != "" {
			t.Errorf("another session said %q at once", s)
		}
		if s := wait(time.Second, missing(gap)); s == "" {
			t.Error("another session said nothing")
		}
		session, lost = inference.SessionID{3}, errors.New("no node found")
		if s := wait(10*time.Second, missing(all)); s != "Waiting: no node found.\n" {
			t.Errorf("alone it said %q", s)
		}
	})
}

func TestServeSaysThatItStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stop := func(f *serving, lasts time.Duration, ok bool) string {
			var out strings.Builder
			ctx, cancel := context.WithCancel(t.Context())
			stopped := f.farewell(ctx, &out, slowStop)
			cancel()
			time.Sleep(lasts)
			stopped(ok)
			return out.String()
		}
		if s := stop(&serving{}, 0, true); s != "Stopped\n" {
			t.Errorf("at once: %q", s)
		}
		if s := stop(&serving{}, time.Second, true); !strings.HasPrefix(s, "Stopping: answers that run") || !strings.HasSuffix(s, "\nStopped\n") {
			t.Errorf("with an answer that runs: %q", s)
		}
		if s := stop(&serving{}, 0, false); s != "" {
			t.Errorf("after an error: %q", s)
		}
		if s := stop(&serving{json: true}, time.Second, true); s != `{"event":"stopped"}`+"\n" {
			t.Errorf("for programs: %q", s)
		}
	})
}
