package simnet_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/internal/simnet"
	"github.com/farlabs/inference/pipeline"
)

// A hop that computes for longer than the timeout is not a hop that stands.
func TestSlowHopIsWaitedFor(t *testing.T) {
	run(t, func(t *testing.T, c *simnet.Cluster) {
		c.Delay(oneWay)
		c.Add("a", 0, 2)
		slow := c.AddWith("b", 2, 4, simnet.NodeOptions{Record: func(r *inference.NodeRecord) { r.Rates.Prefill = 100 }})
		c.Add("c", 4, 6)
		slow.Slow(8*time.Second, 0)
		l := c.Client("client", simnet.ClientOptions{Defaults: pipeline.SessionOptions{Timeout: 5 * time.Second, Chunk: 16}})
		s := open(t, l, pipeline.SessionOptions{})
		defer s.Close()
		ids := tokens(1, 60)
		got := step(t, s, nil, group(0, 0, ids))
		same(t, "hidden", got[0].Data, expect(t, inference.WireBF16, ids))
		if s.Epoch() != 1 {
			t.Errorf("epoch %d", s.Epoch())
		}
	})
}

// What a fast hop holds because the next one is slow is not its own delay.
func TestFastHopIsNotBlamedForTheNextOne(t *testing.T) {
	run(t, func(t *testing.T, c *simnet.Cluster) {
		c.Delay(oneWay)
		c.AddWith("a", 0, 2, simnet.NodeOptions{Record: func(r *inference.NodeRecord) { r.Rates.Prefill = 0.01 }})
		slow := c.AddWith("b", 2, 6, simnet.NodeOptions{Record: func(r *inference.NodeRecord) { r.Rates.Prefill = 50 }})
		slow.Slow(9*time.Second, 0)
		l := c.Client("client", simnet.ClientOptions{})
		s := open(t, l, pipeline.SessionOptions{Chunk: 10, Timeout: 20 * time.Second})
		defer s.Close()
		ids := tokens(1, 100)
		got := step(t, s, nil, group(0, 0, ids))
		same(t, "hidden", got[0].Data, expect(t, inference.WireBF16, ids))
		if s.Epoch() != 1 {
			t.Errorf("epoch %d", s.Epoch())
		}
	})
}

// A pass that never ends is given up, however long the node said it would take.
func TestPassWithoutEndIsGivenUp(t *testing.T) {
	run(t, func(t *testing.T, c *simnet.Cluster) {
		c.Delay(oneWay)
		c.AddWith("a", 0, 6, simnet.NodeOptions{Record: func(r *inference.NodeRecord) { r.Rates.Prefill = 1e12 }}).Slow(time.Hour, 0)
		l := c.Client("client", simnet.ClientOptions{})
		start := time.Now()
		a := ask(context.Background(), l.DistributedPipeline, pipeline.Request{IDs: tokens(1, 10), MaxTokens: 2, IgnoreEOS: true}, nil)
		var he *pipeline.HopError
		if !errors.As(a.err, &he) || he.Kind != pipeline.FailStalled {
			t.Errorf("error %v", a.err)
		}
		if took := time.Since(start); took > 10*time.Minute {
			t.Errorf("it took %v", took)
		}
		time.Sleep(2 * time.Hour)
	})
}

// Nobody's clock counts while the reader of an answer takes its time.
func TestReaderMayTakeItsTime(t *testing.T) {
	want := tiny.Reference(t, inference.WireBF16).Generate(tokens(1, 30), moods["greedy"], 0, 10)
	run(t, func(t *testing.T, c *simnet.Cluster) {
		thirds(c)
		l := c.Client("client", simnet.ClientOptions{})
		a := ask(context.Background(), l.DistributedPipeline, pipeline.Request{IDs: tokens(1, 30), MaxTokens: 10, IgnoreEOS: true}, func(a *answer, d pipeline.Delta) {
			time.Sleep(time.Minute)
		})
		a.want(t, 0, want)
		if a.epoch() != 1 {
			t.Errorf("epoch %d", a.epoch())
		}
	})
}
