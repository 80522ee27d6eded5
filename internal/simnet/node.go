package simnet

import (
	"context"
	"sync"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/kernels/device"
	"github.com/farlabs/inference/kernels/tensor"
	"github.com/farlabs/inference/model"
	"github.com/farlabs/inference/pipeline/link"
	"github.com/farlabs/inference/pipeline/link/linktest"
	"github.com/farlabs/inference/pipeline/stage"
)

// Node is one stage with its links.
type Node struct {
	ID     inference.PeerID
	Stage  *stage.Stage
	Mux    *link.Mux
	Cache  *model.Cache
	Record inference.NodeRecord

	c      *Cluster
	peer   *linktest.Peer
	cancel context.CancelFunc
	done   chan struct{} // Run has returned

	mu     sync.Mutex
	dead   bool
	gate   chan struct{} // not nil: stopped, closed by Thaw
	pass   time.Duration
	row    time.Duration
	passes []stage.PassInfo
	fault  func(model.Pass) error
}

// NodeOptions change a node from the default.
type NodeOptions struct {
	Stage   func(*stage.Config)         // last word on the configuration
	Record  func(*inference.NodeRecord) // last word on the record
	KVBytes int64                       // of the cache; default 32 MiB
	Hidden  bool                        // no client hears of it until Announce
}

// Add starts a node that hosts blocks start to end−1; every client learns of it
// at once.
func (c *Cluster) Add(id inference.PeerID, start, end int) *Node {
	return c.AddWith(id, start, end, NodeOptions{})
}

// AddWith is Add with options.
func (c *Cluster) AddWith(id inference.PeerID, start, end int, o NodeOptions) *Node {
	c.tb.Helper()
	blocks := inference.BlockRange{Start: start, End: end}
	span, err := c.model.span(blocks)
	if err != nil {
		c.tb.Fatal(err)
	}
	if o.KVBytes == 0 {
		o.KVBytes = 32 << 20
	}
	cache, err := span.NewCache(o.KVBytes, inference.DefaultKV)
	if err != nil {
		c.tb.Fatal(err)
	}
	n := &Node{ID: id, c: c, peer: c.net.Peer(id), Cache: cache, done: make(chan struct{})}
	h := &late{}
	n.Mux = link.New(link.Config{Dialer: n.peer, Handler: h, Log: c.log.With("node", id)})
	cfg := stage.Config{
		Span: &simSpan{span, n}, Ends: c.model.Ends, Cache: cache, Queue: c.model.queue, Digest: c.model.Digest,
		Class: inference.Numerics{}.Class(), Links: n.Mux, Limits: stage.Limits{Positions: c.model.Context},
		Events: stage.Events{PassDone: n.passed}, Log: c.log.With("node", id),
	}
	if o.Stage != nil {
		o.Stage(&cfg)
	}
	if n.Stage, err = stage.New(cfg); err != nil {
		c.tb.Fatal(err)
	}
	h.Handler = n.Stage
	n.peer.Serve(n.Mux)
	ctx, cancel := context.WithCancel(context.Background())
	n.cancel = cancel
	go func() {
		defer close(n.done)
		n.Stage.Run(ctx)
	}()
	n.Record = inference.NodeRecord{
		Peer: id, Name: "node-" + string(id), Model: "random", Digest: c.model.Digest, Class: inference.Numerics{}.Class(),
		Blocks: blocks, Total: c.model.Layers, State: inference.StateServing, Memory: int64(cache.TotalPages()) * cache.PageBytes(),
	}
	if o.Record != nil {
		o.Record(&n.Record)
	}
	c.mu.Lock()
	c.join(id)
	c.nodes = append(c.nodes, n)
	c.mu.Unlock()
	if !o.Hidden {
		n.Announce()
	}
	return n
}

// Announce tells every client of the node's record.
func (n *Node) Announce() {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	for _, l := range n.c.clients {
		l.Directory.Put(n.Record)
	}
}

// Kill ends the node as kill -9 does. It does not wait and may be called from
// any callback.
func (n *Node) Kill() {
	n.mu.Lock()
	n.dead = true
	n.mu.Unlock()
	n.c.net.Kill(n.ID)
	n.cancel()
}

// Leave ends the node in good order: clients are told that it drains.
func (n *Node) Leave() {
	n.mu.Lock()
	n.dead = true
	n.mu.Unlock()
	n.cancel()
}

// Dead reports whether the node was killed or has left.
func (n *Node) Dead() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.dead
}

// Freeze stops the node as SIGSTOP does: it neither reads nor writes, and
// begins no pass; its streams stay open.
func (n *Node) Freeze() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.gate == nil {
		n.gate = make(chan struct{})
		n.c.net.Freeze(n.ID)
	}
}

// Thaw undoes Freeze.
func (n *Node) Thaw() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.gate != nil {
		close(n.gate)
		n.gate = nil
		n.c.net.Thaw(n.ID)
	}
}

// Slow makes every forward pass last pass, and row for each of its rows.
func (n *Node) Slow(pass, row time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.pass, n.row = pass, row
}

// Fail has f called before every forward pass; an error or a panic of f is one
// of the pass.
func (n *Node) Fail(f func(model.Pass) error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.fault = f
}

// Passes returns the forward passes that the node has made.
func (n *Node) Passes() []stage.PassInfo {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]stage.PassInfo(nil), n.passes...)
}

// Rows returns the positions that the node has computed.
func (n *Node) Rows() (rows int) {
	for _, p := range n.Passes() {
		rows += p.Rows
	}
	return rows
}

func (n *Node) passed(p stage.PassInfo) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.passes = append(n.passes, p)
}

func (n *Node) answers() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return !n.dead && n.gate == nil
}

func (n *Node) stop() {
	n.cancel()
	<-n.done
	n.Mux.Close()
	n.peer.Wait()
}

// check reports what the node holds of sessions.
func (n *Node) check(when string) {
	n.c.tb.Helper()
	if live := n.Stage.Live(); live != 0 {
		n.c.tb.Errorf("node %s %s: %d bytes of payload left", n.ID, when, live)
	}
	if free, total := n.Cache.FreePages(), n.Cache.TotalPages(); free != total {
		n.c.tb.Errorf("node %s %s: %d of %d pages free", n.ID, when, free, total)
	}
	if l := n.Stage.Load(); l.Queue != 0 || l.Sessions != 0 {
		n.c.tb.Errorf("node %s %s: load %+v", n.ID, when, l)
	}
}

// simSpan is a span that takes virtual time and can be held up.
type simSpan struct {
	*model.Span
	n *Node
}

func (s *simSpan) Forward(q *device.Queue, hidden tensor.Buffer, p model.Pass) error {
	s.n.mu.Lock()
	d, fault := s.n.pass+time.Duration(hidden.Rows)*s.n.row, s.n.fault
	s.n.mu.Unlock()
	s.n.wait()
	if d > 0 {
		time.Sleep(d)
		s.n.wait()
	}
	if fault != nil {
		if err := fault(p); err != nil {
			return err
		}
	}
	return s.Span.Forward(q, hidden, p)
}

// wait returns when the node is not stopped.
func (n *Node) wait() {
	for {
		n.mu.Lock()
		gate := n.gate
		n.mu.Unlock()
		if gate == nil {
			return
		}
		<-gate
	}
}

// late is a handler that is known after the Mux.
type late struct{ link.Handler }
