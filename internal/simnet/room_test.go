package simnet_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/internal/simnet"
	"github.com/farlabs/inference/model"
	"github.com/farlabs/inference/pipeline"
)

// kv are the bytes that so many positions of some blocks take.
func kv(positions, blocks int) int64 {
	return int64(positions/model.PagePositions*blocks) * model.PageBytes(tiny.Ends.Spec(), inference.DefaultKV)
}

func greedy(t *testing.T, prompt []inference.TokenID, n int) []inference.TokenID {
	return tiny.Reference(t, inference.WireBF16).Generate(prompt, moods["greedy"], 0, n)
}

// silent is the record of a node that does not tell how large its cache is.
func silent(r *inference.NodeRecord) { r.Memory = 0 }

// judged counts what a client holds against its peers.
type judged struct {
	mu    sync.Mutex
	kinds []pipeline.FailureKind
}

func (*judged) Score(inference.PeerID) float64                                 { return 0.8 }
func (*judged) Observed(inference.PeerID) inference.Rates                      { return inference.Rates{} }
func (*judged) Served(inference.PeerID, inference.Line, uint64, time.Duration) {}
func (j *judged) Failed(_ inference.PeerID, k pipeline.FailureKind) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.kinds = append(j.kinds, k)
}

func TestSessionThatFillsAllNodesEndsWithWhatItHas(t *testing.T) {
	for name, record := range map[string]func(*inference.NodeRecord){"announced": nil, "silent": silent} {
		t.Run(name, func(t *testing.T) {
			run(t, func(t *testing.T, c *simnet.Cluster) {
				c.Delay(oneWay)
				n := c.AddWith("a", 0, 6, simnet.NodeOptions{KVBytes: kv(160, 6), Record: record})
				j := &judged{}
				l := c.Client("client", simnet.ClientOptions{Scores: j})
				ids := tokens(1, 100)
				start := time.Now()
				a := ask(context.Background(), l.DistributedPipeline, pipeline.Request{IDs: ids, MaxTokens: 200, IgnoreEOS: true}, nil)
				var small *pipeline.RoomError
				if !errors.Is(a.err, pipeline.ErrNoRoom) || !errors.As(a.err, &small) || small.Needed != 176 || small.Holds != 160 {
					t.Errorf("error %v", a.err)
				}
				if !strings.Contains(fmt.Sprint(a.err), "no room for 176 positions") {
					t.Errorf("error %v", a.err)
				}
				if want := greedy(t, ids, 61); fmt.Sprint(a.ids[0]) != fmt.Sprint(want) {
					t.Errorf("it got %d tokens\n%v\nwant\n%v", len(a.ids[0]), a.ids[0], want)
				}
				if took := time.Since(start); took > 3*time.Second {
					t.Errorf("it took %v", took)
				}
				if got := n.Rows(); got != 160 {
					t.Errorf("the node computed %d positions, it has room for 160", got)
				}
				if len(j.kinds) != 0 {
					t.Errorf("the node is blamed: %v", j.kinds)
				}
				timed(t, l) // the node is as good as new
			})
		})
	}
}

func TestPromptThatFitsNoNodeIsRefusedAtOnce(t *testing.T) {
	for name, record := range map[string]func(*inference.NodeRecord){"announced": nil, "silent": silent} {
		t.Run(name, func(t *testing.T) {
			run(t, func(t *testing.T, c *simnet.Cluster) {
				c.Delay(oneWay)
				n := c.AddWith("a", 0, 6, simnet.NodeOptions{KVBytes: kv(160, 6), Record: record})
				l := c.Client("client", simnet.ClientOptions{})
				start := time.Now()
				a := ask(context.Background(), l.DistributedPipeline, pipeline.Request{IDs: tokens(1, 1000), MaxTokens: 2}, nil)
				if !errors.Is(a.err, pipeline.ErrNoRoom) {
					t.Errorf("error %v", a.err)
				}
				if took := time.Since(start); took > time.Second {
					t.Errorf("it took %v", took)
				}
				if most := map[string]int{"announced": 0, "silent": 0}[name]; n.Rows() > most {
					t.Errorf("the node computed %d positions", n.Rows())
				}
			})
		})
	}
}

func TestSessionThatOutgrowsANodeMovesToOneWithRoom(t *testing.T) {
	run(t, func(t *testing.T, c *simnet.Cluster) {
		c.Delay(oneWay)
		rates := func(ms float64) func(*inference.NodeRecord) {
			return func(r *inference.NodeRecord) {
				r.Memory = 0
				r.Rates = inference.Rates{Decode: ms, Prefill: ms}
			}
		}
		c.AddWith("small", 0, 6, simnet.NodeOptions{KVBytes: kv(160, 6), Record: rates(1)})
		c.AddWith("large", 0, 6, simnet.NodeOptions{Record: rates(50)})
		s := open(t, c.Client("client", simnet.ClientOptions{}), pipeline.SessionOptions{ExpectLength: 100})
		defer s.Close()
		a, b := tokens(1, 100), tokens(2, 100)
		step(t, s, nil, group(0, 0, a))
		if r := s.Route(); len(r.Hops) != 1 || r.Hops[0].Peer != "small" {
			t.Errorf("first route %v", r)
		}
		start := time.Now()
		got := step(t, s, nil, group(0, 100, b))
		same(t, "beyond the small node", got[0].Data, rows(expect(t, inference.WireBF16, a, b), 100, 200))
		if r := s.Route(); r.Hops[len(r.Hops)-1].Peer != "large" || r.Epoch > 4 {
			t.Errorf("then %v", r)
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

func TestTwoNodesThatAreTooSmallShareTheBlocks(t *testing.T) {
	run(t, func(t *testing.T, c *simnet.Cluster) {
		c.Delay(oneWay)
		for _, id := range []inference.PeerID{"a", "b"} {
			c.AddWith(id, 0, 6, simnet.NodeOptions{KVBytes: kv(160, 6)})
		}
		l := c.Client("client", simnet.ClientOptions{})
		ids := tokens(1, 100)
		a := ask(context.Background(), l.DistributedPipeline, pipeline.Request{IDs: ids, MaxTokens: 200, IgnoreEOS: true}, nil)
		a.want(t, 0, greedy(t, ids, 200))
		if len(a.routes[0].Hops) != 2 {
			t.Errorf("route %v", a.routes[0])
		}
	})
}

// Two sessions that together fill the node: both get to the end, one after the
// other, and nothing is computed again and again.
func TestSessionsThatFillANodeTogetherBothFinish(t *testing.T) {
	run(t, func(t *testing.T, c *simnet.Cluster) {
		c.Delay(oneWay)
		n := c.AddWith("a", 0, 6, simnet.NodeOptions{KVBytes: kv(160, 6)})
		n.Slow(20*time.Millisecond, time.Millisecond)
		var wg sync.WaitGroup
		for i := range 2 {
			l := c.Client(inference.PeerID(fmt.Sprint("client-", i)), simnet.ClientOptions{Defaults: pipeline.SessionOptions{Timeout: 20 * time.Second}})
			ids := tokens(i, 60)
			want := greedy(t, ids, 80)
			wg.Go(func() {
				a := ask(context.Background(), l.DistributedPipeline, pipeline.Request{IDs: ids, MaxTokens: 80, IgnoreEOS: true}, nil)
				if a.err != nil || fmt.Sprint(a.ids[0]) != fmt.Sprint(want) {
					t.Errorf("client %d: %d tokens, %v", i, len(a.ids[0]), a.err)
				}
			})
		}
		wg.Wait()
		if got, once := n.Rows(), 2*139; got > once+90 {
			t.Errorf("the node computed %d positions, once is %d", got, once)
		}
	})
}

// The same over two nodes each of which has another order of the sessions.
func TestManySessionsOverCrowdedNodesAllFinish(t *testing.T) {
	run(t, func(t *testing.T, c *simnet.Cluster) {
		var nodes []*simnet.Node
		for i, id := range []inference.PeerID{"a", "b"} {
			n := c.AddWith(id, 3*i, 3*i+3, simnet.NodeOptions{KVBytes: kv(160, 3)})
			n.Slow(5*time.Millisecond, 100*time.Microsecond)
			nodes = append(nodes, n)
		}
		const clients = 5
		var all []*simnet.Client
		for i := range clients {
			c.Delay(time.Duration(1+i*7%5) * time.Millisecond)
			all = append(all, c.Client(inference.PeerID(fmt.Sprint("client-", i)), simnet.ClientOptions{Defaults: pipeline.SessionOptions{Timeout: time.Minute}}))
		}
		var wg sync.WaitGroup
		for i, l := range all {
			ids := tokens(i, 40)
			want := greedy(t, ids, 80)
			wg.Go(func() {
				a := ask(context.Background(), l.DistributedPipeline, pipeline.Request{IDs: ids, MaxTokens: 80, IgnoreEOS: true}, nil)
				if a.err != nil || fmt.Sprint(a.ids[0]) != fmt.Sprint(want) {
					t.Errorf("client %d: %d tokens, %v", i, len(a.ids[0]), a.err)
				}
			})
		}
		wg.Wait()
		for _, n := range nodes {
			if got, once := n.Rows(), clients*119; got > 2*once {
				t.Errorf("%s computed %d positions, once is %d", n.ID, got, once)
			}
		}
	})
}

// A session whose pages others hold waits without computing anything, and no
// longer than its timeout, however often it could begin again.
func TestWaitingForPagesCostsNothingAndEnds(t *testing.T) {
	run(t, func(t *testing.T, c *simnet.Cluster) {
		c.Delay(oneWay)
		n := c.AddWith("a", 0, 6, simnet.NodeOptions{KVBytes: kv(320, 6)})
		other, l := c.Client("other", simnet.ClientOptions{}), c.Client("client", simnet.ClientOptions{})
		s := open(t, other, pipeline.SessionOptions{})
		step(t, s, nil, group(0, 0, tokens(1, 200)))
		stop := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() { // it goes on, so that its pages are its own
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				case <-time.After(time.Second):
					step(t, s, nil, group(0, 200-i%2, tokens(2+i, 1)))
				}
			}
		})
		start, before := time.Now(), n.Rows()
		r := pipeline.Request{IDs: tokens(3, 100), MaxTokens: 60, IgnoreEOS: true, Session: pipeline.SessionOptions{Timeout: 10 * time.Second}}
		a := ask(context.Background(), l.DistributedPipeline, r, nil)
		var b *pipeline.BusyError
		if !errors.As(a.err, &b) {
			t.Errorf("error %v", a.err)
		}
		if took := time.Since(start); took > 13*time.Second {
			t.Errorf("it gave up after %v", took)
		}
		if got := n.Rows() - before; got > 112+15 {
			t.Errorf("%d positions were computed for what fits 112", got)
		}
		if len(a.ids[0]) < 10 {
			t.Errorf("%d tokens", len(a.ids[0]))
		}
		// One that has room from the beginning is served beside it.
		timed(t, l)
		close(stop)
		wg.Wait()
		s.Close()
	})
}

// Whoever has to give up its pages pays for computing its positions again, once
// for each time that there was room for them; both sides count alike.
func TestParkedSessionsAreBilledAlikeOnBothSides(t *testing.T) {
	for _, nodes := range []int{1, 2} {
		paid(t, func(t *testing.T, b *books) {
			for i := range nodes {
				b.kv = kv(160, 6/nodes)
				b.add(inference.PeerID(fmt.Sprint("node-", i)), 6/nodes*i, 6/nodes*(i+1), 64)
			}
			l := b.c.Client("client", simnet.ClientOptions{Purse: purse{b.purse}, Defaults: pipeline.SessionOptions{Timeout: time.Minute}})
			var wg sync.WaitGroup
			for i := range 3 {
				ids := tokens(i, 60)
				want := greedy(t, ids, 80)
				wg.Go(func() {
					a := ask(context.Background(), l.DistributedPipeline, pipeline.Request{IDs: ids, MaxTokens: 80, IgnoreEOS: true}, nil)
					if a.err != nil || fmt.Sprint(a.ids[0]) != fmt.Sprint(want) {
						t.Errorf("session %d: %d tokens, %v", i, len(a.ids[0]), a.err)
					}
				})
			}
			wg.Wait()
			time.Sleep(5 * time.Second)
			b.agree()
			u := b.purse.Usage().Total().Units
			if again := u[inference.LineRecovery]; again > 3*139*6 {
				t.Errorf("%d nodes: %d token·blocks of recovery", nodes, again)
			}
			t.Logf("%d nodes: %v", nodes, u)
		})
	}
}
