//go:build unix

package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/pipeline"
	"github.com/farlabs/inference/pipeline/route"
	"github.com/farlabs/inference/pipeline/wire"
)

// ensemble is a cluster in which every third of the model has two nodes, so
// that any one of them can be lost. A node that was killed is started again
// before the next test.
type ensemble struct {
	nodes []*Node
	c     *Client
	on    atomic.Pointer[func(inference.SessionID, wire.Progress)]
	chain atomic.Pointer[[]inference.PeerID] // the route of epoch 1 of the last session
}

func newEnsemble(t *testing.T) *ensemble {
	t.Helper()
	processes(t)
	e := &ensemble{nodes: Chain(t, "0:10", "10:20", "20:30", "0:10", "10:20", "20:30")}
	e.c = Dial(t, ClientOptions{
		Bootstrap: []string{e.nodes[0].Addr, e.nodes[1].Addr},
		Session:   pipeline.SessionOptions{Chunk: 64},
		Events: pipeline.Events{
			Progress: func(id inference.SessionID, p wire.Progress) {
				if f := e.on.Load(); f != nil {
					(*f)(id, p)
				}
			},
			Routed: func(_ inference.SessionID, r pipeline.RouteInfo) {
				if r.Epoch == 1 {
					peers := make([]inference.PeerID, len(r.Hops))
					for i, h := range r.Hops {
						peers[i] = h.Peer
					}
					e.chain.Store(&peers)
				}
			},
		},
	})
	e.c.Sees(t, e.nodes...)
	return e
}

// node returns the node of a peer.
func (e *ensemble) node(t *testing.T, peer inference.PeerID) *Node {
	t.Helper()
	for _, n := range e.nodes {
		if n.Peer == peer {
			return n
		}
	}
	t.Fatalf("no node has peer id %s", peer)
	return nil
}

// restore starts the nodes that are gone again.
func (e *ensemble) restore(t *testing.T) {
	t.Helper()
	for i, n := range e.nodes {
		if n.Exited() {
			e.nodes[i] = Launch(t, withBootstrap(n.options, e.alive(n)))
			l := e.nodes[i].Wait("listening")
			e.nodes[i].Peer, e.nodes[i].Addr = l.Peer, l.Addrs[0]
			e.nodes[i].Wait("serving")
		}
	}
	e.c.Sees(t, e.nodes...)
}

func withBootstrap(o NodeOptions, addr string) NodeOptions {
	o.Bootstrap = []string{addr}
	return o
}

func (e *ensemble) alive(not *Node) string {
	for _, n := range e.nodes {
		if n != not && !n.Exited() {
			return n.Addr
		}
	}
	return ""
}

// phase is when in a session's life a hop is lost.
type phase int

const (
	duringPrefill phase = iota
	betweenSteps
	insideStep
)

func (p phase) String() string {
	return [...]string{"during prefill", "between steps", "inside a step"}[p]
}

// loss is one trial: the node that serves hop is lost in a phase.
type loss struct {
	hop   int
	phase phase
	seed  bool // temperature 1 with a seed; else greedy
	stop  bool // SIGSTOP, continued once the session has moved; else kill -9
}

// longQuestion has enough tokens for several chunks of prompt.
func longQuestion(seed bool) pipeline.Request {
	r := question(128)
	r.Messages[0].Content = strings.Repeat("The light of the sun holds every colour, and the air scatters some of them more than others. ", 8) + "Explain in three sentences why the sky is blue."
	if seed {
		n := uint64(7)
		r.Seed, r.Sampling.Temperature = &n, 1
	}
	return r
}

// trial runs a request during which a hop is lost, and checks that nothing of
// it shows but a pause. A fast hop reports few steps while it is inside them, so
// that an answer may be over before: then it is asked for again.
func (e *ensemble) trial(t *testing.T, l loss, want Answer) {
	t.Helper()
	for range 5 {
		if e.struck(t, l, want) {
			return
		}
	}
	t.Fatalf("%s of hop %d: no node was lost", l.phase, l.hop)
}

// struck is one attempt of trial; false: no node was lost.
func (e *ensemble) struck(t *testing.T, l loss, want Answer) bool {
	t.Helper()
	var victim atomic.Pointer[Node]
	var tokens atomic.Int64
	var once sync.Once
	strike := func(peer inference.PeerID) {
		once.Do(func() {
			n := e.node(t, peer)
			victim.Store(n)
			if l.stop {
				n.Stop()
			} else {
				n.Kill()
			}
		})
	}
	at := int64(20 + 7*l.hop)
	started := func(_ inference.SessionID, p wire.Progress) {
		if int(p.Hop) != l.hop || p.Started <= p.Sent || p.Epoch != 1 {
			return
		}
		if l.phase == duringPrefill && tokens.Load() == 0 || l.phase == insideStep && tokens.Load() >= at {
			strike((*e.chain.Load())[l.hop])
		}
	}
	e.on.Store(&started)
	defer e.on.Store(nil)

	var got Answer
	var text strings.Builder
	var longest time.Duration
	kept := 0
	last := time.Now()
	for d, err := range e.c.P.Generate(t.Context(), longQuestion(l.seed)) {
		if err != nil {
			t.Fatalf("%s of hop %d: %v (after %d tokens)", l.phase, l.hop, err, tokens.Load())
		}
		if d.Route != nil {
			got.Routes = append(got.Routes, *d.Route)
			if n := victim.Load(); n != nil && l.stop && d.Route.Epoch > 1 {
				n.Cont()
			}
		}
		if len(d.Tokens) > 0 {
			if gap := time.Since(last); tokens.Load() > 0 && gap > longest {
				longest, kept = gap, int(tokens.Load())
			}
			last = time.Now()
			tokens.Add(int64(len(d.Tokens)))
		}
		text.WriteString(d.Text)
		if l.phase == betweenSteps && tokens.Load() >= at {
			strike((*e.chain.Load())[l.hop])
		}
	}
	got.Text = text.String()
	if victim.Load() == nil {
		return false
	}
	if got.Text != want.Text {
		t.Errorf("%s of hop %d: the text changed:\n%q\nwant\n%q", l.phase, l.hop, got.Text, want.Text)
	}
	if e := got.Route().Epoch; e < 2 {
		t.Errorf("%s of hop %d: the epoch is %d, it must have risen", l.phase, l.hop, e)
	}
	for _, h := range got.Route().Hops {
		if h.Peer == victim.Load().Peer {
			t.Errorf("%s of hop %d: the lost node is still in the route", l.phase, l.hop)
		}
	}
	if l.phase != duringPrefill {
		bound := 2*time.Second + time.Duration(1.2*float64(e.prefill(t, kept)))
		if l.stop {
			bound += 3 * time.Second
		}
		t.Logf("%s of hop %d: longest pause %s, bound %s", l.phase, l.hop, longest.Round(time.Millisecond), bound.Round(time.Millisecond))
		if longest > bound {
			t.Errorf("%s of hop %d: pause of %s, bound %s", l.phase, l.hop, longest, bound)
		}
	}
	return true
}

// prefill measures how long it takes to compute a prompt of the trial's kept
// positions over the routes that there are now.
func (e *ensemble) prefill(t *testing.T, tokens int) time.Duration {
	t.Helper()
	ids, err := e.c.P.Encode(longQuestion(false))
	if err != nil {
		t.Fatal(err)
	}
	for range tokens {
		ids = append(ids, 1000)
	}
	begin := time.Now()
	e.c.Ask(t, pipeline.Request{IDs: ids, MaxTokens: 1})
	return time.Since(begin)
}

// TestSessionSurvivesLossOfAnyHop loses each hop in turn: during prefill,
// between steps and inside a step; killed and stopped; greedy and sampled.
func TestSessionSurvivesLossOfAnyHop(t *testing.T) {
	e := newEnsemble(t)
	greedy, sampled := e.c.Ask(t, longQuestion(false)), e.c.Ask(t, longQuestion(true))
	if len(greedy.Tokens) != 128 || len(sampled.Tokens) != 128 || greedy.Text == sampled.Text {
		t.Fatalf("the undisturbed answers have %d and %d tokens", len(greedy.Tokens), len(sampled.Tokens))
	}
	losses := []loss{
		{hop: 0, phase: insideStep}, {hop: 1, phase: duringPrefill}, {hop: 2, phase: betweenSteps, seed: true},
		{hop: 1, phase: insideStep, stop: true},
	}
	if full {
		losses = nil
		for hop := range 3 {
			for _, p := range []phase{duringPrefill, betweenSteps, insideStep} {
				for _, seed := range []bool{false, true} {
					losses = append(losses, loss{hop: hop, phase: p, seed: seed})
				}
			}
			losses = append(losses, loss{hop: hop, phase: insideStep, stop: true}, loss{hop: hop, phase: betweenSteps, seed: true, stop: true})
		}
	}
	for _, l := range losses {
		how := map[bool]string{true: "stopped", false: "killed"}[l.stop]
		t.Run(fmt.Sprintf("hop %d %s %s seed %v", l.hop, how, l.phase, l.seed), func(t *testing.T) {
			want := greedy
			if l.seed {
				want = sampled
			}
			e.trial(t, l, want)
		})
		e.restore(t)
	}
}

// TestTwoSessionsSurviveTheSameLoss kills a node that both use, one of them
// greedy and one sampling. The spare joins while their readers wait, so that
// neither of them can be on it.
func TestTwoSessionsSurviveTheSameLoss(t *testing.T) {
	processes(t)
	nodes := Chain(t, "0:15", "15:30")
	c := Dial(t, ClientOptions{Bootstrap: []string{nodes[0].Addr}})
	c.Sees(t, nodes...)
	seed, n := uint64(7), pick(64, 128)
	requests := [2]pipeline.Request{question(n), question(n)}
	requests[1].Seed, requests[1].Sampling.Temperature = &seed, 1
	want := [2]Answer{c.Ask(t, requests[0]), c.Ask(t, requests[1])}
	var answers [2]Answer
	var errs [2]error
	var reached, wg sync.WaitGroup
	reached.Add(2)
	struck := make(chan struct{})
	for i := range 2 {
		wg.Go(func() {
			arrive := sync.OnceFunc(reached.Done)
			defer arrive() // also if it fails before
			var text strings.Builder
			n := 0
			for d, err := range c.P.Generate(t.Context(), requests[i]) {
				if err != nil {
					errs[i] = err
					break
				}
				if d.Route != nil {
					answers[i].Routes = append(answers[i].Routes, *d.Route)
				}
				text.WriteString(d.Text)
				if n += len(d.Tokens); n >= 10 {
					arrive()
					<-struck
				}
			}
			answers[i].Text = text.String()
		})
	}
	reached.Wait()
	spare := Start(t, NodeOptions{Blocks: "15:30", Bootstrap: []string{nodes[0].Addr}})
	spare.Wait("serving")
	c.Sees(t, spare)
	close(struck)
	nodes[1].Kill()
	wg.Wait()
	for i, a := range answers {
		if errs[i] != nil {
			t.Errorf("session %d: %v", i, errs[i])
			continue
		}
		if a.Text != want[i].Text {
			t.Errorf("session %d: %q, want %q", i, a.Text, want[i].Text)
		}
		first, last := a.Routes[0], a.Route()
		if first.Hops[1].Peer != nodes[1].Peer || last.Epoch < 2 || last.Hops[1].Peer != spare.Peer {
			t.Errorf("session %d: route %s, then %s: want it moved from %s to %s", i, first, last, nodes[1].Name, spare.Name)
		}
	}
}

// TestLossWithoutASpareIsATypedError ends by the deadline and names what is missing.
func TestLossWithoutASpareIsATypedError(t *testing.T) {
	processes(t)
	nodes := Chain(t, thirds...)
	c := Dial(t, ClientOptions{Bootstrap: []string{nodes[0].Addr}, Session: pipeline.SessionOptions{Timeout: 6 * time.Second}})
	c.Sees(t, nodes...)
	var killed time.Time
	var got error
	for d, err := range c.P.Generate(t.Context(), question(64)) {
		if err != nil {
			got = err
			break
		}
		if len(d.Tokens) > 0 && killed.IsZero() {
			nodes[1].Kill()
			killed = time.Now()
		}
	}
	var no *route.NoRouteError
	if !errors.Is(got, pipeline.ErrNoRoute) || !errors.As(got, &no) || len(no.Missing) != 1 || no.Missing[0].String() != "10:20" {
		t.Fatalf("error %v, want ErrNoRoute that names blocks 10:20", got)
	}
	if took := time.Since(killed); took > 10*time.Second {
		t.Errorf("the error came after %s", took)
	}
	t.Logf("error: %v", got)
}

// TestSessionGoesOnWithANodeThatJoinsInTime starts the spare after the loss.
func TestSessionGoesOnWithANodeThatJoinsInTime(t *testing.T) {
	processes(t)
	nodes := Chain(t, thirds...)
	c := Dial(t, ClientOptions{Bootstrap: []string{nodes[0].Addr}})
	c.Sees(t, nodes...)
	want := c.Ask(t, question(48))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var text strings.Builder
	killed := false
	var last pipeline.RouteInfo
	for d, err := range c.P.Generate(ctx, question(48)) {
		if err != nil {
			t.Fatal(err)
		}
		text.WriteString(d.Text)
		if d.Route != nil {
			last = *d.Route
		}
		if len(d.Tokens) > 0 && !killed {
			killed = true
			nodes[2].Kill()
			go Launch(t, NodeOptions{Blocks: "20:30", Bootstrap: []string{nodes[0].Addr}})
		}
	}
	if text.String() != want.Text || last.Epoch < 2 {
		t.Errorf("epoch %d, text %q, want %q", last.Epoch, text.String(), want.Text)
	}
}
