package main

import (
	"strings"
	"testing"

	"github.com/farlabs/inference/internal/cli"
	"github.com/farlabs/inference/internal/node"
)

// printed returns what people read of events.
func printed(events ...node.Event) string {
	var out strings.Builder
	p := &printer{progress: cli.NewProgress(&out)}
	for _, e := range events {
		p.event(e)
	}
	return out.String()
}

func TestANodeAloneSaysWhereOthersCanJoinFrom(t *testing.T) {
	alone := node.Event{Event: node.EventJoined, Model: "m", Alone: true}
	here := printed(node.Event{Event: node.EventListening, Addrs: []string{"/ip4/127.0.0.1/tcp/1/p2p/X"}}, alone)
	for _, want := range []string{"from this machine only", "--listen 0.0.0.0:4744", "--data-dir ANOTHER", "--bootstrap /ip4/127.0.0.1/tcp/1/p2p/X"} {
		if !strings.Contains(here, want) {
			t.Errorf("%q is not in:\n%s", want, here)
		}
	}
	far := printed(node.Event{Event: node.EventListening, Addrs: []string{"/ip4/127.0.0.1/tcp/1/p2p/X", "/ip4/192.0.2.7/tcp/1/p2p/X"}}, alone)
	if !strings.Contains(far, "run elsewhere:\n  start_node --model m --bootstrap /ip4/192.0.2.7/tcp/1/p2p/X\n") || strings.Contains(far, "machine only") {
		t.Errorf("reached from elsewhere:\n%s", far)
	}
}

func TestABootstrapAddressThatIsDeadIsSaidInCompanyToo(t *testing.T) {
	out := printed(node.Event{Event: node.EventJoined, Model: "m", Peers: 1, Serving: 1, Why: "none of the --bootstrap addresses answered"})
	if out != "Connected: 1 node, 1 of them serve m\nWarning: none of the --bootstrap addresses answered.\n" {
		t.Error(out)
	}
}

func TestTheKVBudgetIsShownAsALimit(t *testing.T) {
	out := printed(node.Event{Event: node.EventServing, Model: "m", Blocks: "0:30", WeightBytes: 63 << 20, KVBytes: 12 << 30})
	if !strings.Contains(out, "KV cache up to 12 GiB, taken as sessions need it") {
		t.Error(out)
	}
}

func TestBestAddressIsReachedFromElsewhere(t *testing.T) {
	for want, addrs := range map[string][]string{
		"/ip4/192.0.2.7/tcp/1": {"/ip4/127.0.0.1/tcp/1", "/ip6/::1/tcp/1", "/ip4/192.0.2.7/tcp/1"},
		"/ip4/127.0.0.1/tcp/1": {"/ip4/127.0.0.1/tcp/1"},
		"ADDRESS":              nil,
	} {
		if got := best(addrs); got != want {
			t.Errorf("best(%q) = %s, want %s", addrs, got, want)
		}
	}
}
