package stage_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/kernels/tensor"
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
		"branches":        {func(m *wire.Open) { m.Limits.Branches = 129 }, wire.CodeLimit},
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

func TestDrainingRefusesNewSessionsOnly(t *testing.T) {
	run(t, func(r *rig) {
		// Full, too: to wait would not help.
		n := r.node("n", all, func(c *stage.Config) { c.Limits.MaxSessions = 1 })
		rt, late := r.client.session([]*node{n}), r.client.session([]*node{n})
		rt.open()
		n.Drain()
		r.client.send("n", late.opens()[0])
		late.wantFail(wire.CodeDraining)
		rt.step(tokens(1, 1), row(0, 0, 1, wire.WantLast))
		rt.change = func(m *wire.Open) { m.Keep = true }
		rt.open()
		rt.step(tokens(1, 1), row(0, 1, 1, wire.WantLast))
		n.cancel() // the node leaves
		rt.wantFail(wire.CodeDraining)
		<-n.done
		r.client.send("n", rt.opens()[0])
		rt.wantFail(wire.CodeDraining)
	})
}
