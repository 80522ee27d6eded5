package simnet_test

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/internal/simnet"
	"github.com/farlabs/inference/pipeline"
	"github.com/farlabs/inference/pipeline/wire"
	"pgregory.net/rapid"
)

// action is one line of a script; the numbers are taken modulo what there is.
type action struct {
	op      string
	a, b, n int
}

var actionsOf = rapid.Custom(func(t *rapid.T) action {
	return action{
		op: rapid.SampledFrom([]string{
			"append", "append", "append", "append all", "rollback", "fork", "fork and append", "drop",
			"kill", "kill inside", "freeze", "break", "cancel", "truncate",
		}).Draw(t, "op"),
		a: rapid.IntRange(0, 100).Draw(t, "a"),
		b: rapid.IntRange(0, 100).Draw(t, "b"),
		n: rapid.IntRange(1, 20).Draw(t, "n"),
	}
})

// play runs a script against a session over three hops and against a local
// span side by side. Every node that is struck gets a successor a second later.
type play struct {
	c      *simnet.Cluster
	l      *simnet.Client
	s      *pipeline.Session
	ref    map[uint32]*simnet.Branch
	fresh  uint32 // the next branch
	nodes  atomic.Int32
	seed   int
	frozen []*simnet.Node
}

// TestAnySequenceEqualsOneLocalSpan is the whole promise of a session: append,
// roll back, fork, drop, while peers die, freeze, lose their links and join.
func TestAnySequenceEqualsOneLocalSpan(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		script := rapid.SliceOfN(actionsOf, 4, 24).Draw(rt, "script")
		chunk := rapid.SampledFrom([]int{1, 5, 512}).Draw(rt, "chunk")
		var err error
		synctest.Test(t, func(t *testing.T) {
			c := simnet.New(t, tiny)
			defer c.End()
			err = perform(t, c, script, chunk)
		})
		if err != nil {
			rt.Fatal(err)
		}
	})
}

func perform(t *testing.T, c *simnet.Cluster, script []action, chunk int) error {
	c.Delay(oneWay)
	defer time.Sleep(2 * time.Second) // successors that are on their way
	p := &play{c: c, ref: map[uint32]*simnet.Branch{}, fresh: 1}
	for _, start := range []int{0, 2, 4} {
		p.join(start, start+2)
	}
	p.l = c.Client("client", simnet.ClientOptions{})
	s, err := p.l.Open(context.Background(), pipeline.SessionOptions{Chunk: chunk, MaxBranches: 4})
	if err != nil {
		return err
	}
	defer s.Close()
	p.s = s
	p.ref[0] = tiny.Reference(t, inference.WireBF16).NewBranch()
	for i, a := range script {
		if err := p.do(a); err != nil {
			return fmt.Errorf("line %d, %+v: %w", i, a, err)
		}
		for id, b := range p.ref {
			if s.Length(id) != b.Len() {
				return fmt.Errorf("line %d, %+v: branch %d has %d positions, want %d", i, a, id, s.Length(id), b.Len())
			}
		}
	}
	for _, n := range p.frozen {
		n.Thaw()
	}
	return p.append(nil, p.all(), 1)
}

func (p *play) join(start, end int) {
	p.c.Add(inference.PeerID(fmt.Sprintf("n%d", p.nodes.Add(1))), start, end).Slow(5*time.Millisecond, 0)
}

// all returns the branches in ascending order.
func (p *play) all() []uint32 {
	var ids []uint32
	for id := range p.ref {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

func (p *play) do(a action) error {
	ids := p.all()
	id := ids[a.a%len(ids)]
	b := p.ref[id]
	switch a.op {
	case "append":
		return p.append(nil, []uint32{id}, a.n)
	case "append all":
		return p.append(nil, ids, a.n)
	case "rollback":
		b.Truncate(a.b % (b.Len() + 1))
		return p.append(nil, []uint32{id}, a.n)
	case "truncate":
		n := a.b % (b.Len() + 1)
		b.Truncate(n)
		return p.s.Truncate(id, n)
	case "fork", "fork and append":
		if len(ids) == 4 {
			return nil
		}
		to, at := p.fresh, a.b%(b.Len()+1)
		p.fresh++
		p.ref[to] = b.Fork(at)
		if a.op == "fork" {
			return p.append([]wire.BranchOp{pipeline.Fork(id, at, to)}, nil, 0)
		}
		return p.append([]wire.BranchOp{pipeline.Fork(id, at, to)}, []uint32{to, id}, a.n)
	case "drop":
		if len(ids) == 1 {
			return nil
		}
		delete(p.ref, id)
		b.Release()
		return p.append([]wire.BranchOp{pipeline.Drop(id)}, nil, 0)
	case "cancel":
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(a.b)*time.Millisecond/4)
		defer cancel()
		start := b.Len()
		if a.a%2 == 0 {
			start = a.b % (b.Len() + 1) // it takes the branch back
		}
		p.seed++
		ops, groups := []wire.BranchOp(nil), []pipeline.Group{group(id, start, tokens(p.seed, a.n))}
		if a.n%2 == 0 && len(ids) < 4 {
			ops = []wire.BranchOp{pipeline.Fork(id, b.Len(), p.fresh)}
		}
		switch _, err := p.s.Step(ctx, ops, groups); {
		case err == nil:
			if ops != nil {
				p.ref[p.fresh] = b.Fork(b.Len())
				p.fresh++
			}
			b.Truncate(start)
			b.Append(groups[0].IDs)
		case ctx.Err() == nil:
			return err
		}
		return nil
	case "kill":
		p.strike(a.a, (*simnet.Node).Kill)
	case "freeze":
		p.strike(a.a, func(n *simnet.Node) { n.Freeze(); p.frozen = append(p.frozen, n) })
	case "kill inside":
		onProgress(p.l, func(w wire.Progress) bool { return int(w.Hop) == a.a%3 && w.Started > w.Sent }, func() {
			p.strike(a.a, (*simnet.Node).Kill)
		})
	case "break":
		if r := p.l.Routes(); len(r) > 0 {
			hops := r[len(r)-1].Hops
			peers := []inference.PeerID{"client"}
			for _, h := range hops {
				peers = append(peers, h.Peer)
			}
			i := a.a % len(peers)
			p.c.Break(peers[i], peers[(i+1+a.b%(len(peers)-1))%len(peers)])
		}
	}
	return nil
}

// strike does away with a hop of the current route.
func (p *play) strike(hop int, f func(*simnet.Node)) {
	r := p.l.Routes()
	if len(r) == 0 {
		return
	}
	hops := r[len(r)-1].Hops
	n := p.c.Node(hops[hop%len(hops)].Peer)
	if n.Dead() || slices.Contains(p.frozen, n) {
		return
	}
	f(n)
	blocks := n.Record.Blocks
	time.AfterFunc(time.Second, func() { p.join(blocks.Start, blocks.End) })
}

// append takes n tokens on in each branch, after ops, and compares.
func (p *play) append(ops []wire.BranchOp, ids []uint32, n int) error {
	var groups []pipeline.Group
	for _, id := range ids {
		p.seed++
		groups = append(groups, group(id, p.ref[id].Len(), tokens(p.seed, n)))
	}
	got, err := p.s.Step(context.Background(), ops, groups)
	if err != nil {
		return err
	}
	for i, h := range got {
		want := p.ref[ids[i]].Append(groups[i].IDs)
		if !slices.EqualFunc(h.Data, want, func(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) }) {
			return fmt.Errorf("branch %d from position %d on differs", ids[i], groups[i].Start)
		}
	}
	return nil
}
