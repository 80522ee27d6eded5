package stage_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/model"
	"github.com/farlabs/inference/pipeline/wire"
)

func TestDeadlineEndsASession(t *testing.T) {
	run(t, func(r *rig) {
		n := r.node("n", all, nil)
		rt := r.client.session([]*node{n})
		rt.change = func(m *wire.Open) { m.Deadline = uint64(time.Now().Add(20 * time.Second).UnixMilli()) }
		rt.open()
		start := time.Now()
		rt.wantFail(wire.CodeDeadline)
		if d := time.Since(start); d > 17200*time.Millisecond || d < 16900*time.Millisecond {
			t.Errorf("%v after the open had come", d)
		}
		if n.Load().Sessions != 0 || n.span.closed[0] != inference.OutcomeAbort {
			t.Error("the session is still there")
		}
	})
}

func TestIdleSessionEnds(t *testing.T) {
	run(t, func(r *rig) {
		n := r.node("n", all, nil)
		rt := r.client.session([]*node{n})
		rt.open()
		nap(9 * time.Minute)
		rt.step(tokens(1, 1), row(0, 0, 1, wire.WantNone))
		nap(9 * time.Minute)
		if n.Load().Sessions != 1 {
			t.Fatal("gone too early")
		}
		nap(2 * time.Minute)
		if n.Load().Sessions != 0 {
			t.Error("still there")
		}
	})
}

func TestSessionOutlivesItsClientsConnectionForAWhile(t *testing.T) {
	ids := tokens(1, 20)
	want := expect(t, inference.WireBF16, ids)
	run(t, func(r *rig) {
		n := r.node("n", all, nil)
		rt := r.client.session([]*node{n})
		rt.open()
		rt.step(ids[:10], row(0, 0, 10, wire.WantNone))
		r.net.Break("client", "n")
		nap(8 * time.Second)
		same(t, "after reconnecting", rt.step(ids[10:], row(0, 10, 10, wire.WantAll)), rows(want, 10, 20))
		nap(20 * time.Second)
		if n.Load().Sessions != 1 {
			t.Error("dropped though the client came back")
		}
		r.net.Cut("client", "n")
		nap(11 * time.Second)
		if n.Load().Sessions != 0 || n.span.closed[0] != inference.OutcomeAbort {
			t.Error("kept though the client is gone")
		}
	})
}

func TestWhatWaitsGoesOnWithAnyWordOfTheClient(t *testing.T) {
	run(t, func(r *rig) {
		n := r.node("n", all, nil)
		rt := r.client.session([]*node{n})
		rt.open()
		release := hold(n)
		for range 2 {
			rt.send(rt.ids(tokens(1, 1), row(0, int(rt.seq), 1, wire.WantNone)))
		}
		nap(time.Second)
		r.net.Break("client", "n")
		nap(time.Second)
		release()
		nap(time.Second)
		if _, ok := rt.output(2); ok {
			t.Error("computed for a client that is gone")
		}
		r.client.send("n", &wire.Probe{Session: rt.id, Nonce: 1})
		rt.wait(2)
		rt.close()
	})
}

func TestLostNextHopIsReportedAndTheSessionGoesOn(t *testing.T) {
	ids := tokens(1, 20)
	want := expect(t, inference.WireBF16, ids)
	run(t, func(r *rig) {
		l := r.ring(blocks(0, 3), blocks(3, 6))
		spare := r.node("spare", blocks(2, 6), nil)
		rt := r.client.session(l)
		rt.open()
		rt.step(ids[:10], row(0, 0, 10, wire.WantNone))
		r.net.Kill("node-1")
		f := rt.wantFail(wire.CodeNextHop)
		if f.Hop != 1 {
			t.Errorf("hop %d is blamed", f.Hop)
		}
		if !f.Code.Retryable() {
			t.Error("not retryable")
		}
		rt.reroute([]*node{l[0], spare}, blocks(0, 3), blocks(3, 6))
		rt.change = func(m *wire.Open) { m.Keep = m.Hop == 0 }
		if o := rt.open(); o[0].Branches[0].Length != 10 || !o[0].Direct {
			t.Errorf("%+v", o[0])
		}
		same(t, "over the spare", rt.step(ids, row(0, 0, 20, wire.WantAll)), want)
		rt.close()
	})
}

func TestPanicInAPassIsNoOnesEnd(t *testing.T) {
	for _, how := range []string{"panic", "error"} {
		run(t, func(r *rig) {
			n := r.node("n", all, nil)
			a, b := r.client.session([]*node{n}), r.client.session([]*node{n})
			a.open()
			b.open()
			ids := tokens(1, 20)
			want := expect(t, inference.WireBF16, ids)
			a.step(ids[:10], row(0, 0, 10, wire.WantNone))
			release := hold(n)
			c := r.another("third").session([]*node{n})
			c.open()
			c.send(c.ids(tokens(3, 1), row(0, 0, 1, wire.WantNone))) // holds the scheduler
			synctest.Wait()
			a.send(a.ids(ids[10:15], row(0, 10, 5, wire.WantAll)))
			b.send(b.ids(tokens(2, 7), row(0, 0, 7, wire.WantAll)))
			synctest.Wait()
			release()
			n.span.hook(func(p model.Pass) error {
				for _, g := range p.Segments {
					if g.N == 7 {
						if how == "panic" {
							panic("a bug")
						}
						return errors.New("a fault")
					}
				}
				return nil
			})
			same(t, "beside the culprit", a.wait(a.seq), rows(want, 10, 15))
			b.wantFail(wire.CodeInternal)
			n.span.hook(nil)
			b.change = func(m *wire.Open) { m.Keep = true }
			b.open()
			b.step(tokens(2, 7), row(0, 0, 7, wire.WantAll))
			same(t, "later", a.step(ids[15:], row(0, 15, 5, wire.WantAll)), rows(want, 15, 20))
			a.close()
			b.close()
			c.close()
		})
	}
}

func TestProgress(t *testing.T) {
	run(t, func(r *rig) {
		n := r.node("n", all, nil)
		rt := r.client.session([]*node{n})
		rt.open()
		release := hold(n)
		rt.send(rt.ids(tokens(1, 5), row(0, 0, 5, wire.WantNone)))
		rt.send(rt.ids(tokens(1, 5), row(0, 5, 5, wire.WantNone)))
		synctest.Wait() // no time has passed
		last := func() *wire.Progress {
			r.client.mu.Lock()
			defer r.client.mu.Unlock()
			return r.client.progress[len(r.client.progress)-1]
		}
		if p := last(); p.Started != 1 || p.Sent != 0 {
			t.Errorf("inside the first step: %+v", p)
		}
		nap(25 * time.Millisecond)
		if p := last(); p.Received != 2 || p.Started != 1 || len(r.client.progress) > 2 {
			t.Errorf("%d reports, the last %+v", len(r.client.progress), p)
		}
		before := len(r.client.progress)
		r.client.send("n", &wire.Probe{Session: rt.id, Nonce: 77})
		synctest.Wait()
		if p := last(); p.Nonce != 77 || p.Received != 2 || p.Started != 1 || p.Sent != 0 || p.Load.Sessions != 1 {
			t.Errorf("probed: %+v", p)
		}
		nap(3500 * time.Millisecond)
		if got := len(r.client.progress) - before; got != 4 { // the probe's, and overdue at 1, 2 and 3 s
			t.Errorf("%d reports of an overdue step", got)
		}
		release()
		nap(time.Second)
		if p := last(); p.Received != 2 || p.Started != 2 || p.Sent != 2 {
			t.Errorf("at the end: %+v", p)
		}
		// A hundred tokens in 100 ms: one report every 20 ms.
		before = len(r.client.progress)
		n.span.hook(func(model.Pass) error { time.Sleep(time.Millisecond); return nil })
		for i := range 100 {
			rt.send(rt.ids(tokens(1, 1), row(0, 10+i, 1, wire.WantNone)))
		}
		nap(time.Second)
		if got := len(r.client.progress) - before; got > 8 {
			t.Errorf("%d reports in 100 ms", got)
		}
		r.client.send("n", &wire.Probe{Session: inference.SessionID{99}, Nonce: 1})
		nap(time.Second)
		if len(r.client.fails) != 1 || r.client.fails[0].Code != wire.CodeNoSession {
			t.Errorf("probe of nothing: %v", r.client.failed())
		}
		r.client.send("n", &wire.LoadQuery{Nonce: 5})
		nap(time.Second)
		if len(r.client.loads) != 1 || r.client.loads[0].Nonce != 5 || r.client.loads[0].Info.Sessions != 1 {
			t.Errorf("load: %+v", r.client.loads)
		}
		rt.close()
	})
}
