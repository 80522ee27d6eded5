package stage_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/pipeline/wire"
)

// bad sends a step that was changed by hand and returns the Fail.
func bad(t *testing.T, code wire.Code, change func(f *wire.Frame, m *wire.Step)) {
	t.Helper()
	run(t, func(r *rig) {
		n := r.node("n", all, nil)
		rt := r.client.session([]*node{n})
		rt.open()
		f := rt.ids(tokens(1, 4), row(0, 0, 4, wire.WantLast))
		change(f, f.Message.(*wire.Step))
		rt.send(f)
		rt.wantFail(code)
		rt.change = func(m *wire.Open) { m.Keep = true }
		rt.open() // another epoch mends everything
		rt.step(tokens(1, 1), row(0, 0, 1, wire.WantLast))
		rt.close()
	})
}

func TestStepsThatBreakTheRules(t *testing.T) {
	bad(t, wire.CodeForbidden, func(_ *wire.Frame, m *wire.Step) { m.Cap[3]++ })
	bad(t, wire.CodeBadRequest, func(_ *wire.Frame, m *wire.Step) { m.Hop = 1 })
	bad(t, wire.CodeBadRequest, func(_ *wire.Frame, m *wire.Step) { m.Seq = 0 })
	bad(t, wire.CodeBadRequest, func(_ *wire.Frame, m *wire.Step) { m.Seq = 1000 })
	bad(t, wire.CodeBadRequest, func(_ *wire.Frame, m *wire.Step) { m.Rows[0].N = 5 })
	bad(t, wire.CodeBadRequest, func(_ *wire.Frame, m *wire.Step) { m.Payload = wire.PayloadHidden })
	bad(t, wire.CodeBadRequest, func(_ *wire.Frame, m *wire.Step) { m.Payload = wire.PayloadLogits })
	bad(t, wire.CodeBadRequest, func(_ *wire.Frame, m *wire.Step) { m.Payload = wire.PayloadNone })
	bad(t, wire.CodeBadRequest, func(_ *wire.Frame, m *wire.Step) { m.Rows[0].Start = 1 })
	bad(t, wire.CodeBadRequest, func(_ *wire.Frame, m *wire.Step) { m.Rows[0].Branch = 1 })
	bad(t, wire.CodeBadRequest, func(_ *wire.Frame, m *wire.Step) { m.Rows[0].Line = inference.LineCached })
	bad(t, wire.CodeBadRequest, func(_ *wire.Frame, m *wire.Step) {
		m.Rows = []wire.Row{row(0, 0, 2, 0), row(0, 2, 2, 0)}
	})
	bad(t, wire.CodeBadRequest, func(_ *wire.Frame, m *wire.Step) { m.Ops = []wire.BranchOp{{From: 3, To: 4}} })
	bad(t, wire.CodeBadRequest, func(_ *wire.Frame, m *wire.Step) { m.Ops = []wire.BranchOp{{From: 0, To: 0}} })
	bad(t, wire.CodeBadRequest, func(_ *wire.Frame, m *wire.Step) { m.Ops = []wire.BranchOp{{From: 0, At: 1, To: 1}} })
	bad(t, wire.CodeBadRequest, func(_ *wire.Frame, m *wire.Step) { m.Ops = []wire.BranchOp{{Drop: true, From: 9}} })
	bad(t, wire.CodeLimit, func(_ *wire.Frame, m *wire.Step) {
		for i := range uint32(8) {
			m.Ops = append(m.Ops, wire.BranchOp{To: i + 1})
		}
	})
	bad(t, wire.CodeLimit, func(_ *wire.Frame, m *wire.Step) { m.Rows[0].Start = 2045 })
	bad(t, wire.CodeBadRequest, func(f *wire.Frame, _ *wire.Step) { f.Payload.Data[3] = 0x7f }) // no such token
}

func TestOnlyThePeersOfASessionMaySpeakToIt(t *testing.T) {
	run(t, func(r *rig) {
		n := r.node("n", all, nil)
		rt := r.client.session([]*node{n})
		rt.open()
		thief := r.another("thief")
		f := rt.ids(tokens(1, 1), row(0, 0, 1, wire.WantLast)) // even with the capability
		thief.mux.Send("n", f)
		thief.send("n", &wire.Close{Session: rt.id})
		thief.send("n", &wire.Voucher{Session: rt.id})
		open := rt.opens()[0]
		rt.epoch--
		thief.send("n", open)
		nap(time.Second)
		if len(thief.fails) != 4 {
			t.Errorf("%v", thief.failed())
		}
		for _, f := range thief.fails {
			if f.Code != wire.CodeForbidden {
				t.Errorf("%v", f)
			}
		}
		rt.in[0] = wire.Capability{1, 0, rt.id[0]}
		rt.seq = 0
		rt.step(tokens(1, 1), row(0, 0, 1, wire.WantLast))
		rt.close()
	})
}

// TestNeighbourMayOnlyPassWorkOn has the next hop of a session say what is the
// client's to say.
func TestNeighbourMayOnlyPassWorkOn(t *testing.T) {
	paid(t, func(r *rig, n *node, b *books) {
		rt := r.client.session([]*node{n})
		rt.change = func(m *wire.Open) { m.Hops, m.Next, m.Relay, m.Voucher = 2, "next", true, voucher(60) }
		rt.open()
		next := r.another("next")
		next.send("n", &wire.Voucher{Session: rt.id, Voucher: *voucher(1000)})
		next.send("n", &wire.Probe{Session: rt.id, Nonce: 9})
		next.send("n", &wire.Close{Session: rt.id, Outcome: inference.OutcomeOK})
		nap(time.Second)
		if l := n.Load(); l.Sessions != 1 || b.accounts[rt.id].closed {
			t.Errorf("the next hop has ended the session: %+v", l)
		}
		if v := b.accounts[rt.id].voucher; v != 60 {
			t.Errorf("a voucher of the next hop counts: %d wei", v)
		}
		for _, p := range r.client.progress {
			if p.Nonce == 9 {
				t.Error("the client got the answer to a question of the next hop")
			}
		}
		rt.close()
	})
}

// TestFailComesAfterWhatWasSent: the failure is within the time for which news
// of what was sent before it would have waited.
func TestFailComesAfterWhatWasSent(t *testing.T) {
	run(t, func(r *rig) {
		n := r.node("n", all, nil)
		rt := r.client.session([]*node{n})
		rt.open()
		rt.send(rt.ids(tokens(1, 4), row(0, 0, 4, wire.WantLast)))
		rt.send(rt.ids(tokens(1, 4), row(7, 0, 4, wire.WantLast))) // no such branch
		rt.wantFail(wire.CodeBadRequest)
		if p := r.client.progress[len(r.client.progress)-1]; p.Sent != 1 {
			t.Errorf("the last the client heard: %+v, want step 1 sent", p)
		}
		rt.close()
	})
}

func TestFramesOfAnOlderEpochChangeNothing(t *testing.T) {
	ids := tokens(1, 30)
	want := expect(t, inference.WireBF16, ids)
	run(t, func(r *rig) {
		l := r.ring(blocks(0, 3), blocks(3, 6))
		rt := r.client.session(l)
		first := rt.opens()
		for i, m := range first {
			r.client.send(rt.peers[i], m)
		}
		nap(time.Second)
		rt.step(ids[:10], row(0, 0, 10, wire.WantNone))
		stale := rt.ids(tokens(9, 10), row(0, 0, 10, wire.WantLast))
		rt.change = func(m *wire.Open) { m.Keep = true }
		opened := rt.open()
		if opened[0].Branches[0].Length != 10 || opened[1].Branches[0].Length != 10 {
			t.Errorf("kept %v and %v", opened[0].Branches, opened[1].Branches)
		}
		r.client.mux.Send("node-0", stale)
		for i, m := range first {
			r.client.send(rt.peers[i], m) // an Open that was late
		}
		nap(time.Second)
		same(t, "after late frames", rt.step(ids[10:], row(0, 10, 20, wire.WantAll)), rows(want, 10, 30))
		if len(r.client.fails) != 0 {
			t.Errorf("fails: %v", r.client.failed())
		}
		rt.close()
	})
}

// A new epoch that comes while a pass runs waits for it; what the pass made is
// not sent.
func TestStepOfAnOlderEpochInsideAPassIsNotSent(t *testing.T) {
	ids := tokens(1, 30)
	want := expect(t, inference.WireBF16, ids)
	run(t, func(r *rig) {
		n := r.node("n", all, nil)
		rt := r.client.session([]*node{n})
		rt.open()
		release := hold(n)
		rt.send(rt.ids(ids[:10], row(0, 0, 10, wire.WantAll)))
		rt.send(rt.ids(ids[10:11], row(0, 10, 1, wire.WantAll)))
		synctest.Wait()
		rt.change = func(m *wire.Open) { m.Keep = true }
		for range 3 { // and another, and another
			r.client.send("n", rt.opens()[0])
		}
		nap(time.Second)
		if len(r.client.opened) != 1 {
			t.Errorf("%d answers while the pass ran", len(r.client.opened))
		}
		release()
		nap(time.Second)
		if len(r.client.opened) != 2 || r.client.opened[1].Epoch != 4 || r.client.opened[1].Branches[0].Length != 10 {
			t.Errorf("answers: %+v", r.client.opened)
		}
		if len(r.client.outputs) != 0 {
			t.Errorf("outputs of a dead epoch: %v", r.client.outputs)
		}
		same(t, "next epoch", rt.step(ids[5:], row(0, 5, 25, wire.WantAll)), rows(want, 5, 30))
		rt.close()
	})
}

func TestCloseInsideAPassFreesEverythingAfterIt(t *testing.T) {
	run(t, func(r *rig) {
		n := r.node("n", all, nil)
		rt := r.client.session([]*node{n})
		rt.open()
		release := hold(n)
		rt.send(rt.ids(tokens(1, 100), row(0, 0, 100, wire.WantAll)))
		synctest.Wait()
		rt.close()
		if n.cache.FreePages() == n.cache.TotalPages() {
			t.Error("pages were freed under a running pass")
		}
		release()
		nap(time.Second)
		if n.cache.FreePages() != n.cache.TotalPages() || n.Live() != 0 || len(r.client.outputs) != 0 {
			t.Errorf("after the pass: %d pages used, %d bytes", n.cache.TotalPages()-n.cache.FreePages(), n.Live())
		}
		rt.send(rt.ids(tokens(1, 1), row(0, 0, 1, wire.WantAll)))
		rt.wantFail(wire.CodeNoSession)
	})
}

// Steps that overtake one another on the two streams are put in order.
func TestStepsAreTakenInOrder(t *testing.T) {
	ids := tokens(1, 20)
	want := expect(t, inference.WireBF16, ids)
	run(t, func(r *rig) {
		n := r.node("n", all, nil)
		rt := r.client.session([]*node{n})
		rt.open()
		var frames []*wire.Frame
		for at := range 20 {
			frames = append(frames, rt.ids(ids[at:at+1], row(0, at, 1, wire.WantLast)))
		}
		for i := range frames {
			rt.send(frames[(i*7+3)%20])
		}
		for at := range 20 {
			same(t, "in order", rt.wait(uint64(at+1)), rows(want, at, at+1))
		}
		rt.close()
	})
}

func TestDuplicatesAreKnownByTheirContent(t *testing.T) {
	run(t, func(r *rig) {
		n := r.node("n", all, nil)
		rt := r.client.session([]*node{n})
		rt.open()
		again := func(first int) *wire.Frame {
			rt.seq = 0
			return rt.ids(tokens(first, 5), row(0, 0, 5, wire.WantLast))
		}
		for range 50 {
			rt.send(again(1))
		}
		rt.wait(1)
		nap(time.Second)
		rt.send(again(1))
		nap(time.Second)
		if len(n.span.steps) != 1 || len(r.client.fails) != 0 {
			t.Errorf("%d steps done, fails %v", len(n.span.steps), r.client.failed())
		}
		rt.send(again(2))
		rt.wantFail(wire.CodeBadRequest)
		rt.close()
	})
}

// A client that returns no credit gets a window's worth and no more; a session
// beside it, on the same streams, does not notice.
