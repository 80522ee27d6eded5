package stage_test

import (
	"strings"
	"testing"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/pipeline/stage"
	"github.com/farlabs/inference/pipeline/wire"
)

// cramped is a node whose KV cache holds 160 positions: ten pages for each block.
func cramped(r *rig) *node {
	return r.node("n", all, func(c *stage.Config) { c.Cache, _ = c.Span.(*span).NewCache(6*10*pageBytes, inference.KVF32) })
}

func free(t *testing.T, n *node, pages int) {
	t.Helper()
	nap(time.Second)
	if l := n.Load(); l.FreePages != pages {
		t.Errorf("%d pages free, want %d", l.FreePages, pages)
	}
}

// fill opens a session and computes positions 0 to positions−1.
func (c *client) fill(n *node, seed, positions int) *route {
	c.r.t.Helper()
	rt := c.session([]*node{n})
	rt.open()
	rt.step(tokens(seed, positions), row(0, 0, positions, wire.WantNone))
	return rt
}

func (rt *route) unharmed() {
	rt.c.r.t.Helper()
	rt.c.mu.Lock()
	defer rt.c.mu.Unlock()
	for _, f := range rt.c.fails {
		if f.Session == rt.id {
			rt.c.r.t.Errorf("failed: %v", f)
		}
	}
}

func TestOlderSessionGoesOnWithThePagesOfAYoungerOne(t *testing.T) {
	run(t, func(r *rig) {
		n := cramped(r)
		old, young := r.client.fill(n, 1, 80), r.client.fill(n, 2, 80)
		got := old.step(tokens(3, 1), row(0, 80, 1, wire.WantLast)) // no page is free
		want := expect(t, inference.WireBF16, append(tokens(1, 80), tokens(3, 1)...))
		same(t, "the older one", got, rows(want, 80, 81))
		if f := young.wantFail(wire.CodeBusy); f.RetryAfter == 0 || f.Seq != 0 {
			t.Errorf("the younger one is told %+v", f)
		}
		free(t, n, 6*4)
		// It may come back at once, finds its pages gone, and cannot take any from
		// the older one.
		young.change = func(m *wire.Open) { m.Keep = true }
		if o := young.open()[0]; len(o.Branches) != 1 || o.Branches[0].Length != 0 {
			t.Errorf("it opens with %+v", o.Branches)
		}
		young.send(young.ids(tokens(2, 80), row(0, 0, 80, wire.WantNone)))
		young.wantFail(wire.CodeBusy)
		free(t, n, 6*4)
		old.unharmed()
		old.close()
		young.open()
		young.step(tokens(2, 80), row(0, 0, 80, wire.WantNone))
		young.close()
	})
}

// Two sessions that are in the same pass when the pages end.
func TestOfTwoSessionsInOnePassTheOlderGetsThePage(t *testing.T) {
	run(t, func(r *rig) {
		n := cramped(r)
		old, young := r.client.fill(n, 1, 80), r.client.fill(n, 2, 64)
		other := r.client.fill(n, 3, 10)
		for range 2 { // whoever waits longer
			release := hold(n)
			other.send(other.ids(tokens(4, 1), row(0, 10, 1, wire.WantNone)))
			nap(time.Second)
			young.send(young.ids(tokens(5, 1), row(0, 64, 1, wire.WantLast)))
			nap(time.Second)
			old.send(old.ids(tokens(6, 1), row(0, 80, 1, wire.WantLast)))
			nap(time.Second)
			release()
			nap(time.Second)
		}
		old.wait(2)
		old.unharmed()
		young.wantFail(wire.CodeBusy)
		old.close()
		young.close()
		other.close()
	})
}

func TestSessionThatFillsTheNodeAloneIsToldThatThereIsNoRoom(t *testing.T) {
	run(t, func(r *rig) {
		n := cramped(r)
		rt := r.client.fill(n, 1, 160)
		rt.send(rt.ids(tokens(2, 1), row(0, 160, 1, wire.WantLast)))
		f := rt.wantFail(wire.CodeNoRoom)
		if !strings.Contains(f.Text, "holds 160 positions of blocks 0:6") || !f.Code.Retryable() {
			t.Errorf("it is told %q", f.Text)
		}
		free(t, n, 60) // nobody has to wait until it closes
		rt.open()
		// However others come and go, more than all pages there are never free.
		other := r.client.fill(n, 3, 10)
		rt.send(rt.ids(tokens(4, 161), row(0, 0, 161, wire.WantNone)))
		rt.wantFail(wire.CodeNoRoom)
		other.unharmed()
		other.close()
		// Of a part of the blocks there is room for more.
		half := r.client.session([]*node{n}, blocks(0, 3))
		half.open()
		half.step(tokens(5, 320), row(0, 0, 320, wire.WantNone))
		half.close()
		rt.close()
	})
}

func TestBranchesOfASessionThatIsAloneDoNotWaitForEachOther(t *testing.T) {
	run(t, func(r *rig) {
		n := cramped(r)
		rt := r.client.fill(n, 1, 100)
		rt.ops(wire.BranchOp{From: 0, At: 96, To: 1}) // six pages are shared
		rt.send(rt.ids(tokens(2, 100), row(1, 96, 60, wire.WantNone), row(0, 100, 40, wire.WantNone)))
		rt.wantFail(wire.CodeNoRoom)
		rt.close()
	})
}

func TestPagesOfASessionThatRestsAreFreeForOthers(t *testing.T) {
	run(t, func(r *rig) {
		n := cramped(r)
		old := r.client.fill(n, 1, 100)
		free(t, n, 6*3)
		nap(30 * time.Second)
		free(t, n, 60)
		young := r.client.fill(n, 2, 100)
		old.wantFail(wire.CodeBusy)
		// Now it is the other that rests.
		nap(30 * time.Second)
		old.open()
		old.step(tokens(1, 100), row(0, 0, 100, wire.WantNone))
		young.wantFail(wire.CodeBusy)
		old.close()
		young.close()
	})
}

func TestNewestSessionOfThePayerThatHoldsMostIsParked(t *testing.T) {
	run(t, func(r *rig) {
		n := cramped(r)
		greedy, modest := r.another("greedy"), r.another("modest")
		first := r.client.fill(n, 1, 16)
		a, b, c := greedy.fill(n, 2, 48), greedy.fill(n, 3, 32), modest.fill(n, 4, 64)
		first.step(tokens(5, 10), row(0, 16, 10, wire.WantNone))
		b.wantFail(wire.CodeBusy)
		first.step(tokens(5, 30), row(0, 26, 30, wire.WantNone)) // three more pages; one is left of b's
		c.wantFail(wire.CodeBusy)
		a.unharmed()
		first.unharmed()
		for _, rt := range []*route{first, a, b, c} {
			rt.close()
		}
	})
}

// Who cannot get enough even so takes nothing from anybody.
func TestNobodyIsParkedInVain(t *testing.T) {
	run(t, func(r *rig) {
		n := cramped(r)
		oldest, middle, young := r.client.fill(n, 1, 96), r.client.fill(n, 2, 16), r.client.fill(n, 3, 48)
		middle.send(middle.ids(tokens(4, 60), row(0, 16, 60, wire.WantNone)))
		middle.wantFail(wire.CodeBusy)
		oldest.unharmed()
		young.unharmed()
		free(t, n, 6)
		for _, rt := range []*route{oldest, middle, young} {
			rt.close()
		}
	})
}
