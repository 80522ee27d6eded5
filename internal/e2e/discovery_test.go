//go:build unix

package e2e

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/pipeline"
)

// identities starts nodes for as long as it takes them to make their keys and
// find free ports, and returns what starts each again at the address returned.
func identities(t *testing.T, n int, o NodeOptions) (options []NodeOptions, addrs []string) {
	t.Helper()
	var nodes []*Node
	for range n {
		nodes = append(nodes, Launch(t, o))
	}
	for _, n := range nodes {
		addr := n.Wait("listening").Addrs[0]
		n.Kill()
		tcp, _, ok := strings.Cut(strings.TrimPrefix(addr, "/ip4/127.0.0.1/tcp/"), "/p2p/")
		if !ok {
			t.Fatalf("the first address of %s is %s", n.Name, addr)
		}
		o := n.options
		o.Listen = "127.0.0.1:" + tcp
		options, addrs = append(options, o), append(addrs, addr)
	}
	return options, addrs
}

// TestSimultaneousStartsCoverTheModel starts three nodes at the same moment,
// each of which knows the other two and has room for less than half of the
// model.
func TestSimultaneousStartsCoverTheModel(t *testing.T) {
	processes(t)
	for i := range pick(1, 20) {
		t.Run(fmt.Sprint(i+1), func(t *testing.T) {
			options, addrs := identities(t, 3, NodeOptions{Memory: "40MiB"})
			var nodes []*Node
			for i, o := range options {
				o.Bootstrap = append(append([]string{}, addrs[:i]...), addrs[i+1:]...)
				nodes = append(nodes, Launch(t, o))
			}
			covered := make([]int, layers)
			var ranges []string
			for _, n := range nodes {
				r, err := inference.ParseBlockRange(n.Blocks())
				if err != nil {
					t.Fatal(err)
				}
				ranges = append(ranges, r.String())
				for b := r.Start; b < r.End; b++ {
					covered[b]++
				}
			}
			for b, n := range covered {
				if n == 0 {
					t.Fatalf("block %d is in none of %v", b, ranges)
				}
			}
			t.Log(ranges)
			for _, n := range nodes {
				n.Kill()
			}
		})
	}
}

// TestNetworkIsFoundThroughAnyOfItsNodes has a client that knows only C, which
// knows only B, which knows only A; D joined through A, which is dead.
func TestNetworkIsFoundThroughAnyOfItsNodes(t *testing.T) {
	processes(t)
	a := Start(t, NodeOptions{Blocks: "0:2"})
	b := Start(t, NodeOptions{Blocks: "0:10", Bootstrap: []string{a.Addr}})
	c := Start(t, NodeOptions{Blocks: "10:20", Bootstrap: []string{b.Addr}})
	d := Start(t, NodeOptions{Blocks: "20:30", Bootstrap: []string{a.Addr}})
	for _, n := range []*Node{a, b, c, d} {
		n.Wait("serving")
	}
	a.Kill()
	client := Dial(t, ClientOptions{Bootstrap: []string{c.Addr}, Session: pipeline.SessionOptions{Timeout: patience}})
	got := client.Ask(t, question(4))
	hops := inOrder(t, got.Route(), []*Node{b, c, d})
	if len(hops) != 3 || hops[2] != d {
		t.Errorf("route %s, want one over b, c, d", got.Route())
	}
}

// TestClientSeesNodesComeAndGo holds what the client knows against when it
// happened: 3 s for one that joins, 5 s for one that was killed.
func TestClientSeesNodesComeAndGo(t *testing.T) {
	processes(t)
	first := Start(t, NodeOptions{Blocks: "0:30"})
	first.Wait("serving")
	c := Dial(t, ClientOptions{Bootstrap: []string{first.Addr}})
	c.Sees(t, first)
	second := Start(t, NodeOptions{Blocks: "0:30", Bootstrap: []string{first.Addr}})
	serving := second.Wait("serving").At
	c.Sees(t, second)
	if took := time.Since(serving); took > 3*time.Second {
		t.Errorf("the client saw the new node after %s, want 3 s at most", took)
	} else {
		t.Logf("seen %s after it served", took.Round(time.Millisecond))
	}
	// The one that the client used last, and would use again, is killed.
	var last inference.PeerID
	for range 3 {
		last = c.Ask(t, short(1)).Route().Hops[0].Peer
	}
	dead, alive := first, second
	if last == second.Peer {
		dead, alive = second, first
	}
	dead.Kill()
	killed := time.Now()
	if !Until(5*time.Second, func() bool { return !c.serves(dead.Peer) }) {
		t.Error("a node that was killed is still in the client's table after 5 s")
	}
	t.Logf("gone from the table after %s", time.Since(killed).Round(time.Millisecond))
	time.Sleep(time.Until(killed.Add(5 * time.Second)))
	for range 6 {
		got := c.Ask(t, short(1))
		if r := got.Routes[0]; r.Epoch != 1 || r.Hops[0].Peer != alive.Peer {
			t.Errorf("a session 5 s after the death took %v", got.Routes)
		}
	}
	// A client that comes now, through the survivor, does not meet the dead either.
	late := Dial(t, ClientOptions{Bootstrap: []string{alive.Addr}})
	late.Sees(t, alive)
	if got := late.Ask(t, short(1)); got.Routes[0].Hops[0].Peer != alive.Peer || got.Routes[0].Epoch != 1 {
		t.Errorf("a new client took %v", got.Routes)
	}
}

// slowed stops a process two thirds of the time until the test ends or the
// function that it returns is called.
func slowed(t *testing.T, p *Process) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer p.Cont()
		for ctx.Err() == nil {
			p.Signal(syscall.SIGSTOP)
			time.Sleep(60 * time.Millisecond)
			p.Signal(syscall.SIGCONT)
			time.Sleep(30 * time.Millisecond)
		}
	}()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return stop
}

// announced returns the rates that the client's table has of a node.
func (c *Client) announced(t *testing.T, n *Node) inference.Rates {
	t.Helper()
	for _, r := range c.Node().Records(c.P.Digest()) {
		if r.Peer == n.Peer {
			return r.Rates
		}
	}
	t.Fatalf("the client's table has no record of %s", n.Name)
	return inference.Rates{}
}

// TestSlowNodeLosesItsSessions has two equal nodes of which one is slowed three
// times and goes on announcing the rates that it measured before. The client
// learns by its own measurements, and keeps what it learnt when it restarts.
//
// A node announces again what it measures while it serves: only sessions count
// during which the client's table had the old rates. When they have changed the
// node is started again at full speed, and measures and announces that.
func TestSlowNodeLosesItsSessions(t *testing.T) {
	processes(t)
	fast := Start(t, NodeOptions{Blocks: "0:30"})
	fast.Wait("serving")
	slow := Start(t, NodeOptions{Blocks: "0:30", Bootstrap: []string{fast.Addr}})
	slow.Wait("serving")
	dir := t.TempDir()
	dial := func() *Client {
		c := Dial(t, ClientOptions{Bootstrap: []string{fast.Addr, slow.Addr}, DataDir: dir})
		c.Sees(t, fast, slow)
		return c
	}
	c := dial()
	old := c.announced(t, slow)
	stop := slowed(t, slow.Process)
	// again starts the slow node again as it was before it was slowed.
	again := func() {
		t.Helper()
		before := c.announced(t, slow)
		stop()
		slow.Signal(syscall.SIGTERM)
		slow.Exit(t, patience)
		slow = slow.Again()
		slow.Wait("serving")
		if !Until(patience, func() bool { return c.serves(slow.Peer) && c.announced(t, slow) != before }) {
			t.Fatal("the client does not see the slow node serve again")
		}
		old = c.announced(t, slow)
		stop = slowed(t, slow.Process)
	}
	const starts = 6 // of the slow node, at most
	started := 1
	sessions := func(n int) (atSlow int) {
		t.Helper()
		for counted := 0; counted < n; {
			// Equal: what the slow node announces would not lose it a session.
			for c.announced(t, slow) != old || old.Decode > 1.25*c.announced(t, fast).Decode {
				if started == starts {
					t.Fatalf("after %d starts the slow node announces %+v, the fast one %+v", starts, c.announced(t, slow), c.announced(t, fast))
				}
				started++
				again()
			}
			a := c.Ask(t, short(5))
			if c.announced(t, slow) != old {
				continue
			}
			counted++
			for _, h := range a.Routes[0].Hops {
				if h.Peer == slow.Peer {
					atSlow++
				}
			}
		}
		return atSlow
	}
	early := sessions(10)
	n := pick(7, 40)
	late := sessions(n)
	t.Logf("at the slow node: %d of the first 10 sessions, %d of the next %d; it announces %.2f ms per token and block, the other %.2f; %d starts",
		early, late, n, old.Decode, c.announced(t, fast).Decode, started)
	if 10*late >= 3*n {
		t.Errorf("%d of %d sessions after the tenth went to the slow node, want less than 30%%", late, n)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	n = pick(7, 20)
	c = dial()
	rest := sessions(n)
	t.Logf("after a restart of the client: %d of %d; %d starts", rest, n, started)
	if 10*rest >= 3*n {
		t.Errorf("after a restart of the client %d of %d sessions went to the slow node, want less than 30%%", rest, n)
	}
}
