//go:build bench && unix

package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/pipeline"
	"github.com/farlabs/inference/pipeline/wire"
)

// trials of each row about discovery: the worst of them counts.
const trials = 5

// joinGate measures how long after a node has said that it serves a client's
// table and a gateway's view of the network show it so. Each node knows only
// the one that joined before it; client and gateway know only the first.
func joinGate(t *testing.T) []gate {
	first := Start(t, NodeOptions{Blocks: "0:30"})
	first.Wait("serving")
	c := Dial(t, ClientOptions{Bootstrap: []string{first.Addr}})
	_, url := Serve(t, first.Addr)
	var table, network series
	last := first
	for range trials {
		n := Start(t, NodeOptions{Blocks: "0:1", Bootstrap: []string{last.Addr}})
		var inTable, inNetwork time.Time
		var wg sync.WaitGroup
		watch := func(at *time.Time, shown func() bool) {
			wg.Go(func() {
				if Until(patience, shown) {
					*at = time.Now()
				}
			})
		}
		watch(&inTable, func() bool { return c.serves(n.Peer) })
		watch(&inNetwork, func() bool { return shows(url, n.Peer) })
		wg.Wait()
		serving := n.Wait("serving").At
		if inTable.IsZero() || inNetwork.IsZero() {
			t.Fatalf("%s serves, and is not seen", n.Name)
		}
		// A view may have it before the line that the node prints is read.
		table.add(max(0, inTable.Sub(serving).Seconds()))
		network.add(max(0, inNetwork.Sub(serving).Seconds()))
		last = n
	}
	return []gate{{
		"node that joins: seen by clients after, worst of 5", max(slices.Max(table), slices.Max(network)), "s", 3, false,
		fmt.Sprintf("client's table %.2f–%.2f, gateway's /v1/network %.2f–%.2f s", slices.Min(table), slices.Max(table), slices.Min(network), slices.Max(network)),
	}}
}

// shows reports whether a gateway's view of the network has a peer that serves.
func shows(url string, peer inference.PeerID) bool {
	resp, err := http.Get(url + "/v1/network")
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	var info pipeline.NetworkInfo
	if json.NewDecoder(resp.Body).Decode(&info) != nil {
		return false
	}
	return slices.ContainsFunc(info.Nodes, func(n pipeline.NodeInfo) bool {
		return n.Peer == peer && n.State == inference.StateServing
	})
}

// watched is how long sessions are opened after a node was killed.
const watched = 6 * time.Second

// lossGate kills one of two nodes that serve the same blocks and opens sessions
// without a pause, of a client that has used the dead node and of clients that
// join the network through a survivor. It measures when the last session began
// that was routed to the dead node.
func lossGate(t *testing.T) []gate {
	nodes := Chain(t, "0:15", "15:30", "0:15", "15:30")
	resident := Dial(t, ClientOptions{Bootstrap: []string{nodes[0].Addr, nodes[1].Addr}})
	var last series
	sessions, met := 0, 0
	for trial := range trials {
		resident.Sees(t, nodes...)
		r, err := oneStep(t, resident)
		if err != nil {
			t.Fatal(err)
		}
		hop := trial % len(r.Hops)
		victim := slices.IndexFunc(nodes, func(n *Node) bool { return n.Peer == r.Hops[hop].Peer })
		if victim < 0 || len(r.Hops) != 2 {
			t.Fatalf("route %s, want one over two of the nodes", r)
		}
		dead, survivor := nodes[victim], nodes[(victim+1)%len(nodes)]
		killed := time.Now()
		dead.Kill()

		var mu sync.Mutex
		var worst time.Duration
		open := func(c *Client) error {
			begin := time.Now()
			r, err := oneStep(t, c)
			mu.Lock()
			defer mu.Unlock()
			sessions++
			// A session whose first plan met the dead has a route of a higher epoch.
			if err == nil && (r.Epoch > 1 || slices.ContainsFunc(r.Hops, func(h pipeline.HopInfo) bool { return h.Peer == dead.Peer })) {
				met++
				worst = max(worst, begin.Sub(killed))
			}
			return err
		}
		failed := make(chan error, 1)
		go func() {
			for time.Since(killed) < watched {
				if err := open(resident); err != nil {
					failed <- err
					return
				}
			}
			failed <- nil
		}()
		for time.Since(killed) < watched {
			c := Dial(t, ClientOptions{Bootstrap: []string{survivor.Addr}})
			if err := open(c); err != nil {
				t.Errorf("session of a client that has just joined: %v", err)
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
		if err := <-failed; err != nil {
			t.Fatalf("session %s after the death: %v", time.Since(killed).Round(time.Millisecond), err)
		}
		last.add(worst.Seconds())
		nodes[victim] = Start(t, withBootstrap(dead.options, survivor.Addr))
		nodes[victim].Wait("serving")
	}
	return []gate{{
		"node that is killed: last new session at it after, worst of 5", slices.Max(last), "s", 5, false,
		fmt.Sprintf("%d of %d sessions met a dead node; by kill, s: %.2f", met, sessions, []float64(last)),
	}}
}

// oneStep opens a session, computes one position and returns the route.
func oneStep(t *testing.T, c *Client) (pipeline.RouteInfo, error) {
	s, err := c.P.Open(t.Context(), pipeline.SessionOptions{})
	if err != nil {
		return pipeline.RouteInfo{}, err
	}
	defer s.Close()
	_, err = s.Step(t.Context(), nil, []pipeline.Group{{IDs: []inference.TokenID{504}, Want: wire.WantLast}})
	return s.Route(), err
}
