package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/farnet"
	"github.com/farlabs/inference/kernels/device"
	"github.com/farlabs/inference/kernels/tensor"
	"github.com/farlabs/inference/payment"
	"github.com/farlabs/inference/pipeline/link"
	"github.com/farlabs/inference/pipeline/transport"
	"github.com/farlabs/inference/rating"
)

// ClientConfig says how a client takes part in the network.
type ClientConfig struct {
	// Bootstrap holds full multiaddrs of any nodes of the network.
	Bootstrap []string
	// MDNS: "on", "off", or "auto", which is on unless every bootstrap address
	// is a loopback one.
	MDNS string
	// DataDir keeps the payer's key, its books, ratings and remembered peers;
	// "": DefaultDataDir.
	DataDir string
	// CacheDir holds models; "": the user's cache directory.
	CacheDir string
	// Workers of the kernels; 0: one per core.
	Workers int
	// Activations is what the head's weights are multiplied by, if they are
	// quantised; 0: inference.DefaultActivations.
	Activations inference.Activations
	// Defaults of sessions.
	Defaults SessionOptions
	Events   Events
	Log      *slog.Logger
}

// Client is a member of the network that uses it: one per process. It serves
// any number of pipelines.
type Client struct {
	cfg      ClientConfig
	node     *farnet.Node
	mux      *link.Mux
	exchange *Exchange
	queue    *device.Queue
	purse    *payment.Purse
	ratings  *rating.Book
	stop     func() // of the peer-down subscription
	once     sync.Once
	closed   error

	mu        sync.Mutex
	pipelines []*DistributedPipeline
}

// DefaultDataDir returns where the client of this user keeps its key and books:
// $XDG_DATA_HOME/farlabs/farclient, or what stands for it on other systems. The
// farclient command uses it too.
func DefaultDataDir() string {
	const below = "farlabs/farclient"
	if dir := os.Getenv("XDG_DATA_HOME"); dir != "" {
		return filepath.Join(dir, below)
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return filepath.Join(os.TempDir(), below)
	}
	return filepath.Join(home, ".local", "share", below)
}

// maxKept bounds the payload memory that is kept for reuse.
const maxKept = 64 << 20

// NewClient joins the network. It returns when the first attempt to join is
// over, also if nobody was met: nodes may come later.
func NewClient(ctx context.Context, cfg ClientConfig) (*Client, error) {
	if err := device.KernelsError(); err != nil {
		return nil, err
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.DataDir == "" {
		cfg.DataDir = DefaultDataDir()
	}
	mdns, err := farnet.ParseSwitch(cfg.MDNS)
	if err != nil {
		return nil, fmt.Errorf("client: mdns: %w", err)
	}
	c := &Client{cfg: cfg, exchange: NewExchange(tensor.NewPool(maxKept)), queue: device.NewQueue(cfg.Workers)}
	if err := c.open(ctx, mdns); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (c *Client) open(ctx context.Context, mdns farnet.Switch) error {
	key, err := payment.LoadOrCreateKey(filepath.Join(c.cfg.DataDir, "payer.key"))
	if err != nil {
		return fmt.Errorf("client: %w", err)
	}
	c.purse, err = payment.OpenPurse(payment.PurseConfig{Dir: filepath.Join(c.cfg.DataDir, "spent"), Key: key, Domain: payment.DevelopmentDomain})
	if err != nil {
		return fmt.Errorf("client: %w", err)
	}
	if c.ratings, err = rating.Open(filepath.Join(c.cfg.DataDir, "ratings.json")); err != nil {
		return fmt.Errorf("client: %w", err)
	}
	c.node, err = farnet.New(ctx, farnet.Config{
		PeersPath: filepath.Join(c.cfg.DataDir, "peers"), Bootstrap: c.cfg.Bootstrap, MDNS: mdns,
		ClientMode: true, Agent: "farclient", Log: c.cfg.Log,
	})
	if err != nil {
		return fmt.Errorf("client: %w", err)
	}
	c.mux = link.New(link.Config{Dialer: transport.Dialer(c.node), Handler: c.exchange, Log: c.cfg.Log})
	c.exchange.Use(c.mux)
	c.stop = c.node.OnPeerDown(func(peer inference.PeerID) { c.exchange.Down(peer, errors.New("the peer does not answer")) })
	select {
	case <-c.node.Joined():
	case <-ctx.Done():
		return fmt.Errorf("client: join the network: %w", context.Cause(ctx))
	}
	return nil
}

// Node returns the client's place in the network, for views of it.
func (c *Client) Node() *farnet.Node { return c.node }

// Exchange returns the client's exchange of frames, which can ask peers for
// their load.
func (c *Client) Exchange() *Exchange { return c.exchange }

// Ratings returns what the client has observed of peers.
func (c *Client) Ratings() *rating.Book { return c.ratings }

// Traffic counts what went between the client and a peer for sessions, since
// the client first met it.
func (c *Client) Traffic(peer inference.PeerID) link.Stats { return c.mux.Stats(peer) }

// Usage says what was spent, this process and earlier ones.
func (c *Client) Usage() payment.Usage { return c.purse.Usage() }

// Close leaves the network, in order: sessions and their last receipts, links,
// node, pipelines, books. Calls of sessions that run return ErrClosed.
func (c *Client) Close() error {
	c.once.Do(func() { c.closed = c.shut() })
	return c.closed
}

func (c *Client) shut() error {
	c.mu.Lock()
	pipelines := c.pipelines
	c.pipelines = nil
	c.mu.Unlock()
	// Sessions end first: a link that closes under one would look like peers
	// that have died.
	c.exchange.finish(nil)
	var errs []error
	if c.stop != nil {
		c.stop()
	}
	c.exchange.Wait()
	if c.mux != nil {
		errs = append(errs, c.mux.Close())
	}
	if c.node != nil {
		errs = append(errs, c.node.Close())
	}
	for _, p := range pipelines {
		errs = append(errs, p.release())
	}
	c.queue.Close()
	if c.ratings != nil {
		errs = append(errs, c.ratings.Close())
	}
	if c.purse != nil {
		errs = append(errs, c.purse.Close())
	}
	return errors.Join(errs...)
}

// directory adapts the node's table of one model to what sessions need.
type directory struct {
	node   *farnet.Node
	digest inference.Digest
	stop   func()

	mu      sync.Mutex
	changed chan struct{}
}

func newDirectory(n *farnet.Node, d inference.Digest) *directory {
	dir := &directory{node: n, digest: d, changed: make(chan struct{})}
	signal, stop := n.Watch(d)
	done := make(chan struct{})
	dir.stop = func() { stop(); close(done) }
	go func() {
		for {
			select {
			case <-signal:
				dir.mu.Lock()
				close(dir.changed)
				dir.changed = make(chan struct{})
				dir.mu.Unlock()
			case <-done:
				return
			}
		}
	}()
	return dir
}

func (d *directory) Records(digest inference.Digest) []inference.NodeRecord {
	return d.node.Records(digest)
}

func (d *directory) Changed() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.changed
}

func (d *directory) RTT(peer inference.PeerID) time.Duration { return d.node.RTT(peer) }
func (d *directory) Suspect(peer inference.PeerID)           { d.node.Suspect(peer) }
