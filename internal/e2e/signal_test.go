//go:build unix

package e2e

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/farlabs/inference/pipeline"
)

const goodbye = 5 * time.Second // in which a process that is told to end has to

// told checks how a node ends that was told to.
func told(t *testing.T, n *Node, when time.Time) {
	t.Helper()
	if code := n.Exit(t, patience); code != 0 {
		t.Errorf("%s ended with status %d:\n%s", n.Name, code, n.Log())
	}
	if took := n.ended.Sub(when); took > goodbye {
		t.Errorf("%s took %s to end, want %s at most", n.Name, took, goodbye)
	}
	for _, event := range []string{"leaving", "stopped"} {
		if _, ok := n.Find(event); !ok {
			t.Errorf("%s did not print %q", n.Name, event)
		}
	}
}

// TestNodeThatLeavesHandsItsSessionsOn interrupts the node that serves a
// session: the session goes on at the other one, with the same text. Then it
// interrupts that too: the session gets a typed error.
func TestNodeThatLeavesHandsItsSessionsOn(t *testing.T) {
	processes(t)
	nodes := Chain(t, "0:30", "0:30")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c := Dial(t, ClientOptions{Bootstrap: []string{nodes[0].Addr, nodes[1].Addr}, Session: pipeline.SessionOptions{Timeout: 4 * time.Second}})
	c.Sees(t, nodes...)
	want := c.Ask(t, short(24))

	// interrupt tells the node that serves the request to end after its fourth token.
	interrupt := func(signal syscall.Signal) (a Answer, left *Node, when time.Time, err error) {
		for d, err := range c.P.Generate(ctx, short(24)) {
			if err != nil {
				return a, left, when, err
			}
			if d.Route != nil {
				a.Routes = append(a.Routes, *d.Route)
			}
			a.Text += d.Text
			a.Tokens = append(a.Tokens, d.Tokens...)
			if len(a.Tokens) == 4 && left == nil {
				left = inOrder(t, a.Route(), nodes)[0]
				when = time.Now()
				left.Signal(signal)
			}
		}
		return a, left, when, nil
	}
	got, left, when, err := interrupt(syscall.SIGINT)
	if err != nil {
		t.Fatalf("the session did not survive: %v", err)
	}
	told(t, left, when)
	if got.Text != want.Text || got.Route().Epoch < 2 {
		t.Errorf("epoch %d, text %q, want %q", got.Route().Epoch, got.Text, want.Text)
	}
	if !Until(2*time.Second, func() bool { return !c.serves(left.Peer) }) {
		t.Error("the goodbye did not reach the client's table")
	}
	_, last, when, err := interrupt(syscall.SIGTERM)
	var hop *pipeline.HopError
	if !errors.Is(err, pipeline.ErrNoRoute) && !errors.Is(err, pipeline.ErrBusy) && !errors.As(err, &hop) {
		t.Errorf("without another node: error %v, want a typed one", err)
	}
	if last == left {
		t.Fatal("the session went to the node that had left")
	}
	told(t, last, when)
	t.Logf("without another node: %v", err)
}

// TestSecondSignalEndsAtOnce delivers two signals together, by stopping the
// process meanwhile.
func TestSecondSignalEndsAtOnce(t *testing.T) {
	processes(t)
	n := Start(t, NodeOptions{Blocks: "0:1"})
	n.Wait("serving")
	gateway, _ := Serve(t, n.Addr)
	for _, p := range []*Process{n.Process, gateway} {
		p.Stop()
		p.Signal(syscall.SIGINT)
		p.Signal(syscall.SIGTERM)
		p.Cont()
		if code := p.Exit(t, 2*time.Second); code != 130 {
			t.Errorf("%s: status %d, want 130", p.Name, code)
		}
	}
}

// TestNodeEndsWhileItStarts interrupts a node at several moments before it
// serves.
func TestNodeEndsWhileItStarts(t *testing.T) {
	processes(t)
	for _, event := range []string{"listening", "joined", "blocks"} {
		n := Launch(t, NodeOptions{Memory: "64MiB"})
		n.Wait(event)
		n.Signal(syscall.SIGINT)
		if code := n.Exit(t, goodbye); code != 0 {
			t.Errorf("after %q: status %d:\n%s", event, code, n.Log())
		}
	}
}

// TestSameDataDirectoryAgain ends a node, by signal and by force, and starts it
// again: it is the same peer and serves.
func TestSameDataDirectoryAgain(t *testing.T) {
	processes(t)
	n := Start(t, NodeOptions{Blocks: "0:30"})
	n.Wait("serving")
	dir := t.TempDir()
	ask := func(n *Node) string {
		t.Helper()
		c := Dial(t, ClientOptions{Bootstrap: []string{n.Addr}, DataDir: dir})
		c.Sees(t, n)
		text := c.Ask(t, short(3)).Text
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		return text
	}
	want := ask(n)
	when := time.Now()
	n.Signal(syscall.SIGTERM)
	told(t, n, when)
	for _, how := range []string{"a signal", "a kill"} {
		again := n.Again()
		again.Wait("serving")
		if again.Peer != n.Peer {
			t.Errorf("after %s: peer %s, before %s", how, again.Peer, n.Peer)
		}
		if text := ask(again); text != want {
			t.Errorf("after %s: %q, before %q", how, text, want)
		}
		again.Kill()
		n = again
	}
}

// TestGatewayAndClientEndOnASignal interrupts both in the middle of an answer;
// the nodes forget the sessions.
func TestGatewayAndClientEndOnASignal(t *testing.T) {
	nodes := Shared(t)
	idle := func() bool {
		for _, n := range nodes {
			if n.Metric(t, "farlabs_sessions") != 0 {
				return false
			}
		}
		return true
	}
	if !Until(patience, idle) {
		t.Fatal("sessions of earlier tests are still open")
	}
	gateway, url := Serve(t, nodes[0].Addr)
	var streaming atomic.Bool
	go stream(url, func(string) { streaming.Store(true) })
	dir := t.TempDir()
	client := launch(t, "client", "farclient", dir, nil, "run", "--bootstrap", nodes[0].Addr, "--data-dir", dir, "--max-tokens", "2000", "Explain in three sentences why the sky is blue.")
	if !Until(patience, func() bool { return streaming.Load() && client.Output() != "" }) {
		t.Fatalf("no answer streams:\n%s\n%s", gateway.Log(), client.Log())
	}
	begin := time.Now()
	gateway.Signal(syscall.SIGINT)
	client.Signal(syscall.SIGINT)
	if code := gateway.Exit(t, goodbye); code != 0 {
		t.Errorf("gateway: status %d:\n%s", code, gateway.Log())
	}
	if code := client.Exit(t, goodbye); code != 130 || !strings.HasSuffix(client.Log(), "farclient: interrupted\n") {
		t.Errorf("client, interrupted: status %d:\n%s", code, client.Log())
	}
	t.Logf("both ended within %s", time.Since(begin).Round(time.Millisecond))
	if !Until(goodbye, idle) {
		t.Error("the nodes keep the sessions of a client that has left")
	}
}
