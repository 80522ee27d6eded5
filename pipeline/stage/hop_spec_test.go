package stage_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/kernels/tensor"
	"github.com/farlabs/inference/model"
	"github.com/farlabs/inference/pipeline/stage"
	"github.com/farlabs/inference/pipeline/wire"
)

func TestOpenNamesWhatIsNotServed(t *testing.T) {
	for name, c := range map[string]struct {
		change func(m *wire.Open)
		code   wire.Code
	}{
		"version":         {func(m *wire.Open) { m.Version = 2 }, wire.CodeUnsupported},
		"mode encode":     {func(m *wire.Open) { m.Mode = wire.ModeEncode }, wire.CodeUnsupported},
		"mode train":      {func(m *wire.Open) { m.Mode = wire.ModeTrain }, wire.CodeUnsupported},
		"mode 9":          {func(m *wire.Open) { m.Mode = 9 }, wire.CodeBadRequest},
		"role embed":      {func(m *wire.Open) { m.Role.Embed = true }, wire.CodeUnsupported},
		"role head":       {func(m *wire.Open) { m.Role.Head = true }, wire.CodeUnsupported},
		"role sample":     {func(m *wire.Open) { m.Role.Sample = true }, wire.CodeUnsupported},
		"adapter":         {func(m *wire.Open) { m.Adapter[0] = 1 }, wire.CodeUnsupported},
		"wire dtype int8": {func(m *wire.Open) { m.Wire = inference.WireInt8 }, wire.CodeUnsupported},
		"no wire dtype":   {func(m *wire.Open) { m.Wire = 0 }, wire.CodeBadRequest},
		"digest":          {func(m *wire.Open) { m.Digest[0]++ }, wire.CodeWrongModel},
		"class":           {func(m *wire.Open) { m.Class = "cuda-v1" }, wire.CodeWrongModel},
		"blocks":          {func(m *wire.Open) { m.Role.Blocks = blocks(0, 5) }, wire.CodeWrongModel},
		"positions":       {func(m *wire.Open) { m.Limits.Positions = 2049 }, wire.CodeLimit},
		"branches":        {func(m *wire.Open) { m.Limits.Branches = 65 }, wire.CodeLimit},
		"window":          {func(m *wire.Open) { m.Limits.Window = 1 << 31 }, wire.CodeLimit},
		"deadline":        {func(m *wire.Open) { m.Deadline = uint64(time.Now().UnixMilli()) }, wire.CodeDeadline},
		"next of last":    {func(m *wire.Open) { m.Next = "x" }, wire.CodeBadRequest},
		"no next":         {func(m *wire.Open) { m.Hops = 2 }, wire.CodeBadRequest},
		"prev of first":   {func(m *wire.Open) { m.Prev = "x" }, wire.CodeBadRequest},
	} {
		run(t, func(r *rig) {
			n := r.node("n", blocks(1, 4), nil)
			rt := r.client.session([]*node{n})
			m := rt.opens()[0]
			c.change(m)
			r.client.send("n", m)
			f := rt.wantFail(c.code)
			if c.code == wire.CodeUnsupported && f.Feature != name {
				t.Errorf("%s: feature %q", name, f.Feature)
			}
			if f.Text == "" || n.Load().Sessions != 0 {
				t.Errorf("%s: text %q, %d sessions", name, f.Text, n.Load().Sessions)
			}
		})
	}
}

func TestMessagesThatAreNotServedAreNamed(t *testing.T) {
	for _, m := range []wire.Message{&wire.Replay{}, &wire.Resume{}, &wire.Attach{}, &wire.Sampling{}} {
		run(t, func(r *rig) {
			n := r.node("n", all, nil)
			rt := r.client.session([]*node{n})
			rt.open()
			switch m := m.(type) {
			case *wire.Replay:
				m.Session = rt.id
			case *wire.Resume:
				m.Session = rt.id
			case *wire.Attach:
				m.Session = rt.id
			case *wire.Sampling:
				m.Session = rt.id
			}
			f := &wire.Frame{Message: m}
			if m.Kind() == wire.KindAttach {
				f.Payload = r.client.pool.Get(tensor.I8, 1, 100)
			}
			r.client.mux.Send("n", f)
			if f := rt.wantFail(wire.CodeUnsupported); f.Feature != m.Kind().String() {
				t.Errorf("%s: feature %q", m.Kind(), f.Feature)
			}
			rt.step(tokens(1, 1), row(0, 0, 1, wire.WantLast)) // the session goes on
			rt.close()
		})
	}
}

func TestFeaturesAreNegotiated(t *testing.T) {
	run(t, func(r *rig) {
		first := r.node("first", blocks(0, 3), nil)
		second := r.node("second", blocks(3, 6), nil)
		blind := r.node("blind", blocks(0, 6), func(c *stage.Config) { c.Ends = nil })
		rt := r.client.session([]*node{first, second})
		rt.change = func(m *wire.Open) { m.Features = ^wire.Features(0); m.Prefix = make([]inference.Digest, 3) }
		o := rt.open()
		if o[0].Features != wire.FeatureIDs || o[1].Features != 0 || o[0].Held != 0 {
			t.Errorf("features %b and %b, %d pages held", o[0].Features, o[1].Features, o[0].Held)
		}
		rt.close()
		rt = r.client.session([]*node{blind})
		if o := rt.open(); o[0].Features != 0 {
			t.Errorf("without ends: features %b", o[0].Features)
		}
		rt.send(rt.ids(tokens(1, 1), row(0, 0, 1, wire.WantLast)))
		if f := rt.wantFail(wire.CodeUnsupported); f.Feature != "ids" {
			t.Errorf("feature %q", f.Feature)
		}
		rt.close()
	})
}

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

func TestOpenOfTheSameEpochIsAnsweredAgain(t *testing.T) {
	run(t, func(r *rig) {
		n := r.node("n", all, nil)
		rt := r.client.session([]*node{n})
		m := rt.opens()[0]
		r.client.send("n", m)
		nap(time.Second)
		rt.step(tokens(1, 5), row(0, 0, 5, wire.WantLast))
		r.client.send("n", m)
		nap(time.Second)
		if len(r.client.opened) != 2 || r.client.opened[1].Branches[0].Length != 5 {
			t.Errorf("%d answers: %+v", len(r.client.opened), r.client.opened)
		}
		rt.step(tokens(1, 1), row(0, 5, 1, wire.WantLast)) // seq 2: nothing was reset
		rt.close()
	})
}

func TestHigherEpochDropsOrKeepsBranches(t *testing.T) {
	run(t, func(r *rig) {
		n := r.node("n", all, nil)
		rt := r.client.session([]*node{n})
		rt.open()
		rt.step(tokens(1, 5), row(0, 0, 5, wire.WantLast))
		rt.ops(wire.BranchOp{From: 0, At: 4, To: 2})
		for _, c := range []struct {
			keep   bool
			blocks inference.BlockRange
			dtype  inference.WireDType
			want   string
		}{
			{true, all, inference.WireBF16, "[{0 5} {2 4}]"},
			{true, blocks(0, 5), inference.WireBF16, "[{0 0}]"}, // another role has other pages
			{true, blocks(0, 5), inference.WireF32, "[{0 0}]"},
			{false, all, inference.WireBF16, "[{0 0}]"},
		} {
			rt.reroute([]*node{n}, c.blocks)
			rt.dtype = c.dtype
			rt.change = func(m *wire.Open) { m.Keep = c.keep }
			if got := fmt.Sprint(rt.open()[0].Branches); got != c.want {
				t.Errorf("keep %v, blocks %s, %s: %s, want %s", c.keep, c.blocks, c.dtype, got, c.want)
			}
			if c.keep && c.want == "[{0 0}]" {
				rt.step(tokens(1, 5), row(0, 0, 5, wire.WantLast))
			}
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

// A client that returns no credit gets a window's worth and no more; a session
// beside it, on the same streams, does not notice.
func TestSessionWithoutCreditHoldsUpNobody(t *testing.T) {
	run(t, func(r *rig) {
		l := r.ring(blocks(0, 3), blocks(3, 6))
		stalled := r.client.session(l)
		stalled.change = func(m *wire.Open) { m.Limits.Window = 32 << 10 }
		stalled.open()
		other := r.client.session(l)
		other.open()
		r.client.deaf = true
		for range 100 { // 100 × 640 B of output
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
		got := 0
		for k, o := range r.client.outputs {
			if k.session == stalled.id {
				got += len(o.data)
			}
		}
		if got > 32<<10 || got < 31<<10 {
			t.Errorf("%d bytes of output came without credit, the window is %d", got, 32<<10)
		}
		for _, n := range l {
			if live := n.Live(); live > 4*32<<10 {
				t.Errorf("%s holds %d bytes for a stalled session", n.id, live)
			}
		}
		// Credit comes: everything goes on.
		r.client.send("node-1", &wire.Credit{Session: stalled.id, Epoch: 1, Hop: 2, Bytes: 32 << 10})
		nap(time.Second)
		r.client.send("node-1", &wire.Credit{Session: stalled.id, Epoch: 1, Hop: 2, Bytes: 32 << 10})
		stalled.wait(100)
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

func TestBusyWhenABoundIsMet(t *testing.T) {
	t.Run("sessions", func(t *testing.T) {
		run(t, func(r *rig) {
			n := r.node("n", all, func(c *stage.Config) { c.Limits.MaxSessions = 2 })
			var l []*route
			for range 2 {
				rt := r.client.session([]*node{n})
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
				c.Cache, _ = c.Span.(*span).NewCache(6 * 10 * pageBytes) // ten pages of 16 positions for each block
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

func TestDrainingRefusesNewSessionsOnly(t *testing.T) {
	run(t, func(r *rig) {
		n := r.node("n", all, nil)
		rt, late := r.client.session([]*node{n}), r.client.session([]*node{n})
		rt.open()
		n.Drain()
		r.client.send("n", late.opens()[0])
		late.wantFail(wire.CodeDraining)
		rt.step(tokens(1, 1), row(0, 0, 1, wire.WantLast))
		rt.open()
		n.cancel() // the node leaves
		rt.wantFail(wire.CodeDraining)
		<-n.done
		r.client.send("n", rt.opens()[0])
		rt.wantFail(wire.CodeDraining)
	})
}
