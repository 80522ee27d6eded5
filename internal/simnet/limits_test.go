package simnet_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/internal/simnet"
	"github.com/farlabs/inference/pipeline"
	"github.com/farlabs/inference/pipeline/stage"
)

func TestSessionOutlivesItsDeadlineAtThePeers(t *testing.T) {
	for name, change := range map[string]func(o *pipeline.SessionOptions, s *stage.Config){
		"lifetime": func(o *pipeline.SessionOptions, _ *stage.Config) { o.Lifetime = 20 * time.Second },
		"idle":     func(_ *pipeline.SessionOptions, s *stage.Config) { s.Limits.Idle = 20 * time.Second },
	} {
		t.Run(name, func(t *testing.T) {
			run(t, func(t *testing.T, c *simnet.Cluster) {
				c.Delay(oneWay)
				var o pipeline.SessionOptions
				for i, id := range []inference.PeerID{"a", "b", "c"} {
					c.AddWith(id, 2*i, 2*i+2, simnet.NodeOptions{Stage: func(s *stage.Config) { change(&o, s) }})
				}
				l := c.Client("client", simnet.ClientOptions{})
				s := open(t, l, o)
				defer s.Close()
				a, x := tokens(1, 50), tokens(2, 5)
				step(t, s, nil, group(0, 0, a))
				time.Sleep(30 * time.Second)
				if load := c.Node("b").Stage.Load(); load.Sessions != 0 {
					t.Errorf("load %+v after the deadline", load)
				}
				start := time.Now()
				got := step(t, s, nil, group(0, 50, x))
				same(t, "after the deadline", got[0].Data, rows(expect(t, inference.WireBF16, a, x), 50, 55))
				if took := time.Since(start); took > time.Second {
					t.Errorf("it took %v", took)
				}
			})
		})
	}
}

func TestFullNodeIsBusy(t *testing.T) {
	run(t, func(t *testing.T, c *simnet.Cluster) {
		c.Delay(oneWay)
		c.AddWith("a", 0, 6, simnet.NodeOptions{Stage: func(s *stage.Config) { s.Limits.MaxSessions = 1 }})
		l := c.Client("client", simnet.ClientOptions{})
		s := open(t, l, pipeline.SessionOptions{})
		step(t, s, nil, group(0, 0, tokens(1, 5)))
		// One that does not want to wait for long is told to come again.
		a := ask(context.Background(), l.DistributedPipeline, pipeline.Request{IDs: tokens(1, 5), MaxTokens: 2, Session: pipeline.SessionOptions{Timeout: 3 * time.Second}}, nil)
		var b *pipeline.BusyError
		if !errors.Is(a.err, pipeline.ErrBusy) || !errors.As(a.err, &b) || b.RetryAfter <= 0 {
			t.Errorf("error %v", a.err)
		}
		// One that waits gets its turn.
		time.AfterFunc(5*time.Second, func() { s.Close() })
		timed(t, l)
	})
}

func TestNodeOutOfPagesIsBusy(t *testing.T) {
	run(t, func(t *testing.T, c *simnet.Cluster) {
		c.Delay(oneWay)
		n := c.Add("probe", 0, 6)
		page := n.Cache.PageBytes()
		n.Kill()
		c.AddWith("a", 0, 6, simnet.NodeOptions{KVBytes: page * 6 * 10}) // 160 positions
		l := c.Client("client", simnet.ClientOptions{Defaults: pipeline.SessionOptions{Timeout: 5 * time.Second}})
		s := open(t, l, pipeline.SessionOptions{})
		step(t, s, nil, group(0, 0, tokens(1, 100)))
		a := ask(context.Background(), l.DistributedPipeline, pipeline.Request{IDs: tokens(1, 100), MaxTokens: 2}, nil)
		if !errors.Is(a.err, pipeline.ErrBusy) {
			t.Errorf("error %v", a.err)
		}
		s.Close()
		timed(t, l)
	})
}
