package simnet_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/internal/simnet"
	"github.com/farlabs/inference/pipeline"
	"github.com/farlabs/inference/pipeline/wire"
)

// traffic is the payload that a client has exchanged with all nodes, and the
// payload between two nodes.
func traffic(c *simnet.Cluster, l *simnet.Client, ids ...inference.PeerID) (out, in, between uint64) {
	for i, id := range ids {
		s := l.Mux.Stats(id)
		out, in = out+s.Out.Payload, in+s.In.Payload
		if i > 0 {
			between += c.Node(ids[i-1]).Mux.Stats(id).Out.Payload
		}
	}
	return out, in, between
}

func TestClientSendsAndReceivesOneRowPerToken(t *testing.T) {
	run(t, func(t *testing.T, c *simnet.Cluster) {
		c.Delay(oneWay)
		c.Add("a", 0, 2)
		c.Add("b", 2, 4)
		c.Add("c", 4, 6)
		l := c.Client("client", simnet.ClientOptions{})
		var out0, in0, between0 uint64
		a := ask(context.Background(), l.DistributedPipeline, pipeline.Request{IDs: tokens(1, 30), MaxTokens: 51, IgnoreEOS: true}, func(a *answer, d pipeline.Delta) {
			if len(a.ids[0]) == 1 {
				out0, in0, between0 = traffic(c, l, "a", "b", "c")
			}
		})
		out, in, between := traffic(c, l, "a", "b", "c")
		if out-out0 != 50*rowBytes || in-in0 != 50*rowBytes || between-between0 != 2*50*rowBytes {
			t.Errorf("50 tokens: the client sent %d bytes and received %d, the nodes exchanged %d; want %d, %d, %d",
				out-out0, in-in0, between-between0, 50*rowBytes, 50*rowBytes, 100*rowBytes)
		}
		for _, h := range a.routes[0].Hops {
			if !h.Direct {
				t.Errorf("the edge after %s is not direct", h.Peer)
			}
		}
		// n + 1 one-way delays per token.
		if took := a.times[51].Sub(a.times[1]); took != 50*4*oneWay {
			t.Errorf("50 tokens took %v, want %v", took, 50*4*oneWay)
		}
	})
}

func TestBlockedEdgeRunsThroughTheClient(t *testing.T) {
	prompt := tokens(1, 100)
	want := tiny.Reference(t, inference.WireBF16).Generate(prompt, moods["warm"], 0, 60)
	chain := func(c *simnet.Cluster) *simnet.Client {
		c.Delay(oneWay)
		c.Add("a", 0, 2)
		c.Add("b", 2, 4)
		c.Add("c", 4, 6)
		return c.Client("client", simnet.ClientOptions{Defaults: pipeline.SessionOptions{Chunk: 16}})
	}
	request := pipeline.Request{IDs: prompt, MaxTokens: 60, Sampling: moods["warm"], Seed: &seed, IgnoreEOS: true}
	check := func(t *testing.T, c *simnet.Cluster, l *simnet.Client, a *answer, epochs inference.Epoch, relayed bool) {
		t.Helper()
		a.want(t, 0, want)
		hops := a.routes[len(a.routes)-1].Hops
		if !hops[0].Direct || hops[1].Direct == relayed || !hops[2].Direct || a.epoch() > epochs {
			t.Errorf("route %s in epoch %d", a.routes[len(a.routes)-1], a.epoch())
		}
		if n := c.Node("c").Rows(); epochs == 1 && n != 100+59 {
			t.Errorf("the last hop computed %d rows", n)
		}
	}
	t.Run("by the client's wish", func(t *testing.T) {
		run(t, func(t *testing.T, c *simnet.Cluster) {
			l := chain(c)
			r := request
			r.Session.Relay = true
			a := ask(context.Background(), l.DistributedPipeline, r, nil)
			a.want(t, 0, want)
			if s := c.Node("a").Mux.Stats("b"); s.Out.Frames != 0 {
				t.Errorf("the nodes exchanged %d frames", s.Out.Frames)
			}
		})
	})
	for name, block := range map[string]func(c *simnet.Cluster){
		"a wall":  func(c *simnet.Cluster) { c.Wall("b", "c") },
		"a block": func(c *simnet.Cluster) { c.Block("b", "c") },
	} {
		t.Run(name+" from the start", func(t *testing.T) {
			run(t, func(t *testing.T, c *simnet.Cluster) {
				l := chain(c)
				block(c)
				check(t, c, l, ask(context.Background(), l.DistributedPipeline, request, nil), 1, true)
			})
		})
	}
	t.Run("broken in the middle of the prompt", func(t *testing.T) {
		run(t, func(t *testing.T, c *simnet.Cluster) {
			l := chain(c)
			onProgress(l, func(p wire.Progress) bool { return p.Hop == 1 && p.Sent == 3 }, func() { c.Block("b", "c") })
			c.Node("b").Slow(passTime, 0)
			check(t, c, l, ask(context.Background(), l.DistributedPipeline, request, nil), 2, true)
		})
	})
	t.Run("broken between tokens", func(t *testing.T) {
		run(t, func(t *testing.T, c *simnet.Cluster) {
			l := chain(c)
			a := ask(context.Background(), l.DistributedPipeline, request, func(a *answer, d pipeline.Delta) {
				if len(a.ids[0]) == 20 {
					c.Block("b", "c")
				}
			})
			check(t, c, l, a, 2, true)
			if gap := a.gap(); gap > 3*time.Second {
				t.Errorf("gap of %v", gap)
			}
			if n := c.Node("c").Rows(); n > 100+59+1 {
				t.Errorf("the last hop computed %d rows: its KV was not kept", n)
			}
		})
	})
	t.Run("silently swallowed between tokens", func(t *testing.T) {
		run(t, func(t *testing.T, c *simnet.Cluster) {
			l := chain(c)
			a := ask(context.Background(), l.DistributedPipeline, request, func(a *answer, d pipeline.Delta) {
				if len(a.ids[0]) == 20 {
					c.Swallow("b", "c")
				}
			})
			check(t, c, l, a, 2, true)
			if gap := a.gap(); gap > 4*time.Second {
				t.Errorf("gap of %v", gap)
			}
		})
	})
}

func TestEightRowsAreOneForwardPass(t *testing.T) {
	run(t, func(t *testing.T, c *simnet.Cluster) {
		c.Delay(oneWay)
		n := c.Add("a", 0, 6)
		l := c.Client("client", simnet.ClientOptions{})
		var sessions []*pipeline.Session
		for i := range 8 {
			s := open(t, l, pipeline.SessionOptions{})
			defer s.Close()
			step(t, s, nil, group(0, 0, tokens(i, 10+i)))
			sessions = append(sessions, s)
		}
		before := len(n.Passes())
		var wg sync.WaitGroup
		for i, s := range sessions {
			wg.Go(func() {
				got, err := s.Step(context.Background(), nil, []pipeline.Group{group(0, 10+i, tokens(20, 1))})
				if err != nil {
					t.Error(err)
					return
				}
				same(t, fmt.Sprint("session ", i), got[0].Data, rows(expect(t, inference.WireBF16, tokens(i, 10+i), tokens(20, 1)), 10+i, 11+i))
			})
		}
		// A pass that lasts lets the others gather behind it.
		n.Slow(10*time.Millisecond, 0)
		wg.Wait()
		passes := n.Passes()[before:]
		if len(passes) > 2 || passes[len(passes)-1].Rows < 7 {
			t.Errorf("8 sessions' rows took %d passes: %+v", len(passes), passes)
		}
		// Eight branches of one session are one step and one pass.
		s := sessions[0]
		var ops []wire.BranchOp
		var groups []pipeline.Group
		for b := range uint32(8) {
			if b > 0 {
				ops = append(ops, pipeline.Fork(0, 10, b))
			}
			groups = append(groups, group(b, 10, tokens(30+int(b), 1)))
		}
		before = len(n.Passes())
		got := step(t, s, ops, groups...)
		if passes := n.Passes()[before:]; len(passes) != 1 || passes[0].Rows != 8 || passes[0].Segments != 8 {
			t.Errorf("passes of 8 branches: %+v", passes)
		}
		for b, h := range got {
			same(t, fmt.Sprint("branch ", b), h.Data, rows(expect(t, inference.WireBF16, tokens(0, 10), tokens(30+b, 1)), 10, 11))
		}
	})
}

func TestChoicesShareTheWorkForThePrompt(t *testing.T) {
	run(t, func(t *testing.T, c *simnet.Cluster) {
		n := c.Add("a", 0, 6)
		l := c.Client("client", simnet.ClientOptions{})
		prompt := tokens(1, 50)
		a := ask(context.Background(), l.DistributedPipeline, pipeline.Request{IDs: prompt, MaxTokens: 20, N: 4, Sampling: moods["warm"], Seed: &seed, IgnoreEOS: true}, nil)
		for i := range 4 {
			a.want(t, i, tiny.Reference(t, inference.WireBF16).Generate(prompt, moods["warm"], uint32(i), 20))
		}
		if rows := n.Rows(); rows != 50+4*19 {
			t.Errorf("%d rows computed, want %d", rows, 50+4*19)
		}
		if passes := len(n.Passes()); passes != 1+19 {
			t.Errorf("%d passes, want 20", passes)
		}
	})
}
