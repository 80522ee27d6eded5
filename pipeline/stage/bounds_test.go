package stage_test

import (
	"testing"
	"testing/synctest"
	"time"

	inference "github.com/farlabs/inference"
	"github.com/farlabs/inference/pipeline/stage"
	"github.com/farlabs/inference/pipeline/wire"
)

func TestPayloadBeyondTheWindowEndsTheSession(t *testing.T) {
	run(t, func(r *rig) {
		n := r.node("n", all, nil)
		rt := r.client.session([]*node{n})
		rt.change = func(m *wire.Open) { m.Limits.Window = 4000 }
		rt.open()
		release := hold(n)
		for range 12 {
			rt.send(rt.ids(tokens(1, 100), row(0, 0, 100, wire.WantNone)))
		}
		rt.wantFail(wire.CodeLimit)
		release()
		nap(time.Second)
		if l := n.Load(); l.Sessions != 0 {
			t.Errorf("%+v", l)
		}
	})
}

func TestCreditComesBackAsPayloadsAreConsumed(t *testing.T) {
	run(t, func(r *rig) {
		n := r.node("n", all, nil)
		rt := r.client.session([]*node{n})
		rt.change = func(m *wire.Open) { m.Limits.Window = 1000 }
		rt.open()
		for range 60 { // six windows, one by one
			rt.step(tokens(1, 25), row(0, 0, 25, wire.WantNone))
		}
		nap(time.Second)
		total := uint64(0)
		for _, c := range r.client.credits {
			total += c.m.Bytes
		}
		if total != 60*100 {
			t.Errorf("%d bytes of credit for %d", total, 60*100)
		}
		rt.close()
	})
}

func TestSessionWithoutCreditHoldsUpNobody(t *testing.T) {
	run(t, func(r *rig) {
		l := r.ring(blocks(0, 3), blocks(3, 6))
		stalled := r.client.session(l)
		stalled.change = func(m *wire.Open) { m.Limits.Window = 32 << 10 }
		stalled.open()
		other := r.client.session(l)
		other.open()
		r.client.deaf = true
		for range 160 { // 160 × 640 B of output
			stalled.send(stalled.ids(tokens(1, 10), row(0, 0, 10, wire.WantAll)))
		}
		start := time.Now()
		for i := range 50 {
			other.step(tokens(1, 1), row(0, i, 1, wire.WantLast))
		}
		if took := time.Since(start); took > 600*time.Millisecond { // the test polls every 10 ms
			t.Errorf("50 steps beside a stalled session took %v", took)
		}
		nap(time.Minute)
		came := func(windows int) {
			t.Helper()
			got := 0
			for k, o := range r.client.outputs {
				if k.session == stalled.id {
					got += len(o.data)
				}
			}
			if got > windows*32<<10 || got < windows*31<<10 {
				t.Errorf("%d bytes of output came, want %d windows of %d", got, windows, 32<<10)
			}
		}
		came(1)
		for _, n := range l {
			if live := n.Live(); live > 4*32<<10 {
				t.Errorf("%s holds %d bytes for a stalled session", n.id, live)
			}
		}
		// Credit for another edge, and from the hop before, is none.
		credit := wire.Credit{Session: stalled.id, Epoch: 1, Hop: 1, Bytes: 32 << 10}
		r.client.send("node-1", &credit)
		l[0].mux.Send("node-1", &wire.Frame{Message: &wire.Credit{Session: stalled.id, Epoch: 1, Hop: 2, Bytes: 32 << 10}})
		nap(time.Second)
		came(1)
		// Credit comes: everything goes on, never more than a window at once.
		for i := range 3 {
			r.client.send("node-1", &wire.Credit{Session: stalled.id, Epoch: 1, Hop: 2, Bytes: 1 << 40})
			nap(time.Second)
			if i == 0 {
				came(2)
			}
		}
		stalled.wait(160)
		stalled.close()
		other.close()
	})
}

func TestStepThatMakesMoreThanTheWindowIsRefused(t *testing.T) {
	run(t, func(r *rig) {
		n := r.node("n", all, nil)
		rt := r.client.session([]*node{n})
		rt.change = func(m *wire.Open) { m.Limits.Window = 96 * rowBytes }
		rt.open()
		rt.step(tokens(1, 96), row(0, 0, 96, wire.WantAll)) // just fits
		rt.send(rt.ids(tokens(1, 97), row(0, 0, 97, wire.WantAll)))
		rt.wantFail(wire.CodeLimit)
		rt.close()
	})
}

func TestStepsThatWaitAreBounded(t *testing.T) {
	run(t, func(r *rig) {
		n := r.node("n", all, nil)
		rt := r.client.session([]*node{n})
		rt.open()
		release := hold(n)
		send := func(steps int) {
			for range steps {
				rt.send(rt.ids(tokens(1, 1), row(0, int(rt.seq), 1, wire.WantNone)))
			}
			nap(time.Second)
		}
		send(512) // what a session may have waiting
		if l := n.Load(); l.Queue != 512 || len(r.client.fails) != 0 {
			t.Fatalf("%+v, %v", l, r.client.failed())
		}
		send(1)
		rt.wantFail(wire.CodeLimit)
		release()
		rt.close()
	})
}

func TestBusyWhenABoundIsMet(t *testing.T) {
	t.Run("sessions", func(t *testing.T) {
		run(t, func(r *rig) {
			n := r.node("n", all, func(c *stage.Config) { c.Limits.MaxSessions = 2 })
			var l []*route
			for _, c := range []*client{r.client, r.another("other")} {
				rt := c.session([]*node{n})
				rt.open()
				l = append(l, rt)
			}
			rt := r.client.session([]*node{n})
			r.client.send("n", rt.opens()[0])
			if f := rt.wantFail(wire.CodeBusy); f.RetryAfter == 0 {
				t.Error("no hint when to come back")
			}
			l[0].close()
			rt.open()
			rt.close()
			l[1].close()
		})
	})
	t.Run("windows", func(t *testing.T) {
		run(t, func(r *rig) {
			n := r.node("n", all, func(c *stage.Config) { c.Limits.Memory = 5 << 19 })
			a, b, c := r.client.session([]*node{n}), r.client.session([]*node{n}), r.client.session([]*node{n})
			a.open()
			b.open()
			r.client.send("n", c.opens()[0])
			c.wantFail(wire.CodeBusy)
			a.close()
			c.open()
			b.close()
			c.close()
		})
	})
	t.Run("rows", func(t *testing.T) {
		run(t, func(r *rig) {
			n := r.node("n", all, func(c *stage.Config) { c.Limits.MaxPending = 20000 })
			a, b := r.client.session([]*node{n}), r.client.session([]*node{n})
			a.open()
			b.open()
			other := r.another("other").session([]*node{n})
			other.open()
			hold(n)
			for range 9 { // 9 × 1,000 of 10,000 that one client may have
				a.send(a.ids(tokens(1, 1000), row(0, 0, 1000, wire.WantNone)))
			}
			b.send(b.ids(tokens(1, 1500), row(0, 0, 1500, wire.WantNone)))
			if f := b.wantFail(wire.CodeBusy); f.RetryAfter == 0 {
				t.Error("no hint when to come back")
			}
			other.send(other.ids(tokens(1, 1500), row(0, 0, 1500, wire.WantNone))) // another client is taken
			nap(time.Second)
			if q := n.Load().Queue; q != 10500 {
				t.Errorf("%d rows wait", q)
			}
			a.close()
			other.close()
			if q := n.Load().Queue; q > 1500 { // but for the step that is in the pass
				t.Errorf("%d rows wait for nobody", q)
			}
			n.span.hook(nil)
			n.span.release()
			b.open()
			b.step(tokens(1, 15), row(0, 0, 15, wire.WantNone))
			b.close()
		})
	})
	t.Run("pages", func(t *testing.T) {
		run(t, func(r *rig) {
			n := r.node("n", all, func(c *stage.Config) {
				c.Cache, _ = c.Span.(*span).NewCache(6*10*pageBytes, inference.KVF32) // ten pages of 16 positions for each block
			})
			a, b := r.client.session([]*node{n}), r.client.session([]*node{n})
			a.open()
			b.open()
			a.step(tokens(1, 100), row(0, 0, 100, wire.WantNone)) // 7 pages a block
			b.send(b.ids(tokens(2, 100), row(0, 0, 100, wire.WantNone)))
			if f := b.wantFail(wire.CodeBusy); f.RetryAfter == 0 {
				t.Error("no hint when to come back")
			}
			a.step(tokens(1, 12), row(0, 100, 12, wire.WantNone)) // what is there goes on
			a.close()
			b.open()
			b.step(tokens(2, 100), row(0, 0, 100, wire.WantNone))
			b.close()
		})
	})
}

// However many Opens come while one waits for the disk, only the newest waits
// with it; those before are neither dialled nor written.
func TestOnlyTheNewestOpenWaits(t *testing.T) {
	paid(t, func(r *rig, n *node, b *books) {
		b.delay = 10 * time.Second
		rt := r.client.session([]*node{n})
		rt.change = func(m *wire.Open) { m.Voucher = voucher(1000) }
		rt.open2()
		nap(time.Second) // at the disk
		for i := range 199 {
			rt.open2()
			r.client.send("n", &wire.Voucher{Session: rt.id, Voucher: *voucher(uint64(1001 + i))})
		}
		nap(time.Minute)
		a := b.accounts[rt.id]
		if a.opens != 2 || a.terms.Epoch != 200 {
			t.Errorf("account opened %d times, the last in epoch %d", a.opens, a.terms.Epoch)
		}
		if a.voucher != 1199 || len(r.client.fails) != 0 {
			t.Errorf("the last voucher counts: %d, fails %v", a.voucher, r.client.failed())
		}
		// One that comes with the end of its session is not begun.
		rt.open2()
		nap(time.Second)
		rt.open2()
		r.client.send("n", &wire.Close{Session: rt.id})
		nap(time.Minute)
		if a.opens != 3 || !a.closed {
			t.Errorf("opened %d times, closed %v", a.opens, a.closed)
		}
	})
}

// One client gets half of a node, so that another finds room.
func TestOneClientCannotTakeAllOfANode(t *testing.T) {
	t.Run("sessions", func(t *testing.T) {
		run(t, func(r *rig) {
			n := r.node("n", all, func(c *stage.Config) { c.Limits.MaxSessions = 16 })
			var l []*route
			for range 8 {
				l = append(l, r.client.session([]*node{n}))
				l[len(l)-1].open()
			}
			rt, other := r.client.session([]*node{n}), r.another("other").session([]*node{n})
			rt.open2()
			if f := rt.wantFail(wire.CodeBusy); f.RetryAfter == 0 {
				t.Error("no hint when to come back")
			}
			other.open()
			l[0].open() // another epoch is no other session
			l[0].close()
			rt.open()
			for _, rt := range append(l[1:], rt, other) {
				rt.close()
			}
		})
	})
	t.Run("windows", func(t *testing.T) {
		run(t, func(r *rig) {
			n := r.node("n", all, func(c *stage.Config) { c.Limits.Memory = 64 << 20 })
			window := func(rt *route, bytes uint32) { rt.change = func(m *wire.Open) { m.Limits.Window = bytes } }
			rt := r.client.session([]*node{n})
			window(rt, 8<<20+1)
			rt.open2()
			rt.wantFail(wire.CodeLimit)
			var l []*route
			for range 4 { // an eighth of the memory each
				l = append(l, r.client.session([]*node{n}))
				window(l[len(l)-1], 8<<20)
				l[len(l)-1].open()
			}
			window(rt, 1<<20)
			rt.open2()
			if f := rt.wantFail(wire.CodeBusy); f.RetryAfter == 0 {
				t.Error("no hint when to come back")
			}
			other := r.another("other").session([]*node{n})
			window(other, 8<<20)
			other.open()
			window(l[0], 7<<20) // a smaller window makes room
			l[0].open()
			rt.open()
			for _, rt := range append(l, rt, other) {
				rt.close()
			}
		})
	})
}

// A window that an Open asks for inside a pass is taken at once: two that come
// so cannot both have the last of it.
func TestWindowOfAWaitingOpenIsReserved(t *testing.T) {
	run(t, func(r *rig) {
		n := r.node("n", all, func(c *stage.Config) { c.Limits.Memory = 4 << 20 })
		a, b := r.client.session([]*node{n}), r.client.session([]*node{n})
		a.open()
		b.open()
		release := hold(n)
		a.send(a.ids(tokens(1, 10), row(0, 0, 10, wire.WantNone)))
		synctest.Wait()
		a.change = func(m *wire.Open) { m.Limits.Window = 3 << 20 }
		a.open2()
		synctest.Wait()
		b.change = a.change
		b.open2()
		b.wantFail(wire.CodeBusy)
		release()
		a.close()
		b.close()
	})
}
