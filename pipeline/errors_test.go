package pipeline

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/pipeline/route"
	"github.com/farlabs/inference/pipeline/wire"
)

func TestErrorsReadAsAPath(t *testing.T) {
	cause := errors.New("deadline exceeded")
	he := &HopError{Hop: 1, Peer: "12D3KooWAbCdEfGh", Blocks: inference.BlockRange{Start: 8, End: 16}, Kind: FailStalled, Err: cause}
	if got := he.Error(); got != "hop 2 blocks 8:16 peer …CdEfGh: stalled: deadline exceeded" {
		t.Error(got)
	}
	if !errors.Is(he, cause) {
		t.Error("the cause is lost")
	}
	b := busy(&HopError{Kind: FailBusy, Err: cause, retryAfter: 7 * time.Second})
	var be *BusyError
	if !errors.Is(b, ErrBusy) || !errors.As(b, &be) || be.RetryAfter != 7*time.Second || !errors.Is(b, cause) {
		t.Errorf("%v", b)
	}
}

func TestEveryCodeHasAKindOfFailure(t *testing.T) {
	for c := wire.CodeInternal; !strings.HasPrefix(c.String(), "code "); c++ {
		k := kindOf(c)
		if strings.HasPrefix(k.String(), "failure ") {
			t.Errorf("%s: %s", c, k)
		}
		if !c.Retryable() && k != FailRefused && k != FailGone {
			t.Errorf("%s is final, but the hop counts as %s", c, k)
		}
	}
}

func TestRouteShowsItsEdges(t *testing.T) {
	s := newTestSession(t, SessionOptions{})
	for i, name := range []string{"x", "", "z"} {
		h := &hop{Hop: route.Hop{Blocks: inference.BlockRange{Start: i, End: i + 1}}, direct: i == 0}
		h.Offer.Record.Peer, h.Offer.Record.Name = inference.PeerID("p"+name), name
		s.hops = append(s.hops, h)
	}
	s.epoch = 2
	s.timings = []wire.HopTime{{Arrived: 1000, Wait: 10, Compute: 20}, {Arrived: 1035, Wait: 5, Compute: 7}, {Arrived: 1050}}
	r := s.Route()
	if got := r.String(); got != "x px 0:1 → p 1:2 ⇢ z pz 2:3" {
		t.Error(got)
	}
	if h := r.Hops[1]; h.Wait != 5*time.Microsecond || h.Compute != 7*time.Microsecond || h.Gap != 10*time.Microsecond || h.Direct {
		t.Errorf("%+v", h)
	}
	if !r.Hops[2].Direct || r.Hops[0].Gap != 0 {
		t.Errorf("%+v", r)
	}
}
