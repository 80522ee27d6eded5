package simnet_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/internal/simnet"
	"github.com/farlabs/inference/model/sample"
	"github.com/farlabs/inference/pipeline"
	"github.com/farlabs/inference/pipeline/wire"
)

const (
	passTime = 25 * time.Millisecond  // of every forward pass in these tests …
	rowTime  = 200 * time.Microsecond // … and for each of its rows
	oneWay   = 2 * time.Millisecond   // between any two peers
	length   = 128                    // tokens of an answer
)

var seed = uint64(7)

// moods are the ways to sample.
var moods = map[string]sample.Params{
	"greedy": {},
	"warm":   {Temperature: 1, Seed: seed},
}

// thirds adds two nodes for each third of the model.
func thirds(c *simnet.Cluster) {
	c.Delay(oneWay)
	for _, id := range []inference.PeerID{"a", "b", "c", "a'", "b'", "c'"} {
		i := int(id[0] - 'a')
		c.Add(id, 2*i, 2*i+2).Slow(passTime, rowTime)
	}
}

// prefill is how long it takes to compute n positions again over k hops.
func prefill(n, k int) time.Duration {
	return time.Duration(k) * (passTime + time.Duration(n)*rowTime + 2*oneWay)
}

// victim kills, or freezes, the node that hop hop of the first route is at, once.
type victim struct {
	c    *simnet.Cluster
	l    *simnet.Client
	hop  int
	stop func(n *simnet.Node)
	once sync.Once
	node *simnet.Node
}

func (v *victim) strike() {
	v.once.Do(func() {
		r := v.l.Routes()[0]
		v.node = v.c.Node(r.Hops[v.hop].Peer)
		v.stop(v.node)
	})
}

// phases say when the victim is struck.
var phases = []struct {
	name string
	arm  func(v *victim)
	each func(v *victim, a *answer)
}{
	{
		name: "during prefill",
		arm: func(v *victim) {
			v.l.OnProgress(func(_ inference.SessionID, p wire.Progress) {
				if int(p.Hop) == v.hop && p.Started >= 2 && p.Started > p.Sent {
					v.strike()
				}
			})
		},
	},
	{
		name: "between steps",
		each: func(v *victim, a *answer) {
			if len(a.ids[0]) == 20 {
				v.strike()
			}
		},
	},
	{
		name: "inside a step",
		each: func(v *victim, a *answer) {
			if len(a.ids[0]) != 20 {
				return
			}
			v.l.OnProgress(func(_ inference.SessionID, p wire.Progress) {
				if int(p.Hop) == v.hop && p.Started > p.Sent {
					v.strike()
				}
			})
		},
	},
}

func TestSessionSurvivesLossOfAnyHop(t *testing.T) {
	prompt := tokens(1, 100)
	stops := []struct {
		name  string
		f     func(*simnet.Node)
		extra time.Duration
	}{
		{"killed", (*simnet.Node).Kill, 0},
		{"frozen", (*simnet.Node).Freeze, 3 * time.Second},
	}
	for mood, params := range moods {
		want := tiny.Reference(t, inference.WireBF16).Generate(prompt, params, 0, length)
		for _, stop := range stops {
			for _, phase := range phases {
				for hop := range 3 {
					if raceEnabled && (mood == "greedy" || hop != 1) {
						continue
					}
					t.Run(fmt.Sprintf("%s/%s/%s/hop %d", mood, stop.name, phase.name, hop), func(t *testing.T) {
						run(t, func(t *testing.T, c *simnet.Cluster) {
							thirds(c)
							l := c.Client("client", simnet.ClientOptions{Defaults: pipeline.SessionOptions{Chunk: 16}})
							v := &victim{c: c, l: l, hop: hop, stop: stop.f}
							if phase.arm != nil {
								phase.arm(v)
							}
							r := pipeline.Request{IDs: prompt, MaxTokens: length, Sampling: params, Seed: &seed, IgnoreEOS: true}
							a := ask(context.Background(), l.DistributedPipeline, r, func(a *answer, d pipeline.Delta) {
								if phase.each != nil {
									phase.each(v, a)
								}
								if len(a.ids[0]) == 80 && v.node != nil {
									v.node.Thaw() // what it still sends must change nothing
								}
							})
							a.want(t, 0, want)
							if v.node == nil {
								t.Fatal("nobody was struck")
							}
							if a.epoch() < 2 {
								t.Errorf("epoch %d", a.epoch())
							}
							steps := (len(prompt)+length)/16 + 1 // of the replay
							limit := 2*time.Second + stop.extra + prefill(len(prompt)+length, 3)*12/10 + time.Duration(steps)*passTime
							if gap := a.gap(); gap > limit {
								t.Errorf("gap of %v, at most %v", gap, limit)
							}
						})
					})
				}
			}
		}
	}
}

func TestTwoSessionsSurviveTheSameLoss(t *testing.T) {
	prompts := [][]inference.TokenID{tokens(1, 100), tokens(2, 60)}
	var want [][]inference.TokenID
	for _, p := range prompts {
		want = append(want, tiny.Reference(t, inference.WireBF16).Generate(p, moods["warm"], 0, length))
	}
	for _, stop := range []func(*simnet.Node){(*simnet.Node).Kill, (*simnet.Node).Freeze} {
		for hop := range 3 {
			if raceEnabled && hop != 1 {
				continue
			}
			run(t, func(t *testing.T, c *simnet.Cluster) {
				thirds(c)
				// Both sessions go over the same nodes: the others are slower.
				for _, id := range []inference.PeerID{"a'", "b'", "c'"} {
					n := c.Node(id)
					n.Record.Rates = inference.Rates{Decode: 5, Prefill: 2}
				}
				l := c.Client("client", simnet.ClientOptions{})
				v := &victim{c: c, l: l, hop: hop, stop: stop}
				answers := make([]*answer, 2)
				var wg sync.WaitGroup
				for i := range answers {
					wg.Go(func() {
						r := pipeline.Request{IDs: prompts[i], MaxTokens: length, Sampling: moods["warm"], Seed: &seed, IgnoreEOS: true}
						answers[i] = ask(context.Background(), l.DistributedPipeline, r, func(a *answer, d pipeline.Delta) {
							if i == 0 && len(a.ids[0]) == 40 {
								v.strike()
							}
						})
					})
				}
				wg.Wait()
				for i, a := range answers {
					a.want(t, 0, want[i])
					if a.epoch() < 2 {
						t.Errorf("session %d: epoch %d", i, a.epoch())
					}
					if gap := a.gap(); gap > 6*time.Second {
						t.Errorf("session %d: gap of %v", i, gap)
					}
				}
			})
		}
	}
}

func TestAllChoicesSurviveALoss(t *testing.T) {
	const n = 3
	prompt := tokens(1, 40)
	for hop := range 3 {
		run(t, func(t *testing.T, c *simnet.Cluster) {
			thirds(c)
			l := c.Client("client", simnet.ClientOptions{})
			v := &victim{c: c, l: l, hop: hop, stop: (*simnet.Node).Kill}
			r := pipeline.Request{IDs: prompt, MaxTokens: 40, N: n, Sampling: moods["warm"], Seed: &seed, IgnoreEOS: true}
			a := ask(context.Background(), l.DistributedPipeline, r, func(a *answer, d pipeline.Delta) {
				if d.Choice == 1 && len(a.ids[1]) == 15 {
					v.strike()
				}
			})
			for i := range n {
				a.want(t, i, tiny.Reference(t, inference.WireBF16).Generate(prompt, moods["warm"], uint32(i), 40))
			}
			if a.epoch() < 2 || a.usage.CompletionTokens != 40*n || a.usage.PromptTokens != 40 {
				t.Errorf("epoch %d, usage %+v", a.epoch(), a.usage)
			}
			// The shared part of the branches was computed once more, not n times.
			rows := 0
			for _, id := range []inference.PeerID{"a", "a'"} {
				rows += c.Node(id).Rows()
			}
			if most := 2*(40+n*16) + n*25 + n; rows > most {
				t.Errorf("%d rows computed at the first hop, at most %d", rows, most)
			}
		})
	}
}
