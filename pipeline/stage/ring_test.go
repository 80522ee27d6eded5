package stage_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/model"
	"github.com/farlabs/inference/pipeline/stage"
	"github.com/farlabs/inference/pipeline/wire"
)

func (r *rig) ring(parts ...inference.BlockRange) []*node {
	var l []*node
	for i, b := range parts {
		l = append(l, r.node(inference.PeerID(fmt.Sprintf("node-%d", i)), b, nil))
	}
	return l
}

// Prefill, then tokens one by one, over one stage or many, in either dtype and
// any cut of the prompt, give the bits of the bare model.
func TestRingEqualsTheModelBitForBit(t *testing.T) {
	cuts := map[string][]inference.BlockRange{
		"1": {blocks(0, 6)},
		"2": {blocks(0, 2), blocks(2, 6)},
		"3": {blocks(0, 2), blocks(2, 3), blocks(3, 6)},
		"5": {blocks(0, 1), blocks(1, 2), blocks(2, 4), blocks(4, 5), blocks(5, 6)},
	}
	ids := tokens(1, 50)
	for _, dtype := range []inference.WireDType{inference.WireF32, inference.WireBF16} {
		want := expect(t, dtype, ids)
		for name, cut := range cuts {
			for _, chunk := range []int{1, 16, 44} {
				run(t, func(r *rig) {
					rt := r.client.session(r.ring(cut...))
					rt.dtype = dtype
					for i, m := range rt.open() {
						if !m.Direct {
							t.Errorf("hop %d: the edge is not direct", i)
						}
					}
					at := 0
					for at < 44 {
						n := min(chunk, 44-at)
						same(t, fmt.Sprint(name, " stages"), rt.step(ids[at:at+n], row(0, at, n, wire.WantAll)), rows(want, at, at+n))
						at += n
					}
					for ; at < 50; at++ {
						same(t, fmt.Sprint(name, " stages, token"), rt.step(ids[at:at+1], row(0, at, 1, wire.WantLast)), rows(want, at, at+1))
					}
					if r.client.relayed > 0 {
						t.Errorf("%d steps went through the client", r.client.relayed)
					}
					rt.close()
				})
			}
		}
	}
}

// Nodes host more than their role asks for.
func TestRoleIsAPartOfOverlappingSpans(t *testing.T) {
	ids := tokens(2, 20)
	want := expect(t, inference.WireBF16, ids)
	run(t, func(r *rig) {
		l := r.ring(blocks(0, 4), blocks(1, 6), blocks(0, 6))
		rt := r.client.session(l, blocks(0, 2), blocks(2, 5), blocks(5, 6))
		rt.open()
		same(t, "parts", rt.step(ids, row(0, 0, 20, wire.WantAll)), want)
		rt.close()
	})
}

func TestHiddenStatesAtTheFirstHop(t *testing.T) {
	ids := tokens(3, 10)
	want := expect(t, inference.WireBF16, ids)
	run(t, func(r *rig) {
		l := r.ring(blocks(0, 2), blocks(2, 6))
		rt := r.client.session(l)
		rt.open()
		// The client holds block 0's input, here made by the model itself.
		ends, _ := model.LoadEnds(checkpoint)
		x := embed(t, ends, ids)
		f := rt.ids(make([]inference.TokenID, 10*d/2), row(0, 0, 10, wire.WantAll))
		f.Message.(*wire.Step).Payload = wire.PayloadHidden
		wire.PutRows(f.Payload.Data, x, inference.WireBF16)
		rt.send(f)
		same(t, "hidden", rt.wait(1), want)
		rt.close()
	})
}

func TestEdgeThatIsBlockedRunsThroughTheClient(t *testing.T) {
	ids := tokens(4, 30)
	want := expect(t, inference.WireBF16, ids)
	for _, blocked := range []string{"wall", "hang", "relay"} {
		run(t, func(r *rig) {
			l := r.ring(blocks(0, 2), blocks(2, 4), blocks(4, 6))
			rt := r.client.session(l)
			switch blocked {
			case "wall":
				r.net.Wall("node-0", "node-1")
			case "relay":
				rt.change = func(m *wire.Open) { m.Relay = true }
			case "hang":
				r.net.Delay("node-0", "node-1", 5*time.Second)
			}
			opened := rt.open()
			if opened[0].Direct || opened[1].Direct != (blocked != "relay") || !opened[2].Direct {
				t.Errorf("%s: direct: %v %v %v", blocked, opened[0].Direct, opened[1].Direct, opened[2].Direct)
			}
			same(t, blocked, rt.step(ids[:20], row(0, 0, 20, wire.WantAll)), rows(want, 0, 20))
			for at := 20; at < 30; at++ {
				same(t, blocked, rt.step(ids[at:at+1], row(0, at, 1, wire.WantLast)), rows(want, at, at+1))
			}
			edges := 11
			if blocked == "relay" {
				edges = 22
			}
			if r.client.relayed != edges {
				t.Errorf("%s: %d steps went through the client, want %d", blocked, r.client.relayed, edges)
			}
			rt.close()
		})
	}
}

func TestForkDropAndRollback(t *testing.T) {
	a, b := tokens(5, 40), tokens(6, 40)
	copy(b[:20], a[:20]) // branches share 20 positions
	c := append(append([]inference.TokenID{}, a[:33]...), tokens(7, 7)...)
	wantA, wantB, wantC := expect(t, inference.WireBF16, a), expect(t, inference.WireBF16, b), expect(t, inference.WireBF16, c)
	run(t, func(r *rig) {
		rt := r.client.session(r.ring(blocks(0, 3), blocks(3, 6)))
		rt.open()
		rt.step(a[:20], row(0, 0, 20, wire.WantNone))
		rt.ops(wire.BranchOp{From: 0, At: 20, To: 7})
		// Both branches in one step.
		f := append(append([]inference.TokenID{}, a[20:40]...), b[20:40]...)
		got := rt.step(f, row(0, 20, 20, wire.WantAll), row(7, 20, 20, wire.WantAll))
		same(t, "branch 0", got[:20*d], rows(wantA, 20, 40))
		same(t, "branch 7", got[20*d:], rows(wantB, 20, 40))
		// Rollback of branch 0 to 33, other tokens from there.
		same(t, "rolled back", rt.step(c[33:], row(0, 33, 7, wire.WantAll)), rows(wantC, 33, 40))
		// Branch 7 did not notice; drop 0, fork 7 in the same step that uses it.
		m := rt.ids(b[39:40], row(9, 39, 1, wire.WantLast))
		m.Message.(*wire.Step).Ops = []wire.BranchOp{{Drop: true, From: 0}, {From: 7, At: 39, To: 9}}
		rt.send(m)
		same(t, "forked again", rt.wait(rt.seq), rows(wantB, 39, 40))
		rt.send(rt.ids(a[:1], row(0, 0, 1, wire.WantLast)))
		rt.wantFail(wire.CodeBadRequest) // branch 0 is gone
		rt.close()
	})
}

func TestSharedPromptIsComputedOnce(t *testing.T) {
	run(t, func(r *rig) {
		l := r.ring(blocks(0, 6))
		rt := r.client.session(l)
		rt.open()
		rt.step(tokens(1, 100), row(0, 0, 100, wire.WantLast))
		rt.ops(wire.BranchOp{From: 0, At: 100, To: 1}, wire.BranchOp{From: 0, At: 100, To: 2}, wire.BranchOp{From: 0, At: 100, To: 3})
		rt.step(tokens(2, 4), row(0, 100, 1, wire.WantLast), row(1, 100, 1, wire.WantLast), row(2, 100, 1, wire.WantLast), row(3, 100, 1, wire.WantLast))
		rt.close()
		total := 0
		for _, p := range l[0].span.passes {
			total += p.Rows
		}
		if total != 104 || l[0].span.passes[len(l[0].span.passes)-1].Rows != 4 {
			t.Errorf("%d rows in %+v", total, l[0].span.passes)
		}
	})
}

// Rows below emit_from fill KV at the hop that is being restored; hops after
// hear of the step and get no rows of it.
func TestEmitFromRestoresOneHop(t *testing.T) {
	ids := tokens(8, 40)
	want := expect(t, inference.WireBF16, ids)
	run(t, func(r *rig) {
		l := r.ring(blocks(0, 2), blocks(2, 4), blocks(4, 6))
		spare := r.node("spare", blocks(2, 4), nil)
		rt := r.client.session(l)
		rt.open()
		rt.step(ids[:30], row(0, 0, 30, wire.WantLast))
		before := len(l[2].span.passes)

		rt.reroute([]*node{l[0], spare, l[2]})
		rt.change = func(m *wire.Open) { m.Keep = m.Hop != 1 }
		opened := rt.open()
		if n := opened[0].Branches[0].Length; n != 30 {
			t.Errorf("hop 0 kept %d positions", n)
		}
		if n := opened[1].Branches[0].Length; n != 0 {
			t.Errorf("the spare holds %d positions", n)
		}
		// Replay from the start up to hop 1, the last 5 rows go on: they are
		// computed again at hop 2 too, as a rollback.
		f := rt.ids(ids[:30], wire.Row{N: 30, EmitFrom: 25, Extent: 30, Want: wire.WantAll, Line: inference.LineRecovery})
		f.Message.(*wire.Step).EmitAt = 1
		rt.send(f)
		same(t, "rows from emit_from on", rt.wait(1), rows(want, 25, 30))
		// A step of which nothing is passed on still arrives.
		f = rt.ids(ids[30:32], wire.Row{Start: 30, N: 2, EmitFrom: 32, Extent: 32, Want: wire.WantAll, Line: inference.LineRecovery})
		f.Message.(*wire.Step).EmitAt = 1
		rt.send(f)
		if got := rt.wait(2); len(got) != 0 {
			t.Errorf("%d values of rows below emit_from", len(got))
		}
		if n := len(l[2].span.passes); n != before+1 {
			t.Errorf("hop 2 made %d passes more, want 1", n-before)
		}
		rt.send(rt.ids(ids[32:33], row(0, 32, 1, wire.WantLast)))
		if f := rt.wantFail(wire.CodeBadRequest); f.Hop != 2 { // hop 2 has 30 positions
			t.Errorf("hop %d failed", f.Hop)
		}
		rt.close()
	})
}

func TestFillDoesNotPassBranchOperationsOn(t *testing.T) {
	ids := tokens(9, 20)
	want := expect(t, inference.WireBF16, ids)
	run(t, func(r *rig) {
		l := r.ring(blocks(0, 3), blocks(3, 6))
		rt := r.client.session(l)
		rt.open()
		rt.step(ids[:10], row(0, 0, 10, wire.WantNone))
		rt.ops(wire.BranchOp{From: 0, At: 10, To: 5})
		rt.change = func(m *wire.Open) { m.Keep = m.Hop == 1 }
		rt.open() // hop 0 has lost everything, hop 1 has branches 0 and 5
		f := rt.ids(ids[:10], wire.Row{N: 10, EmitFrom: 10, Line: inference.LineRecovery})
		f.Message.(*wire.Step).Fill = true
		rt.send(f)
		rt.wait(1)
		f = rt.ids(nil)
		f.Message.(*wire.Step).Ops = []wire.BranchOp{{From: 0, At: 10, To: 5}}
		f.Message.(*wire.Step).Fill = true
		rt.send(f)
		rt.wait(2)
		same(t, "after restore", rt.step(ids[10:], row(5, 10, 10, wire.WantAll)), rows(want, 10, 20))
		rt.close()
	})
}

// Eight sessions that are ready at once share one forward pass, and each gets
// what it would get alone.
func TestReadyRowsShareAPass(t *testing.T) {
	run(t, func(r *rig) {
		l := r.ring(blocks(0, 6))
		var rts []*route
		var wants [][]float32
		for i := range 8 {
			ids := tokens(20+i, 12+i)
			rt := r.client.session(l)
			rt.open()
			rt.step(ids[:11+i], row(0, 0, 11+i, wire.WantNone))
			rts = append(rts, rt)
			wants = append(wants, rows(expect(t, inference.WireBF16, ids), 11+i, 12+i))
		}
		release := hold(l[0])
		for i, rt := range rts {
			rt.send(rt.ids(tokens(20+i, 12+i)[11+i:], row(0, 11+i, 1, wire.WantLast)))
			synctest.Wait() // the first alone starts a pass; the others wait for it
		}
		before := len(l[0].span.passes)
		release()
		for i, rt := range rts {
			same(t, "in a batch", rt.wait(rt.seq), wants[i])
		}
		passes := l[0].span.passes[before:]
		if len(passes) != 2 || passes[0].Rows != 1 || passes[1].Rows != 7 || passes[1].Sessions != 7 {
			t.Errorf("passes: %+v", passes)
		}
		for _, rt := range rts {
			rt.close()
		}
	})
}

func hold(n *node) (release func()) {
	n.span.hold()
	return n.span.release
}

// A long prompt is computed in pieces, so that the tokens of others come out
// between them; its bits are those of one piece.
func TestLongPromptDoesNotHoldUpTokens(t *testing.T) {
	ids := tokens(30, 400)
	want := expect(t, inference.WireBF16, ids)
	other := tokens(31, 12)
	run(t, func(r *rig) {
		n := r.node("n", blocks(0, 6), func(c *stage.Config) { c.Limits.PassRows = 32 })
		long, short := r.client.session([]*node{n}), r.another("other").session([]*node{n})
		long.open()
		short.open()
		n.span.hook(func(model.Pass) error { time.Sleep(10 * time.Millisecond); return nil })
		start := time.Now()
		long.send(long.ids(ids, row(0, 0, 400, wire.WantAll)))
		for i := range 6 {
			short.step(other[i:i+1], row(0, i, 1, wire.WantLast))
		}
		took := time.Since(start)
		if _, done := long.output(1); done {
			t.Error("the prompt was done before six tokens of another session")
		}
		if took > 200*time.Millisecond {
			t.Errorf("six tokens beside a prompt took %v", took)
		}
		same(t, "in pieces", long.wait(1), want)
		if n.span.longest != 32 {
			t.Errorf("a pass had %d rows", n.span.longest)
		}
		long.close()
		short.close()
	})
}

// Prompts of two clients take turns, whatever the number of sessions.
func TestClientsShareFairly(t *testing.T) {
	run(t, func(r *rig) {
		n := r.node("n", blocks(0, 6), func(c *stage.Config) { c.Limits.PassRows = 32 })
		var many []*route
		for range 5 {
			rt := r.client.session([]*node{n})
			rt.open()
			many = append(many, rt)
		}
		one := r.another("other").session([]*node{n})
		one.open()
		n.span.hook(func(model.Pass) error { time.Sleep(10 * time.Millisecond); return nil })
		for _, rt := range many {
			rt.send(rt.ids(tokens(1, 160), row(0, 0, 160, wire.WantLast)))
		}
		one.send(one.ids(tokens(1, 160), row(0, 0, 160, wire.WantLast)))
		start := time.Now()
		one.wait(1)
		if took := time.Since(start); took > 130*time.Millisecond { // 5 passes of its own, 5 of the others
			t.Errorf("one session beside five of another client took %v", took)
		}
		for _, rt := range append(many, one) {
			rt.wait(1)
			rt.close()
		}
	})
}

func TestTimesSayWhereAStepWas(t *testing.T) {
	run(t, func(r *rig) {
		l := r.ring(blocks(0, 3), blocks(3, 6))
		l[1].span.hook(func(model.Pass) error { time.Sleep(30 * time.Millisecond); return nil })
		rt := r.client.session(l)
		rt.open()
		rt.step(tokens(1, 1), row(0, 0, 1, wire.WantLast))
		o, _ := rt.output(1)
		if len(o.m.Times) != 2 || o.m.Times[1].Compute < 29_000 || o.m.Times[0].Compute > 20_000 || o.m.Times[1].Arrived < o.m.Times[0].Arrived {
			t.Errorf("times: %+v", o.m.Times)
		}
		rt.close()
		if r := l[1].Rates(); r.Decode < 9 || r.Decode > 11 { // 30 ms over 3 blocks
			t.Errorf("rates: %+v", r)
		}
	})
}
