package stage_test

import (
	"testing"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/pipeline/wire"
)

// A hop that is stopped and replaced, then wakes with a step in hand, changes
// nothing: neither downstream KV nor the output.
func TestHopThatWakesUpChangesNothing(t *testing.T) {
	ids := tokens(1, 40)
	want := expect(t, inference.WireBF16, ids)
	run(t, func(r *rig) {
		l := r.ring(blocks(0, 2), blocks(2, 4), blocks(4, 6))
		spare := r.node("spare", blocks(2, 4), nil)
		rt := r.client.session(l)
		rt.open()
		rt.step(ids[:20], row(0, 0, 20, wire.WantNone))
		hold(l[1])
		rt.send(rt.ids(tokens(7, 5), row(0, 20, 5, wire.WantAll))) // stands at hop 1
		nap(100 * time.Millisecond)
		r.net.Freeze("node-1")
		nap(time.Second)

		rt.reroute([]*node{l[0], spare, l[2]})
		rt.change = func(m *wire.Open) { m.Keep = m.Hop != 1 }
		rt.open()
		f := rt.ids(ids[:20], wire.Row{N: 20, EmitFrom: 20, Line: inference.LineRecovery})
		f.Message.(*wire.Step).EmitAt, f.Message.(*wire.Step).Fill = 1, true
		rt.send(f)
		rt.wait(1)
		same(t, "rerouted", rt.step(ids[20:30], row(0, 20, 10, wire.WantAll)), rows(want, 20, 30))
		l[1].span.release()
		r.net.Thaw("node-1")
		nap(time.Second)
		same(t, "after it woke", rt.step(ids[30:], row(0, 30, 10, wire.WantAll)), rows(want, 30, 40))
		if len(r.client.fails) != 0 {
			t.Errorf("fails: %v", r.client.failed())
		}
		rt.close()
		r.client.send("node-1", &wire.Close{Session: rt.id, Outcome: inference.OutcomeNodeFault})
		nap(time.Second)
	})
}

// A next hop that stops reading costs the sessions over it their edge, and the
// others nothing.
func TestNextHopThatStopsReadingCostsOnlyItsOwn(t *testing.T) {
	run(t, func(r *rig) {
		l := r.ring(blocks(0, 3), blocks(3, 6))
		spare := r.node("spare", blocks(3, 6), nil)
		bad, good := r.client.session(l), r.client.session([]*node{l[0], spare})
		bad.open()
		good.open()
		bad.step(tokens(1, 1), row(0, 0, 1, wire.WantLast))
		r.net.Freeze("node-1")
		for range 60 {
			bad.send(bad.ids(tokens(1, 30), row(0, 0, 30, wire.WantNone)))
		}
		start := time.Now()
		for i := range 20 {
			good.step(tokens(1, 1), row(0, i, 1, wire.WantLast))
		}
		if took := time.Since(start); took > 300*time.Millisecond {
			t.Errorf("20 steps beside it took %v", took)
		}
		r.net.Thaw("node-1")
		bad.wait(61)
		bad.close()
		good.close()
	})
}

func TestClientThatVanishesWithStepsInFlight(t *testing.T) {
	run(t, func(r *rig) {
		l := r.ring(blocks(0, 3), blocks(3, 6))
		rt := r.client.session(l)
		rt.open()
		for i := range 50 {
			rt.send(rt.ids(tokens(1, 10), row(0, 10*i, 10, wire.WantAll)))
		}
		nap(time.Millisecond)
		r.net.Kill("client")
		nap(15 * time.Second)
		for _, n := range l {
			if n.Load().Sessions != 0 || n.Live() != 0 {
				t.Errorf("%s: %+v, %d bytes", n.id, n.Load(), n.Live())
			}
		}
	})
}
