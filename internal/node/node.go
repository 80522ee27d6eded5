package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/farnet"
	"github.com/farlabs/inference/kernels/device"
	"github.com/farlabs/inference/kernels/tensor"
	"github.com/farlabs/inference/model"
	"github.com/farlabs/inference/model/arch"
	"github.com/farlabs/inference/model/catalog"
	"github.com/farlabs/inference/payment"
	"github.com/farlabs/inference/payment/journal"
	"github.com/farlabs/inference/payment/pricing"
	"github.com/farlabs/inference/pipeline/link"
	"github.com/farlabs/inference/pipeline/stage"
	"github.com/farlabs/inference/pipeline/transport"
)

// Config is what a node is started with.
type Config struct {
	Model    string            // catalog id or path
	ModelID  inference.ModelID // name for a path; "": the file's
	CacheDir string            // of models

	Blocks *inference.BlockRange // nil: what the network needs most

	Numerics inference.Numerics // zero fields: the defaults

	Bootstrap, Listen, Announce []string
	MDNS                        string // "on", "off", "auto"
	Identity                    string // key file
	DataDir                     string
	Name                        string // "": made from the key

	Memory      int64 // weights and KV; 0: half of the machine's
	KVCache     int64 // of it; 0: see planMemory
	MaxSessions int
	Workers     int // of the kernels; 0: one per core

	Price  float64 // USD per 1M tokens over all blocks; < 0: the catalog's
	Credit uint64  // tokens before payment
	Wallet inference.Address

	Metrics string // address; "": off
	Version string
	Events  func(Event) // called in order, from one goroutine at a time
	Log     *slog.Logger
}

// SettingError is a setting that cannot work, as far as the model's header tells.
type SettingError struct{ Err error }

// Error implements error.
func (e *SettingError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *SettingError) Unwrap() error { return e.Err }

// heapBeside is what the process may take on the heap beside KV pages before
// the collector works harder: links, payloads, the network's tables.
const heapBeside = 96 << 20

// shutdown is how long a node takes to leave at most.
const shutdown = 4 * time.Second

// Run serves until ctx ends; then it says goodbye and returns nil.
func Run(ctx context.Context, cfg Config) error {
	n := &Node{cfg: cfg, pool: tensor.NewPool(64 << 20)}
	n.cfg.Numerics = n.cfg.Numerics.WithDefaults()
	if n.cfg.Log == nil {
		n.cfg.Log = slog.New(slog.DiscardHandler)
	}
	if n.cfg.Events == nil {
		n.cfg.Events = func(Event) {}
	}
	err := n.open(ctx)
	if err == nil {
		err = n.serve(ctx)
	}
	if ctx.Err() != nil && (err == nil || errors.Is(err, context.Cause(ctx)) || errors.Is(err, context.Canceled)) {
		err = nil
	}
	return errors.Join(err, n.close())
}

// Node is the parts list of a server.
type Node struct {
	cfg     Config
	model   *catalog.Model
	spec    *arch.Spec
	plan    memoryPlan
	pool    *tensor.Pool
	queue   *device.Queue
	key     *payment.Key
	wallet  inference.Address
	quote   inference.Quote
	meter   *payment.Meter
	net     *farnet.Node
	span    *model.Span
	ends    *model.Ends
	cache   *model.Cache
	rates   inference.Rates
	mux     *link.Mux
	stage   *stage.Stage
	metrics *metrics
	record  inference.NodeRecord

	abandoned bool // a pass was still running when the node had to leave
}

// open brings up everything that does not depend on which blocks are hosted.
func (n *Node) open(ctx context.Context) (err error) {
	if err := device.KernelsError(); err != nil {
		return err
	}
	// The scheduler, the links and the garbage collector need a turn while the
	// kernels' workers keep every core busy.
	runtime.GOMAXPROCS(max(runtime.GOMAXPROCS(0), runtime.NumCPU()+2))
	if err := n.read(); err != nil {
		return err
	}
	mdns, err := farnet.ParseSwitch(n.cfg.MDNS)
	if err != nil {
		return fmt.Errorf("mdns: %w", err)
	}
	if err := os.MkdirAll(n.cfg.DataDir, 0o700); err != nil {
		return fmt.Errorf("data directory: %w; choose another with --data-dir", err)
	}
	// The pass over the model's file comes after the node listens: that is the
	// first that is told of a node.
	if err := n.listen(ctx, mdns); err != nil {
		return err
	}
	err = n.model.Identify(ctx, func(done, total int64) {
		n.cfg.Events(Event{Event: EventHashing, Model: inference.ModelID(n.cfg.Model), Done: done, Bytes: total})
	})
	if err != nil {
		return err
	}
	if err := n.books(); err != nil {
		return err
	}
	n.queue = device.NewQueue(n.cfg.Workers)
	return nil
}

// read finds what is wrong with the settings as far as the model's header tells:
// such mistakes come before anything else.
func (n *Node) read() (err error) {
	if n.model, err = catalog.Read(n.cfg.Model, n.cfg.CacheDir, n.cfg.ModelID); err != nil {
		return err
	}
	if n.spec, err = model.ReadSpec(n.model.Checkpoint); err != nil {
		return err
	}
	if r := n.cfg.Blocks; r != nil && r.End > n.spec.Layers {
		return &SettingError{fmt.Errorf("--blocks %s: %s has %d blocks, 0:%d", r, n.model.ID, n.spec.Layers, n.spec.Layers)}
	}
	if n.plan, err = n.memory(); err != nil {
		return &SettingError{err}
	}
	return nil
}

// listen joins nothing yet: it takes the ports and says so.
func (n *Node) listen(ctx context.Context, mdns farnet.Switch) (err error) {
	n.net, err = farnet.New(ctx, farnet.Config{
		IdentityPath: n.cfg.Identity, PeersPath: filepath.Join(n.cfg.DataDir, "peers"),
		Listen: n.cfg.Listen, Announce: n.cfg.Announce, Bootstrap: n.cfg.Bootstrap, MDNS: mdns,
		Agent: "start_node/" + n.cfg.Version, Log: n.cfg.Log,
	})
	if err != nil {
		return err
	}
	if n.cfg.Name == "" {
		n.cfg.Name = nameOf(n.net.ID())
	}
	n.metrics, err = listenMetrics(n.cfg.Metrics)
	if err != nil {
		return err
	}
	n.cfg.Events(Event{
		Event: EventListening, Name: n.cfg.Name, Version: n.cfg.Version, Peer: n.net.ID(),
		Addrs: n.net.Addrs(), Metrics: n.metrics.addr(),
	})
	return nil
}

// books opens what is about money.
func (n *Node) books() (err error) {
	if n.key, err = payment.LoadOrCreateKey(filepath.Join(n.cfg.DataDir, "wallet.key")); err != nil {
		return err
	}
	n.wallet = n.cfg.Wallet
	if n.wallet.IsZero() {
		n.wallet = n.key.Address()
	}
	price := n.cfg.Price
	if price < 0 {
		price = catalogPrice(n.model.ID)
	}
	if n.quote, err = pricing.Quote(price, n.spec.Layers); err != nil {
		return fmt.Errorf("price: %w", err)
	}
	n.meter, err = payment.OpenMeter(payment.MeterConfig{
		Dir: filepath.Join(n.cfg.DataDir, "earned"), Key: n.key, Wallet: n.wallet,
		Domain: payment.DevelopmentDomain, Credit: n.cfg.Credit,
	})
	if errors.Is(err, journal.ErrLocked) {
		return fmt.Errorf("another node runs in the data directory %s: stop it, or choose another with --data-dir: %w", n.cfg.DataDir, err)
	}
	return err
}

// serve picks blocks, loads them and serves until ctx ends.
func (n *Node) serve(ctx context.Context) error {
	if err := n.join(ctx); err != nil {
		return err
	}
	plan := n.plan
	// The collector may not let garbage grow with KV pages where they lie on the
	// heap. Weights are mapped and do not count.
	debug.SetMemoryLimit(plan.KV + heapBeside)
	n.record = inference.NodeRecord{
		Name: n.cfg.Name, Model: n.model.ID, Digest: n.model.Digest(), Class: n.cfg.Numerics.Class(),
		Total: n.spec.Layers, State: inference.StateJoining, Memory: plan.KV,
		Quote: n.quote, Wallet: n.wallet, Signer: n.key.Address(), Version: n.cfg.Version,
	}
	blocks, why, err := n.pick(ctx, plan.Blocks)
	if err != nil {
		return err
	}
	n.cfg.Events(Event{Event: EventBlocks, Blocks: blocks.String(), Total: n.spec.Layers, Why: why})
	if err := n.load(ctx, blocks, plan); err != nil {
		return err
	}
	n.mux = link.New(link.Config{Dialer: transport.Dialer(n.net), Handler: handler{n}, Log: n.cfg.Log})
	cfg := stage.Config{
		Span: n.span, Cache: n.cache, Queue: n.queue, Digest: n.model.Digest(), Class: n.cfg.Numerics.Class(),
		Links: n.mux, Meter: meter{n.meter, n.model.ID, n.quote}, Learn: n.net.Learn,
		Limits: stage.Limits{MaxSessions: n.cfg.MaxSessions, Positions: n.spec.Context, Branches: 128},
		Events: n.metrics.stage(), Log: n.cfg.Log,
	}
	if n.ends != nil {
		cfg.Ends = n.ends
	}
	if n.stage, err = stage.New(cfg); err != nil {
		return err
	}
	transport.Serve(n.net, n.mux)
	n.record.State, n.record.Rates = inference.StateServing, n.rates
	if err := n.net.Announce(ctx, &n.record); err != nil {
		return fmt.Errorf("announce: %w", err)
	}
	decode, prefill := n.rates.PerSecond(blocks)
	n.cfg.Events(Event{
		Event: EventServing, Model: n.model.ID, Digest: n.model.Digest().String(), Blocks: blocks.String(), Total: n.spec.Layers,
		WeightBytes: n.span.WeightBytes(), KVBytes: plan.KV,
		DecodeRate: decode, PrefillRate: prefill,
	})
	n.metrics.ready(n)
	return n.work(ctx)
}

// work serves until ctx ends. It says goodbye before the stage ends its
// sessions, so that clients which look for another node do not find this one.
// A forward pass that outlasts the time to leave is left to the end of the
// process, which must not wait for it.
func (n *Node) work(ctx context.Context) error {
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	g, failed := errgroup.WithContext(running)
	g.Go(func() error { return n.stage.Run(running) })
	g.Go(func() error { return n.refresh(running) })
	done := make(chan error, 1)
	go func() { done <- g.Wait() }()
	select {
	case <-ctx.Done():
	case <-failed.Done():
		stop()
		return <-done
	}
	begin := time.Now()
	n.leave()
	stop()
	select {
	case err := <-done:
		return err
	case <-time.After(shutdown - min(time.Since(begin), shutdown)):
		n.abandoned = true
		n.cfg.Log.Warn("a forward pass is still running; leaving without it")
		return context.Cause(ctx)
	}
}

// refreshEvery is how often a node compares what it announced of its speed
// with what it measures while it serves.
const refreshEvery = 30 * time.Second

// refresh announces the node's rates again when they have moved by a quarter.
func (n *Node) refresh(ctx context.Context) error {
	ticker := time.NewTicker(refreshEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		now := n.stage.Rates()
		if !moved(n.record.Rates.Decode, now.Decode) && !moved(n.record.Rates.Prefill, now.Prefill) {
			continue
		}
		if now.Decode > 0 {
			n.record.Rates.Decode = now.Decode
		}
		if now.Prefill > 0 {
			n.record.Rates.Prefill = now.Prefill
		}
		if err := n.net.Announce(ctx, &n.record); err != nil {
			n.cfg.Log.Warn("announce", "err", err)
		}
	}
}

// moved reports whether a measurement differs from what was announced by more
// than a quarter; 0 is no measurement.
func moved(announced, now float64) bool {
	return now > 0 && (now > 1.25*announced || now < 0.8*announced)
}

// join waits until the first attempt to join is over and follows the model.
func (n *Node) join(ctx context.Context) error {
	select {
	case <-n.net.Joined():
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if err := n.net.Follow(ctx, n.model.Digest()); err != nil {
		return err
	}
	serving := 0
	for _, r := range n.net.Records(n.model.Digest()) {
		if r.State == inference.StateServing {
			serving++
		}
	}
	joined := Event{Event: EventJoined, Model: n.model.ID, Peers: n.net.Peers(), Serving: serving, Alone: n.net.Alone()}
	wait := time.Second
	if joined.Alone {
		wait = 0
	}
	if len(n.cfg.Bootstrap) > 0 && !n.net.BootstrapMet(wait) {
		joined.Why = "none of the --bootstrap addresses answered: check address and peer id; they are tried again"
	}
	n.cfg.Events(joined)
	return nil
}

func (n *Node) memory() (memoryPlan, error) {
	total := n.cfg.Memory
	if total == 0 {
		if total = systemMemory() / 2; total == 0 {
			total = 4 << 30
		}
	}
	return planMemory(total, n.cfg.KVCache, model.BlockBytes(n.model.Checkpoint, n.spec), model.PageBytes(n.spec, n.cfg.Numerics.KV), n.cfg.Blocks)
}

// load brings in the blocks' weights, makes the KV cache and measures both.
func (n *Node) load(ctx context.Context, blocks inference.BlockRange, plan memoryPlan) (err error) {
	if n.span, err = n.source(true).Span(ctx, blocks); err != nil {
		return err
	}
	heap := n.span.HeapBytes()
	if n.cache, err = n.span.NewCache(plan.KV, n.cfg.Numerics.KV); err != nil {
		return err
	}
	if blocks.Start == 0 {
		// Sessions may send token ids to the first hop.
		if n.ends, err = n.source(false).Ends(ctx); err != nil {
			return err
		}
		heap += n.ends.HeapBytes()
	}
	if heap > 0 { // a system that does not map files
		debug.SetMemoryLimit(plan.KV + heapBeside + heap)
	}
	n.rates, err = measure(n.queue, n.span, n.cache)
	return err
}

// source is where weights come from. It tells when they have to be packed, and
// when the blocks are read, which is short.
func (n *Node) source(blocks bool) model.Source {
	var told time.Time
	return model.Source{
		Checkpoint: n.model.Checkpoint, Cache: n.cfg.CacheDir, Digest: n.model.Digest(), Workers: n.cfg.Workers,
		Activations: n.cfg.Numerics.Activations,
		Progress: func(done, total int64, packing bool) {
			now := time.Now()
			if !packing && !blocks || done < total && now.Sub(told) < 200*time.Millisecond {
				return
			}
			told = now
			e := Event{Event: EventLoading, Done: done, Bytes: total}
			if packing {
				e.Event = EventPacking
			}
			n.cfg.Events(e)
		},
		Warn: func(err error) { n.cfg.Log.Warn("weights", "err", err) },
	}
}

// leave says goodbye: no new sessions, clients move on.
func (n *Node) leave() {
	n.metrics.up.Store(false)
	n.stage.Drain()
	n.cfg.Events(Event{Event: EventLeaving, Sessions: n.stage.Load().Sessions})
	ctx, cancel := context.WithTimeout(context.Background(), shutdown)
	defer cancel()
	n.record.State = inference.StateGone
	if err := n.net.Announce(ctx, &n.record); err != nil {
		n.cfg.Log.Warn("goodbye", "err", err)
	}
}

func (n *Node) close() error {
	var errs []error
	if n.mux != nil {
		errs = append(errs, n.mux.Close())
	}
	if n.net != nil {
		errs = append(errs, n.net.Close())
	}
	if n.meter != nil {
		errs = append(errs, n.meter.Close())
	}
	if n.metrics != nil {
		errs = append(errs, n.metrics.close())
	}
	if n.queue != nil && !n.abandoned {
		n.queue.Close()
	}
	if n.model != nil && !n.abandoned { // a running pass reads the weights
		errs = append(errs, n.model.Close())
	}
	if n.metrics != nil { // it had begun to listen
		n.cfg.Events(Event{Event: EventStopped})
	}
	return errors.Join(errs...)
}

// catalogPrice is the default price of a model, USD per 1M tokens: that of its
// class, or of small models where the catalog does not know it.
func catalogPrice(id inference.ModelID) float64 {
	class := pricing.Far.Sizes[0]
	if e, ok := catalog.Lookup(id); ok {
		if c, err := pricing.Far.ClassNamed(string(e.PriceClass)); err == nil {
			class = c
		}
	}
	return class.Default
}
