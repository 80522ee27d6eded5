//go:build unix

package e2e

import (
	"strings"
	"testing"

	"github.com/farlabs/inference/pipeline"
	"github.com/farlabs/inference/pipeline/link"
)

// rowBytes is a hidden state of the model in bf16.
const rowBytes = 576 * 2

// traffic is what the client exchanged with each node since it began to count.
func traffic(c *Client, nodes []*Node) func() []link.Stats {
	stats := func() []link.Stats {
		var s []link.Stats
		for _, n := range nodes {
			s = append(s, c.Traffic(n.Peer))
		}
		return s
	}
	before := stats()
	return func() []link.Stats {
		after := stats()
		for i, b := range before {
			after[i].In.Payload -= b.In.Payload
			after[i].Out.Payload -= b.Out.Payload
		}
		return after
	}
}

// inOrder returns nodes as the hops of a route.
func inOrder(t *testing.T, r pipeline.RouteInfo, nodes []*Node) []*Node {
	t.Helper()
	var hops []*Node
	for _, h := range r.Hops {
		for _, n := range nodes {
			if n.Peer == h.Peer {
				hops = append(hops, n)
			}
		}
	}
	if len(hops) != len(r.Hops) {
		t.Fatalf("route %s has hops that are none of the nodes", r)
	}
	return hops
}

func TestRingSendsAndReceivesOneRowPerToken(t *testing.T) {
	nodes := Shared(t)
	c := Dial(t, ClientOptions{Bootstrap: []string{nodes[0].Addr}})
	c.Sees(t, nodes...)
	count := traffic(c, nodes)
	const tokens = 10
	a := c.Ask(t, question(tokens))
	got := count()
	for i, h := range a.Route().Hops {
		if !h.Direct || h.Peer != nodes[i].Peer {
			t.Fatalf("route %s: want the three nodes in order and direct edges", a.Route())
		}
	}
	rows := uint64(a.Usage.PromptTokens + tokens - 1) // the last token is not sent round again
	if out := got[0].Out.Payload; out != rows*rowBytes {
		t.Errorf("%d bytes sent to the first hop, want %d rows of %d", out, rows, rowBytes)
	}
	if in := got[2].In.Payload; in != tokens*rowBytes {
		t.Errorf("%d bytes received from the last hop, want %d rows of %d", in, tokens, rowBytes)
	}
	for i, s := range got {
		if i != 0 && s.Out.Payload != 0 || i != 2 && s.In.Payload != 0 {
			t.Errorf("hop %d: %d bytes sent, %d received", i+1, s.Out.Payload, s.In.Payload)
		}
	}
}

func TestRelayedEdgesGiveTheSameText(t *testing.T) {
	nodes := Shared(t)
	c := Dial(t, ClientOptions{Bootstrap: []string{nodes[2].Addr}})
	c.Sees(t, nodes...)
	const tokens = 10
	direct := c.Ask(t, question(tokens))
	r := question(tokens)
	r.Session.Relay = true
	count := traffic(c, nodes)
	relayed := c.Ask(t, r)
	if relayed.Text != direct.Text {
		t.Errorf("through the client %q, direct %q", relayed.Text, direct.Text)
	}
	for _, h := range relayed.Route().Hops[:2] {
		if h.Direct {
			t.Errorf("route %s: want every edge through the client", relayed.Route())
		}
	}
	rows := uint64(relayed.Usage.PromptTokens+tokens-1) * rowBytes
	got := count()
	for i, want := range []struct{ out, in uint64 }{{rows, rows}, {rows, rows}, {rows, tokens * rowBytes}} {
		if got[i].Out.Payload != want.out || got[i].In.Payload != want.in {
			t.Errorf("hop %d: %d bytes sent and %d received, want %d and %d", i+1, got[i].Out.Payload, got[i].In.Payload, want.out, want.in)
		}
	}
}

func TestVerboseRunNamesTheEdges(t *testing.T) {
	nodes := Shared(t)
	ask := func(extra ...string) Result {
		args := append([]string{"run", "-v", "--bootstrap", nodes[0].Addr, "--data-dir", t.TempDir(), "--temperature", "0", "--max-tokens", "4"}, extra...)
		return Run(t, "farclient", append(args, "Hello")...)
	}
	direct, relayed := ask(), ask("--relay")
	if direct.Code != 0 || strings.Count(direct.Stderr, "direct to hop") != 2 {
		t.Errorf("status %d, want two direct edges named:\n%s", direct.Code, direct.Stderr)
	}
	if relayed.Code != 0 || strings.Count(relayed.Stderr, "through the client to hop") != 2 {
		t.Errorf("--relay: status %d, want two edges through the client:\n%s", relayed.Code, relayed.Stderr)
	}
	if direct.Stdout != relayed.Stdout {
		t.Errorf("direct %q, relayed %q", direct.Stdout, relayed.Stdout)
	}
	for _, n := range nodes {
		if !strings.Contains(direct.Stderr, n.Name) {
			t.Errorf("-v does not name %s:\n%s", n.Name, direct.Stderr)
		}
	}
}

// TestChoicesShareThePrompt counts rows at the nodes: four answers to one
// prompt compute its rows once.
func TestChoicesShareThePrompt(t *testing.T) {
	nodes := Shared(t)
	c := Dial(t, ClientOptions{Bootstrap: []string{nodes[0].Addr}})
	c.Sees(t, nodes...)
	count := func() (rows, prompt []float64) {
		for _, n := range nodes {
			rows = append(rows, n.Metric(t, "farlabs_rows_total"))
			prompt = append(prompt, n.Metric(t, "farlabs_prefill_rows_total"))
		}
		return rows, prompt
	}
	rows, prompt := count()
	const n, tokens = 4, 6
	r := question(tokens)
	r.N, r.Seed = n, new(uint64)
	r.Sampling.Temperature = 1
	a := c.Ask(t, r)
	rows2, prompt2 := count()
	for i := range nodes {
		gotRows, gotPrompt := rows2[i]-rows[i], prompt2[i]-prompt[i]
		if want := float64(a.Usage.PromptTokens); gotPrompt != want {
			t.Errorf("hop %d computed %v rows of the prompt, it has %v", i+1, gotPrompt, want)
		}
		if want := float64(a.Usage.PromptTokens + n*(tokens-1)); gotRows != want {
			t.Errorf("hop %d computed %v rows, want %v", i+1, gotRows, want)
		}
	}
	if a.Usage.CompletionTokens != n*tokens {
		t.Errorf("%d tokens of answers, want %d", a.Usage.CompletionTokens, n*tokens)
	}
}
