package simnet_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/internal/simnet"
	"github.com/farlabs/inference/model"
	"github.com/farlabs/inference/pipeline"
	"github.com/farlabs/inference/pipeline/route"
	"github.com/farlabs/inference/pipeline/wire"
)

// onProgress sets f up to be called on the first progress for which when holds.
func onProgress(l *simnet.Client, when func(p wire.Progress) bool, f func()) {
	struck := false
	l.OnProgress(func(_ inference.SessionID, p wire.Progress) {
		if !struck && when(p) {
			struck = true
			f()
		}
	})
}

func TestLossWithoutASpareNamesTheMissingBlocks(t *testing.T) {
	for name, strike := range map[string]func(*simnet.Node){"killed": (*simnet.Node).Kill, "frozen": (*simnet.Node).Freeze, "leaving": (*simnet.Node).Leave} {
		t.Run(name, func(t *testing.T) {
			run(t, func(t *testing.T, c *simnet.Cluster) {
				c.Delay(oneWay)
				c.Add("a", 0, 2)
				b := c.Add("b", 2, 4)
				c.Add("c", 4, 6)
				l := c.Client("client", simnet.ClientOptions{})
				var struck time.Time
				r := pipeline.Request{IDs: tokens(1, 50), MaxTokens: 50, IgnoreEOS: true, Session: pipeline.SessionOptions{Timeout: 10 * time.Second}}
				a := ask(context.Background(), l.DistributedPipeline, r, func(a *answer, d pipeline.Delta) {
					if len(a.ids[0]) == 20 {
						struck = time.Now()
						strike(b)
					}
				})
				if !errors.Is(a.err, pipeline.ErrNoRoute) {
					t.Fatalf("error %v", a.err)
				}
				var missing *route.NoRouteError
				if !errors.As(a.err, &missing) || len(missing.Missing) != 1 || missing.Missing[0] != (inference.BlockRange{Start: 2, End: 4}) || !strings.Contains(a.err.Error(), "2:4") {
					t.Errorf("error %v", a.err)
				}
				var he *pipeline.HopError
				if !errors.As(a.err, &he) || he.Peer != "b" {
					t.Errorf("the error does not name the hop: %v", a.err)
				}
				if took := time.Since(struck); took < 10*time.Second || took > 11*time.Second {
					t.Errorf("the error came after %v", took)
				}
			})
		})
	}
}

func TestNobodyServesTheModel(t *testing.T) {
	run(t, func(t *testing.T, c *simnet.Cluster) {
		l := c.Client("client", simnet.ClientOptions{Defaults: pipeline.SessionOptions{Timeout: 5 * time.Second}})
		a := ask(context.Background(), l.DistributedPipeline, pipeline.Request{IDs: tokens(1, 5), MaxTokens: 1}, nil)
		if !errors.Is(a.err, pipeline.ErrNoRoute) || !strings.Contains(a.err.Error(), "0:6") {
			t.Errorf("error %v", a.err)
		}
	})
}

func TestSpareThatJoinsInTimeTakesOver(t *testing.T) {
	want := tiny.Reference(t, inference.WireBF16).Generate(tokens(1, 50), moods["warm"], 0, 60)
	run(t, func(t *testing.T, c *simnet.Cluster) {
		c.Delay(oneWay)
		c.Add("a", 0, 2)
		b := c.Add("b", 2, 4)
		c.Add("c", 4, 6)
		l := c.Client("client", simnet.ClientOptions{})
		var joined, went time.Time
		r := pipeline.Request{IDs: tokens(1, 50), MaxTokens: 60, IgnoreEOS: true, Sampling: moods["warm"], Seed: &seed}
		a := ask(context.Background(), l.DistributedPipeline, r, func(a *answer, d pipeline.Delta) {
			switch len(a.ids[0]) {
			case 20:
				b.Kill()
				time.AfterFunc(12*time.Second, func() {
					joined = time.Now()
					c.Add("d", 2, 4)
				})
			case 21:
				went = time.Now()
			}
		})
		a.want(t, 0, want)
		if took := went.Sub(joined); took > time.Second {
			t.Errorf("it went on %v after the spare had joined", took)
		}
	})
}

func TestLostHopIsReplacedByTwoSmallerSpans(t *testing.T) {
	want := tiny.Reference(t, inference.WireBF16).Generate(tokens(1, 50), moods["warm"], 0, 60)
	run(t, func(t *testing.T, c *simnet.Cluster) {
		c.Delay(oneWay)
		c.Add("a", 0, 1)
		b := c.Add("b", 1, 5)
		last := c.Add("c", 5, 6)
		l := c.Client("client", simnet.ClientOptions{})
		r := pipeline.Request{IDs: tokens(1, 50), MaxTokens: 60, IgnoreEOS: true, Sampling: moods["warm"], Seed: &seed}
		a := ask(context.Background(), l.DistributedPipeline, r, func(a *answer, d pipeline.Delta) {
			if len(a.ids[0]) == 20 {
				c.Add("d", 0, 3)
				c.Add("e", 2, 6)
				b.Kill()
			}
		})
		a.want(t, 0, want)
		hops := a.routes[len(a.routes)-1].Hops
		if len(hops) != 4 || hops[3].Peer != "c" {
			t.Fatalf("route %s", a.routes[len(a.routes)-1])
		}
		if n := last.Rows(); n != 50+59 {
			t.Errorf("the hop that stayed computed %d rows, want %d", n, 50+59)
		}
	})
}

func TestSecondLossDuringTheReplay(t *testing.T) {
	for hop := range 3 {
		want := tiny.Reference(t, inference.WireBF16).Generate(tokens(1, 90), moods["warm"], 0, 60)
		run(t, func(t *testing.T, c *simnet.Cluster) {
			thirds(c)
			for _, id := range []inference.PeerID{`a"`, `b"`, `c"`} {
				i := int(id[0] - 'a')
				c.Add(id, 2*i, 2*i+2).Slow(passTime, rowTime)
			}
			l := c.Client("client", simnet.ClientOptions{Defaults: pipeline.SessionOptions{Chunk: 16}})
			second := false
			l.OnProgress(func(id inference.SessionID, p wire.Progress) {
				// The replacement, or another hop that takes part in the replay, of 7 steps.
				if p.Epoch == 2 && p.Hop == 1 && p.Started == 3 && !second {
					second = true
					for _, peer := range []inference.PeerID{"b", "b'", `b"`} {
						if n := c.Node(peer); !n.Dead() && n.Stage.Load().Sessions > 0 {
							n.Kill()
						}
					}
				}
			})
			v := &victim{c: c, l: l, hop: 1, stop: (*simnet.Node).Kill}
			r := pipeline.Request{IDs: tokens(1, 90), MaxTokens: 60, IgnoreEOS: true, Sampling: moods["warm"], Seed: &seed}
			a := ask(context.Background(), l.DistributedPipeline, r, func(a *answer, d pipeline.Delta) {
				if len(a.ids[0]) == 20 {
					v.strike()
				}
			})
			a.want(t, 0, want)
			if !second || a.epoch() < 3 {
				t.Errorf("hop %d: epoch %d, struck twice: %v", hop, a.epoch(), second)
			}
			if gap := a.gap(); gap > 4*time.Second {
				t.Errorf("gap of %v", gap)
			}
		})
	}
}

func TestLossWithARollbackPending(t *testing.T) {
	for hop := range 3 {
		for _, truncate := range []bool{true, false} {
			run(t, func(t *testing.T, c *simnet.Cluster) {
				thirds(c)
				l := c.Client("client", simnet.ClientOptions{})
				s := open(t, l, pipeline.SessionOptions{})
				defer s.Close()
				a, x, y := tokens(1, 60), tokens(2, 12), tokens(3, 20)
				step(t, s, nil, group(0, 0, a))
				if truncate {
					if err := s.Truncate(0, 45); err != nil {
						t.Fatal(err)
					}
				}
				// The hop dies with the step that rolls back.
				v := &victim{c: c, l: l, hop: hop, stop: (*simnet.Node).Kill}
				onProgress(l, func(p wire.Progress) bool { return int(p.Hop) == hop && p.Started == 2 }, v.strike)
				got := step(t, s, nil, group(0, 45, x))
				same(t, "redone", got[0].Data, rows(expect(t, inference.WireBF16, a[:45], x), 45, 57))
				got = step(t, s, nil, group(0, 57, y))
				same(t, "after that", got[0].Data, rows(expect(t, inference.WireBF16, a[:45], x, y), 57, 77))
				if v.node == nil || s.Epoch() < 2 {
					t.Error("nobody was struck")
				}
			})
		}
	}
}

func TestHopThatIsNoLongerNeededIsTold(t *testing.T) {
	run(t, func(t *testing.T, c *simnet.Cluster) {
		c.Delay(oneWay)
		c.Add("a", 0, 3)
		b := c.Add("b", 3, 6)
		told := map[inference.PeerID]inference.Outcome{}
		note := func(to inference.PeerID, f *wire.Frame) []*wire.Frame {
			if m, ok := f.Message.(*wire.Close); ok {
				told[to] = m.Outcome
			}
			return []*wire.Frame{f}
		}
		l := c.Client("client", simnet.ClientOptions{Links: func(l pipeline.Links) pipeline.Links { return &tap{l, note} }})
		s := open(t, l, pipeline.SessionOptions{})
		defer s.Close()
		a, x := tokens(1, 40), tokens(2, 8)
		step(t, s, nil, group(0, 0, a))
		c.Add("w", 0, 6)
		b.Fail(func(model.Pass) error { b.Kill(); return nil })
		got := step(t, s, []wire.BranchOp{pipeline.Fork(0, 40, 1)}, group(1, 40, x))
		same(t, "branch 1", got[0].Data, rows(expect(t, inference.WireBF16, a, x), 40, 48))
		time.Sleep(time.Second)
		// Nobody else has blocks 3:6 alone, so the other hop may go as well.
		for _, h := range s.Route().Hops {
			if h.Peer == "a" {
				return
			}
		}
		if l := c.Node("a").Stage.Load(); l.Sessions != 0 {
			t.Errorf("hop a: load %+v", l)
		}
		if told["a"] != inference.OutcomeOK || told["b"] != inference.OutcomeNodeFault {
			t.Errorf("outcomes that the hops were told: %v", told)
		}
	})
}

func TestLeavingNodeHandsItsSessionsOverAtOnce(t *testing.T) {
	want := tiny.Reference(t, inference.WireBF16).Generate(tokens(1, 50), moods["greedy"], 0, 60)
	for hop := range 3 {
		run(t, func(t *testing.T, c *simnet.Cluster) {
			thirds(c)
			l := c.Client("client", simnet.ClientOptions{})
			v := &victim{c: c, l: l, hop: hop, stop: (*simnet.Node).Leave}
			r := pipeline.Request{IDs: tokens(1, 50), MaxTokens: 60, IgnoreEOS: true}
			a := ask(context.Background(), l.DistributedPipeline, r, func(a *answer, d pipeline.Delta) {
				if len(a.ids[0]) == 20 {
					v.strike()
				}
			})
			a.want(t, 0, want)
			if gap := a.gap(); gap > time.Second {
				t.Errorf("gap of %v", gap)
			}
		})
	}
}

func TestRestartedNodeIsFoundOut(t *testing.T) {
	want := tiny.Reference(t, inference.WireBF16).Generate(tokens(1, 50), moods["greedy"], 0, 40)
	run(t, func(t *testing.T, c *simnet.Cluster) {
		c.Delay(oneWay)
		c.Add("a", 0, 3)
		b := c.Add("b", 3, 6)
		l := c.Client("client", simnet.ClientOptions{})
		r := pipeline.Request{IDs: tokens(1, 50), MaxTokens: 40, IgnoreEOS: true}
		a := ask(context.Background(), l.DistributedPipeline, r, func(a *answer, d pipeline.Delta) {
			if len(a.ids[0]) == 20 {
				b.Kill()
				b = c.Add("b", 3, 6)
			}
		})
		a.want(t, 0, want)
		if gap := a.gap(); gap > 2*time.Second {
			t.Errorf("gap of %v", gap)
		}
	})
}
