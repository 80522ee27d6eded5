package simnet

import (
	"sync"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/kernels/tensor"
	"github.com/farlabs/inference/model"
	"github.com/farlabs/inference/pipeline"
	"github.com/farlabs/inference/pipeline/link"
	"github.com/farlabs/inference/pipeline/link/linktest"
	"github.com/farlabs/inference/pipeline/wire"
)

// Client is the real client over the simulated network.
type Client struct {
	*pipeline.DistributedPipeline
	ID        inference.PeerID
	Exchange  *pipeline.Exchange
	Mux       *link.Mux
	Directory *Directory
	Pool      *tensor.Pool

	c    *Cluster
	peer *linktest.Peer

	mu       sync.Mutex
	progress func(inference.SessionID, wire.Progress)
	routes   []pipeline.RouteInfo
}

// ClientOptions change a client from the default.
type ClientOptions struct {
	Defaults pipeline.SessionOptions
	Purse    pipeline.Purse
	Scores   pipeline.Scores
	// Handler, if not nil, stands between the links and the exchange.
	Handler func(link.Handler) link.Handler
	// Links, if not nil, stands between the sessions and the links.
	Links func(pipeline.Links) pipeline.Links
}

// Client adds a client that knows every node announced so far.
func (c *Cluster) Client(id inference.PeerID, o ClientOptions) *Client {
	l := &Client{ID: id, c: c, peer: c.net.Peer(id), Pool: tensor.NewPool(16 << 20), Directory: newDirectory(c)}
	l.Exchange = pipeline.NewExchange(l.Pool)
	var h link.Handler = l.Exchange
	if o.Handler != nil {
		h = o.Handler(h)
	}
	l.Mux = link.New(link.Config{Dialer: l.peer, Handler: h, Log: c.log.With("client", id)})
	l.Exchange.Use(l.Mux)
	l.peer.Serve(l.Mux)
	c.mu.Lock()
	c.join(id)
	c.clients = append(c.clients, l)
	nodes := c.nodes
	c.mu.Unlock()
	for _, n := range nodes {
		if !n.Dead() {
			l.Directory.Put(n.Record)
		}
	}
	var links pipeline.Links = l.Mux
	if o.Links != nil {
		links = o.Links(links)
	}
	l.DistributedPipeline = pipeline.New(pipeline.Parts{
		Model: "random", Digest: c.model.Digest, Blocks: c.model.Layers, Context: c.model.Context,
		PageBytes: func(k inference.NumericsClass) int64 { return model.PageBytes(c.model.Ends.Spec(), k.KV()) },
		Ends:      c.model.Ends, Queue: c.model.queue, Tokenizer: c.model.Tokenizer, Template: c.model.Template,
		Exchange: l.Exchange, Links: links, Directory: l.Directory, Purse: o.Purse, Scores: o.Scores,
		Log: c.log.With("client", id), Defaults: o.Defaults,
		Events: pipeline.Events{Progress: l.progressed, Routed: l.route},
	})
	return l
}

// OnProgress has f called for every progress message from now on; nil stops it.
func (l *Client) OnProgress(f func(inference.SessionID, wire.Progress)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.progress = f
}

func (l *Client) progressed(id inference.SessionID, p wire.Progress) {
	l.mu.Lock()
	f := l.progress
	l.mu.Unlock()
	if f != nil {
		f(id, p)
	}
}

func (l *Client) route(_ inference.SessionID, r pipeline.RouteInfo) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.routes = append(l.routes, r)
}

// Routes returns the routes that sessions have had, in the order they came.
func (l *Client) Routes() []pipeline.RouteInfo {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]pipeline.RouteInfo(nil), l.routes...)
}

// Freeze stops the client's traffic as SIGSTOP does; its sessions' timers run on.
func (l *Client) Freeze() { l.c.net.Freeze(l.ID) }

// Thaw undoes Freeze.
func (l *Client) Thaw() { l.c.net.Thaw(l.ID) }

func (l *Client) close() {
	l.Exchange.Wait()
	l.Mux.Close()
	l.peer.Wait()
}

// check reports payload memory that nobody released.
func (l *Client) check(when string) {
	l.c.tb.Helper()
	if live := l.Pool.Live(); live != 0 {
		l.c.tb.Errorf("client %s %s: %d bytes of payload left", l.ID, when, live)
	}
}
