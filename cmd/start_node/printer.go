package main

import (
	"strings"

	"github.com/farlabs/inference/farnet"
	"github.com/farlabs/inference/internal/cli"
	"github.com/farlabs/inference/internal/node"
)

// printer shows a node's events to people.
type printer struct {
	progress *cli.Progress
	addrs    []string
}

func (p *printer) event(e node.Event) {
	say := p.progress.Printf
	switch e.Event {
	case node.EventHashing:
		p.progress.Set("Checking "+string(e.Model)+" (once)", e.Done, e.Bytes)
	case node.EventListening:
		p.addrs = e.Addrs
		say("Far Labs Node %q  %s  %s", e.Name, e.Peer.Short(), e.Version)
		for _, a := range e.Addrs {
			say("  %s", a)
		}
		if e.Metrics != "" {
			say("Metrics on http://%s/metrics", e.Metrics)
		}
		say("Connecting to Far Labs Network …")
	case node.EventJoined:
		if e.Alone && e.Why != "" {
			say("No other node found: %s.", e.Why)
			return
		}
		if e.Alone {
			say("No other node found: this one starts its own network.")
			p.invite(string(e.Model))
			return
		}
		say("Connected: %s, %d of them serve %s", cli.Plural(e.Peers, "node"), e.Serving, e.Model)
		if e.Why != "" {
			say("Warning: %s.", e.Why)
		}
	case node.EventBlocks:
		say("Blocks %s of %d (%s)", e.Blocks, e.Total, e.Why)
	case node.EventPacking:
		p.progress.Set("Packing weights "+node.Bytes(e.Bytes)+" (once)", e.Done, e.Bytes)
	case node.EventLoading:
		p.progress.Set("weights "+node.Bytes(e.Bytes), e.Done, e.Bytes)
	case node.EventServing:
		say("Serving %s blocks %s · %.0f tok/s decode, %.0f tok/s prefill over them · weights %s, KV cache up to %s, taken as sessions need it",
			e.Model, e.Blocks, e.DecodeRate, e.PrefillRate, node.Bytes(e.WeightBytes), node.Bytes(e.KVBytes))
	case node.EventLeaving:
		say("Leaving: saying goodbye, %s go on elsewhere", cli.Plural(e.Sessions, "session"))
	case node.EventStopped:
		say("Stopped")
	}
}

// invite says what to run to add a node. One that listens on loopback alone is
// reached by nobody else, and a second node beside it wants a port and a data
// directory of its own.
func (p *printer) invite(model string) {
	addr := best(p.addrs)
	if !loopback(addr) {
		p.progress.Printf("To add a node, run elsewhere:")
		p.progress.Printf("  start_node --model %s --bootstrap %s", model, addr)
		return
	}
	p.progress.Printf("It is reached from this machine only; --listen 0.0.0.0:%d, the default, lets others in. To add a node, run here:", farnet.DefaultPort)
	p.progress.Printf("  start_node --model %s --bootstrap %s --listen 127.0.0.1:0 --data-dir ANOTHER", model, addr)
}

func loopback(addr string) bool {
	return strings.HasPrefix(addr, "/ip4/127.") || strings.HasPrefix(addr, "/ip6/::1/")
}

// best returns the address that is most useful elsewhere: not a loopback one
// if there is another.
func best(addrs []string) string {
	for _, a := range addrs {
		if !loopback(a) {
			return a
		}
	}
	if len(addrs) == 0 {
		return "ADDRESS"
	}
	return addrs[0]
}
