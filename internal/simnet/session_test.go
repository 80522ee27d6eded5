package simnet_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/internal/simnet"
	"github.com/farlabs/inference/model"
	"github.com/farlabs/inference/pipeline"
	"github.com/farlabs/inference/pipeline/wire"
)

// open opens a session of the client.
func open(t *testing.T, l *simnet.Client, o pipeline.SessionOptions) *pipeline.Session {
	t.Helper()
	s, err := l.Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// group is positions start… of a branch, of which all rows are wanted.
func group(branch uint32, start int, ids []inference.TokenID) pipeline.Group {
	return pipeline.Group{Branch: branch, Start: start, IDs: ids, Want: wire.WantAll, Line: inference.LinePrefill}
}

// step demands that a step succeeds.
func step(t *testing.T, s *pipeline.Session, ops []wire.BranchOp, groups ...pipeline.Group) []pipeline.Hidden {
	t.Helper()
	h, err := s.Step(context.Background(), ops, groups)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// same demands that got equals want bit for bit.
func same(t *testing.T, what string, got, want []float32) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d values, want %d", what, len(got), len(want))
	}
	for i := range got {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
			t.Fatalf("%s: value %d of row %d is %g, want %g", what, i%d, i/d, got[i], want[i])
		}
	}
}

// expect returns the hidden states of ids, computed afresh.
func expect(t *testing.T, dtype inference.WireDType, ids ...[]inference.TokenID) []float32 {
	t.Helper()
	b := tiny.Reference(t, dtype).NewBranch()
	defer b.Release()
	var all []inference.TokenID
	for _, p := range ids {
		all = append(all, p...)
	}
	return b.Append(all)
}

func rows(x []float32, lo, hi int) []float32 { return x[lo*d : hi*d] }

func TestChunkOfOneTakesAPromptOfAnyLength(t *testing.T) {
	run(t, func(t *testing.T, c *simnet.Cluster) {
		c.Add("a", 0, 3)
		c.Add("b", 3, 6).Slow(time.Millisecond, 0)
		l := c.Client("client", simnet.ClientOptions{})
		s := open(t, l, pipeline.SessionOptions{Chunk: 1})
		defer s.Close()
		ids := tokens(2, 560)
		got := step(t, s, nil, group(0, 0, ids))
		same(t, "hidden", got[0].Data, expect(t, inference.WireBF16, ids))
	})
}

func TestForkPendingWhenAHopIsLost(t *testing.T) {
	for hop := range 3 {
		t.Run(fmt.Sprint(hop), func(t *testing.T) {
			run(t, func(t *testing.T, c *simnet.Cluster) {
				thirds(c)
				l := c.Client("client", simnet.ClientOptions{})
				s := open(t, l, pipeline.SessionOptions{})
				defer s.Close()
				a, b, x := tokens(1, 40), tokens(2, 5), tokens(3, 7)
				step(t, s, nil, group(0, 0, a))
				v := &victim{c: c, l: l, hop: hop, stop: (*simnet.Node).Kill}
				l.OnProgress(func(_ inference.SessionID, p wire.Progress) {
					if int(p.Hop) == hop && p.Started == 2 {
						v.strike()
					}
				})
				got := step(t, s, []wire.BranchOp{pipeline.Fork(0, 30, 1)}, group(0, 40, x), group(1, 30, b))
				if v.node == nil || s.Epoch() < 2 {
					t.Fatal("nobody was struck")
				}
				same(t, "branch 0", got[0].Data, rows(expect(t, inference.WireBF16, a, x), 40, 47))
				same(t, "branch 1", got[1].Data, rows(expect(t, inference.WireBF16, a[:30], b), 30, 35))
			})
		})
	}
}

func TestDroppedFirstBranchDoesNotCountWhenRestored(t *testing.T) {
	run(t, func(t *testing.T, c *simnet.Cluster) {
		thirds(c)
		l := c.Client("client", simnet.ClientOptions{})
		s := open(t, l, pipeline.SessionOptions{MaxBranches: 2})
		defer s.Close()
		a := tokens(1, 20)
		step(t, s, nil, group(0, 0, a))
		step(t, s, []wire.BranchOp{pipeline.Fork(0, 20, 1), pipeline.Drop(0), pipeline.Fork(1, 10, 2)}, group(2, 10, a[:3]))
		c.Node(l.Routes()[0].Hops[1].Peer).Kill()
		got := step(t, s, nil, group(1, 20, a[:5]), group(2, 13, a[:5]))
		same(t, "branch 1", got[0].Data, rows(expect(t, inference.WireBF16, a, a[:5]), 20, 25))
		same(t, "branch 2", got[1].Data, rows(expect(t, inference.WireBF16, a[:10], a[:3], a[:5]), 13, 18))
	})
}

func TestStepCanBeTriedAgainAfterItsCallerGaveUp(t *testing.T) {
	a, x := tokens(1, 30), tokens(2, 6)
	within := func(s *pipeline.Session, d time.Duration, ops []wire.BranchOp, g ...pipeline.Group) error {
		ctx, cancel := context.WithTimeout(context.Background(), d)
		defer cancel()
		_, err := s.Step(ctx, ops, g)
		return err
	}
	for _, d := range []time.Duration{time.Millisecond, 7 * time.Millisecond, 20 * time.Millisecond, 60 * time.Millisecond, 75 * time.Millisecond} {
		t.Run(d.String(), func(t *testing.T) {
			run(t, func(t *testing.T, c *simnet.Cluster) {
				thirds(c)
				l := c.Client("client", simnet.ClientOptions{})
				s := open(t, l, pipeline.SessionOptions{})
				defer s.Close()
				if err := within(s, d, nil, group(0, 0, a)); !errors.Is(err, context.DeadlineExceeded) {
					t.Fatalf("error %v", err)
				}
				got := step(t, s, nil, group(0, 0, a))
				same(t, "branch 0", got[0].Data, expect(t, inference.WireBF16, a))
				if err := within(s, d, []wire.BranchOp{pipeline.Fork(0, 30, 1)}, group(1, 30, x)); !errors.Is(err, context.DeadlineExceeded) {
					t.Fatalf("error %v", err)
				}
				got = step(t, s, []wire.BranchOp{pipeline.Fork(0, 25, 1)}, group(1, 25, x))
				same(t, "branch 1", got[0].Data, rows(expect(t, inference.WireBF16, a[:25], x), 25, 31))
				got = step(t, s, nil, group(0, 30, x))
				same(t, "branch 0", got[0].Data, rows(expect(t, inference.WireBF16, a, x), 30, 36))
			})
		})
	}
}

func TestRollbackThatWasCutOffChangesNothing(t *testing.T) {
	a, x, y := tokens(1, 40), tokens(2, 20), tokens(3, 5)
	for _, d := range []time.Duration{7 * time.Millisecond, 40 * time.Millisecond, 75 * time.Millisecond, 90 * time.Millisecond} {
		t.Run(d.String(), func(t *testing.T) {
			run(t, func(t *testing.T, c *simnet.Cluster) {
				thirds(c)
				l := c.Client("client", simnet.ClientOptions{})
				s := open(t, l, pipeline.SessionOptions{})
				defer s.Close()
				step(t, s, nil, group(0, 0, a))
				ctx, cancel := context.WithTimeout(context.Background(), d)
				defer cancel()
				if _, err := s.Step(ctx, nil, []pipeline.Group{group(0, 20, x)}); !errors.Is(err, context.DeadlineExceeded) {
					t.Fatalf("error %v", err)
				}
				got := step(t, s, nil, group(0, 40, y))
				same(t, "the old branch", got[0].Data, rows(expect(t, inference.WireBF16, a, y), 40, 45))
			})
		})
	}
}

func TestCloseEndsAStepThatWaits(t *testing.T) {
	for _, d := range []time.Duration{0, time.Millisecond, 7 * time.Millisecond, 60 * time.Millisecond} {
		t.Run(d.String(), func(t *testing.T) {
			run(t, func(t *testing.T, c *simnet.Cluster) {
				thirds(c)
				l := c.Client("client", simnet.ClientOptions{})
				s := open(t, l, pipeline.SessionOptions{})
				done := make(chan error)
				start := time.Now()
				go func() {
					_, err := s.Step(context.Background(), nil, []pipeline.Group{group(0, 0, tokens(1, 30))})
					done <- err
				}()
				time.Sleep(d)
				s.Close()
				if err := <-done; !errors.Is(err, pipeline.ErrClosed) {
					t.Errorf("error %v", err)
				}
				if took := time.Since(start) - d; took > 0 {
					t.Errorf("it took %v to come back", took)
				}
				if _, err := s.Step(context.Background(), nil, []pipeline.Group{group(0, 0, tokens(1, 3))}); !errors.Is(err, pipeline.ErrClosed) {
					t.Errorf("step of a closed session: %v", err)
				}
			})
		})
	}
}

func TestCloseEndsTheWaitForARoute(t *testing.T) {
	run(t, func(t *testing.T, c *simnet.Cluster) {
		c.Add("a", 0, 3)
		s := open(t, c.Client("client", simnet.ClientOptions{}), pipeline.SessionOptions{})
		time.AfterFunc(7*time.Second, func() { s.Close() })
		start := time.Now()
		_, err := s.Step(context.Background(), nil, []pipeline.Group{group(0, 0, tokens(1, 30))})
		if !errors.Is(err, pipeline.ErrClosed) || time.Since(start) != 7*time.Second {
			t.Errorf("error %v after %v", err, time.Since(start))
		}
	})
}

func TestRollbackAndRedoEqualAFreshRun(t *testing.T) {
	run(t, func(t *testing.T, c *simnet.Cluster) {
		thirds(c)
		l := c.Client("client", simnet.ClientOptions{})
		s := open(t, l, pipeline.SessionOptions{Wire: inference.WireF32})
		defer s.Close()
		a := tokens(1, 80)
		want := expect(t, inference.WireF32, a)
		same(t, "first", step(t, s, nil, group(0, 0, a))[0].Data, want)
		for _, at := range []int{79, 64, 33, 16, 1, 0} {
			step(t, s, nil, group(0, at, tokens(9, 10))) // a draft that is rejected
			same(t, fmt.Sprint("redone from ", at), step(t, s, nil, group(0, at, a[at:]))[0].Data, rows(want, at, 80))
		}
		if s.Epoch() != 1 {
			t.Errorf("epoch %d", s.Epoch())
		}
	})
}

func TestOnlyNodeOfSomeBlocksMayLoseItsConnection(t *testing.T) {
	run(t, func(t *testing.T, c *simnet.Cluster) {
		c.Delay(oneWay)
		c.Add("a", 0, 3)
		c.Add("b", 3, 6)
		l := c.Client("client", simnet.ClientOptions{})
		s := open(t, l, pipeline.SessionOptions{})
		defer s.Close()
		a, x := tokens(1, 40), tokens(2, 8)
		step(t, s, nil, group(0, 0, a))
		for i, p := range []inference.PeerID{"a", "b"} {
			c.Break("client", p)
			start := time.Now()
			got := step(t, s, nil, group(0, 40, x))
			same(t, "after a broken link", got[0].Data, rows(expect(t, inference.WireBF16, a, x), 40, 48))
			if took := time.Since(start); took > 2*time.Second {
				t.Errorf("%d: %v until it went on", i, took)
			}
		}
		if rows := c.Node("b").Rows(); rows > 48+8+56 {
			t.Errorf("the last hop computed %d rows", rows)
		}
	})
}

func TestFrozenHopIsFoundWhileOthersAreBusy(t *testing.T) {
	run(t, func(t *testing.T, c *simnet.Cluster) {
		c.Delay(oneWay)
		c.Add("a", 0, 2).Slow(90*time.Millisecond, 0) // chatty for nine seconds
		c.Add("b", 2, 6)
		c.Add("b'", 2, 6)
		l := c.Client("client", simnet.ClientOptions{})
		s := open(t, l, pipeline.SessionOptions{Chunk: 3})
		defer s.Close()
		ids := tokens(1, 300)
		var frozen time.Time
		l.OnProgress(func(_ inference.SessionID, p wire.Progress) {
			if p.Hop == 1 && p.Started >= 3 && frozen.IsZero() {
				frozen = time.Now()
				c.Node(l.Routes()[0].Hops[1].Peer).Freeze()
			}
			if p.Epoch == 2 && p.Hop == 1 && p.Started == 1 {
				if took := time.Since(frozen); took > 3200*time.Millisecond {
					t.Errorf("the hop was replaced after %v", took)
				}
			}
		})
		got := step(t, s, nil, group(0, 0, ids))
		same(t, "hidden", got[0].Data, expect(t, inference.WireBF16, ids))
		if s.Epoch() != 2 {
			t.Errorf("epoch %d", s.Epoch())
		}
	})
}

func TestSeveralHopsAreLostAtOnce(t *testing.T) {
	run(t, func(t *testing.T, c *simnet.Cluster) {
		thirds(c)
		l := c.Client("client", simnet.ClientOptions{})
		s := open(t, l, pipeline.SessionOptions{})
		defer s.Close()
		a, x := tokens(1, 60), tokens(2, 8)
		step(t, s, nil, group(0, 0, a))
		hops := l.Routes()[0].Hops
		c.Node(hops[0].Peer).Kill()
		c.Node(hops[1].Peer).Kill()
		time.Sleep(time.Millisecond)
		got := step(t, s, nil, group(0, 60, x))
		same(t, "hidden", got[0].Data, rows(expect(t, inference.WireBF16, a, x), 60, 68))
		if r := s.Route(); r.Epoch != 2 || r.Hops[2].Peer != hops[2].Peer {
			t.Errorf("route %d %s; the last hop need not move, and one new epoch does", r.Epoch, r)
		}
		if n := c.Node(hops[2].Peer).Rows(); n != 68 {
			t.Errorf("the hop that stayed computed %d rows, want 68", n)
		}
	})
}

func TestHopThatFailsEveryTimeDoesNotKeepASessionForever(t *testing.T) {
	run(t, func(t *testing.T, c *simnet.Cluster) {
		thirds(c)
		for _, id := range []inference.PeerID{"c", "c'"} {
			c.Node(id).Fail(func(p model.Pass) error {
				if p.Segments[0].Start >= 30 {
					return errors.New("broken")
				}
				return nil
			})
		}
		l := c.Client("client", simnet.ClientOptions{})
		s := open(t, l, pipeline.SessionOptions{})
		defer s.Close()
		step(t, s, nil, group(0, 0, tokens(1, 30)))
		start := time.Now()
		_, err := s.Step(context.Background(), nil, []pipeline.Group{group(0, 30, tokens(1, 3))})
		var he *pipeline.HopError
		if !errors.As(err, &he) || !strings.Contains(err.Error(), "internal error") {
			t.Errorf("error %v", err)
		}
		if took := time.Since(start); took > 2*time.Minute {
			t.Errorf("it took %v to give up", took)
		}
	})
}
