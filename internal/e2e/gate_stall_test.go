//go:build bench && unix

package e2e

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/farnet"
	"github.com/farlabs/inference/kernels/device"
	"github.com/farlabs/inference/kernels/tensor"
	"github.com/farlabs/inference/model"
	"github.com/farlabs/inference/model/catalog"
	"github.com/farlabs/inference/model/tokenizer"
	"github.com/farlabs/inference/payment"
	"github.com/farlabs/inference/pipeline"
	"github.com/farlabs/inference/pipeline/link"
	"github.com/farlabs/inference/pipeline/transport"
	"github.com/farlabs/inference/pipeline/wire"
)

const (
	stallWindow = 32 << 10 // bytes of output that the stalled session takes before it takes no more
	stallSteps  = 32       // steps that it asks for …
	stallRows   = 8        // … of so many rows, all of which are wanted
	beside      = 4        // sessions that decode beside it …
	besideEach  = 22       // … tokens each
)

// stallGate measures what sessions decode together on one node with and without
// a further session, of the same client over the same streams, that has work
// waiting at the node and returns no credit for what it gets.
func stallGate(t *testing.T) []gate {
	node := Chain(t, "0:30")[0]
	d := dialDeaf(t, node)
	var with, without series
	measure := func(stalled bool) {
		if !stalled {
			without.add(manyRate(t, &Client{P: d.p}, beside, besideEach))
			return
		}
		d.stall(t)
		sent := d.outputs(t)
		with.add(manyRate(t, &Client{P: d.p}, beside, besideEach))
		if n := d.outputs(t); n != sent || n >= stallSteps {
			t.Fatalf("%d outputs came to the session that takes none, before that %d, of %d steps", n, sent, stallSteps)
		}
		d.end(t)
	}
	manyRate(t, &Client{P: d.p}, beside, 2) // warms up
	for i := range rounds {
		measure(i%2 == 0)
		measure(i%2 != 0)
	}
	return []gate{{
		fmt.Sprintf("%d sessions beside one that stalls ÷ without it", beside), with.median() / without.median(), "", 0.90, true,
		fmt.Sprintf("with, tok/s: %s; without: %s", with.spread(), without.spread()),
	}}
}

// deaf is a client made of the parts of one. Beside the sessions of its pipeline
// it can have one that it conducts by hand, which asks and does not listen.
type deaf struct {
	*pipeline.Exchange
	p      *pipeline.DistributedPipeline
	links  *link.Mux
	purse  *payment.Purse
	pool   *tensor.Pool
	record inference.NodeRecord // of the node

	mu      sync.Mutex
	session inference.SessionID // the one by hand; zero: none
	tab     *payment.Tab
	opened  chan struct{}
	got     int    // outputs that came
	started uint64 // steps that the node has begun
	moved   time.Time
	fail    *wire.Fail
}

func dialDeaf(t *testing.T, n *Node) *deaf {
	t.Helper()
	dir := t.TempDir()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	closing := func(what string, f func() error) {
		t.Cleanup(func() {
			if err := f(); err != nil {
				t.Errorf("close %s: %v", what, err)
			}
		})
	}
	m, err := catalog.Open(t.Context(), modelID, catalog.CacheDir(), "", nil)
	check(err)
	closing("model", m.Close)
	ends, err := model.LoadEnds(m.Checkpoint)
	check(err)
	tok, err := tokenizer.FromGGUF(m.Checkpoint)
	check(err)
	key, err := payment.LoadOrCreateKey(filepath.Join(dir, "payer.key"))
	check(err)
	purse, err := payment.OpenPurse(payment.PurseConfig{Dir: filepath.Join(dir, "spent"), Key: key, Domain: payment.DevelopmentDomain})
	check(err)
	closing("purse", purse.Close)
	queue := device.NewQueue(0)
	t.Cleanup(queue.Close)
	net, err := farnet.New(t.Context(), farnet.Config{PeersPath: filepath.Join(dir, "peers"), Bootstrap: []string{n.Addr}, ClientMode: true, Agent: "farclient"})
	check(err)
	closing("network", net.Close)
	check(net.Follow(t.Context(), m.Digest()))
	pool := tensor.NewPool(64 << 20)
	d := &deaf{Exchange: pipeline.NewExchange(pool), purse: purse, pool: pool}
	d.links = link.New(link.Config{Dialer: transport.Dialer(net), Handler: d})
	closing("links", d.links.Close)
	d.Use(d.links)
	spec := ends.Spec()
	d.p = pipeline.New(pipeline.Parts{
		Model: m.ID, Digest: m.Digest(), Blocks: spec.Layers, Context: spec.Context,
		Ends: ends, Queue: queue, Tokenizer: tok, Exchange: d.Exchange, Links: d.links,
		Directory: directory{net}, Purse: payer{purse},
	})
	closing("pipeline", func() error {
		err := d.p.Close()
		d.Wait()
		return err
	})
	if !Until(patience, func() bool {
		for _, r := range net.Records(m.Digest()) {
			if r.Peer == n.Peer && r.State == inference.StateServing {
				d.record = r
				return true
			}
		}
		return false
	}) {
		t.Fatalf("the client does not see %s serve", n.Name)
	}
	return d
}

// directory lets sessions look for news of the table by themselves.
type directory struct{ *farnet.Node }

func (directory) Changed() <-chan struct{} { return nil }

// payer is a purse as sessions need it.
type payer struct{ *payment.Purse }

func (p payer) Account(o pipeline.AccountInfo) (pipeline.Account, error) {
	return p.Open(terms(o.Session, o.Epoch, o.Record))
}

// terms are those of a session that has all blocks of a node.
func terms(id inference.SessionID, epoch inference.Epoch, r inference.NodeRecord) payment.HopTerms {
	return payment.HopTerms{
		Terms:  payment.Terms{Session: id, Epoch: epoch, Model: r.Model, Digest: r.Digest, Blocks: r.Blocks, Class: r.Class, Quote: r.Quote},
		Wallet: r.Wallet, Signer: r.Signer,
	}
}

// stall opens the session by hand and asks for more than its window takes. It
// returns when the node can send nothing more and has ceased to compute for it.
func (d *deaf) stall(t *testing.T) {
	t.Helper()
	r := &d.record
	var id inference.SessionID
	var in wire.Capability
	_, _ = rand.Read(id[:])
	_, _ = rand.Read(in[:])
	tab, err := d.purse.Open(terms(id, 1, *r))
	if err != nil {
		t.Fatal(err)
	}
	voucher, err := tab.Order(inference.LinePrefill, uint64(stallSteps*stallRows*r.Blocks.Len()))
	if err != nil {
		t.Fatal(err)
	}
	d.mu.Lock()
	d.session, d.tab, d.got, d.started, d.moved, d.fail, d.opened = id, tab, 0, 0, time.Now(), nil, make(chan struct{})
	opened := d.opened
	d.mu.Unlock()
	d.send(t, &wire.Frame{Message: &wire.Open{
		Version: wire.Version, Features: wire.FeatureIDs, Session: id, Epoch: 1, Mode: wire.ModeDecode,
		Digest: r.Digest, Class: r.Class, Wire: inference.WireBF16, Role: wire.Role{Blocks: r.Blocks}, Hops: 1, In: in,
		Limits: wire.Limits{Positions: 1024, Branches: 1, Window: stallWindow}, Quote: r.Quote, Voucher: voucher,
	}})
	select {
	case <-opened:
	case <-time.After(patience):
		t.Fatal("the session by hand is not opened")
	}
	for i := range stallSteps {
		p := d.pool.Get(tensor.I8, 1, 4*stallRows)
		for j := range stallRows {
			binary.LittleEndian.PutUint32(p.Data[4*j:], uint32(1000+17*j+i))
		}
		d.send(t, &wire.Frame{Payload: p, Message: &wire.Step{
			Session: id, Epoch: 1, Seq: uint64(i + 1), Cap: in, Payload: wire.PayloadIDs,
			Rows: []wire.Row{{Start: uint32(i * stallRows), N: stallRows, Extent: uint32((i + 1) * stallRows), Want: wire.WantAll, Line: inference.LinePrefill}},
		}})
	}
	if !Until(patience, func() bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		return d.got > 0 && time.Since(d.moved) > time.Second || d.fail != nil
	}) {
		t.Fatal("the node computes on for a session that takes nothing")
	}
}

// outputs returns how many came to the session by hand, which has not failed.
func (d *deaf) outputs(t *testing.T) int {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fail != nil {
		t.Fatalf("the session by hand failed: %s", d.fail.Text)
	}
	return d.got
}

// end closes the session by hand.
func (d *deaf) end(t *testing.T) {
	t.Helper()
	d.send(t, &wire.Frame{Message: &wire.Close{Session: d.session, Outcome: inference.OutcomeAbort}})
	d.mu.Lock()
	tab := d.tab
	d.session = inference.SessionID{}
	d.mu.Unlock()
	if err := tab.Close(); err != nil {
		t.Fatal(err)
	}
}

func (d *deaf) send(t *testing.T, f *wire.Frame) {
	t.Helper()
	if err := d.links.Send(d.record.Peer, f); err != nil {
		t.Fatal(err)
	}
}

// mine reports whether a message is of the session by hand; d.mu is held.
func (d *deaf) mine(m wire.Message) bool {
	return d.session != inference.SessionID{} && m.Of() == d.session
}

// Reserve implements link.Handler.
func (d *deaf) Reserve(from inference.PeerID, m wire.Message, n int) (tensor.Buffer, error) {
	d.mu.Lock()
	mine := d.mine(m)
	d.mu.Unlock()
	if mine {
		return d.pool.Get(tensor.I8, 1, n), nil
	}
	return d.Exchange.Reserve(from, m, n)
}

// Frame implements link.Handler. What comes to the session by hand is read off
// the stream, which others share, and never acknowledged.
func (d *deaf) Frame(from inference.PeerID, f *wire.Frame) {
	d.mu.Lock()
	if !d.mine(f.Message) {
		d.mu.Unlock()
		d.Exchange.Frame(from, f)
		return
	}
	defer d.mu.Unlock()
	switch m := f.Message.(type) {
	case *wire.Opened:
		close(d.opened)
	case *wire.Output:
		d.got++
		d.moved = time.Now()
	case *wire.Progress:
		if m.Started > d.started {
			d.started, d.moved = m.Started, time.Now()
		}
	case *wire.Fail:
		d.fail = m
	}
	f.Release()
}
