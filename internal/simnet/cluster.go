package simnet

import (
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/pipeline/link/linktest"
)

// Cluster is a network of nodes and clients. Make it inside a bubble.
type Cluster struct {
	tb    testing.TB
	model *Model
	net   *linktest.Network
	delay time.Duration // one way, between any two
	log   *slog.Logger

	mu      sync.Mutex
	nodes   []*Node
	clients []*Client
	ended   bool
}

// New returns a cluster without nodes.
func New(tb testing.TB, m *Model) *Cluster {
	return &Cluster{tb: tb, model: m, net: linktest.New(), log: slog.New(slog.DiscardHandler)}
}

// Delay sets the one-way delay between any two peers that are added later.
func (c *Cluster) Delay(d time.Duration) { c.delay = d }

// Log has stages and clients log to l.
func (c *Cluster) Log(l *slog.Logger) { c.log = l }

// Wall makes dials from a to b fail.
func (c *Cluster) Wall(a, b inference.PeerID) { c.net.Wall(a, b) }

// Block makes the edge between a and b unusable from now on, in both
// directions: streams are reset, dials fail.
func (c *Cluster) Block(a, b inference.PeerID) { c.net.Cut(a, b) }

// Heal undoes Block.
func (c *Cluster) Heal(a, b inference.PeerID) { c.net.Heal(a, b) }

// Swallow holds all bytes between a and b from now on; nothing fails.
func (c *Cluster) Swallow(a, b inference.PeerID) { c.net.Silence(a, b) }

// Break resets the streams between a and b, which may dial again at once.
func (c *Cluster) Break(a, b inference.PeerID) { c.net.Break(a, b) }

// Peer returns a member of the network that is neither node nor client, for
// tests that speak to nodes by hand.
func (c *Cluster) Peer(id inference.PeerID) *linktest.Peer {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.join(id)
	return c.net.Peer(id)
}

// Node returns the node that was added last under this id.
func (c *Cluster) Node(id inference.PeerID) *Node {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := len(c.nodes) - 1; i >= 0; i-- {
		if c.nodes[i].ID == id {
			return c.nodes[i]
		}
	}
	return nil
}

// answers reports whether a peer is alive and not stopped.
func (c *Cluster) answers(id inference.PeerID) bool {
	n := c.Node(id)
	return n != nil && n.answers()
}

func (c *Cluster) over() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ended
}

// join sets the delays of a new peer.
func (c *Cluster) join(id inference.PeerID) {
	for _, n := range c.nodes {
		c.net.Delay(n.ID, id, c.delay)
	}
	for _, l := range c.clients {
		c.net.Delay(l.ID, id, c.delay)
	}
}

// settleTime is how long after the last use everything must have been given
// back: longer than any grace period of a stage.
const settleTime = 20 * time.Second

// End waits until whatever was given up has timed out, demands that nothing is
// left in nodes and clients, stops them all and demands it again.
func (c *Cluster) End() {
	c.mu.Lock()
	c.ended = true
	nodes, clients := c.nodes, c.clients
	c.mu.Unlock()
	for _, n := range nodes {
		n.Thaw()
	}
	for _, l := range clients {
		l.Exchange.Wait()
	}
	time.Sleep(settleTime)
	for _, n := range nodes {
		if !n.Dead() {
			n.check("before the end")
		}
	}
	for _, l := range clients {
		l.check("before the end")
		l.close()
	}
	for _, n := range nodes {
		n.stop()
		n.check("after the end")
	}
	for _, l := range clients {
		l.check("after the end")
	}
}
