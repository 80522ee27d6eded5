package stage_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/kernels/device"
	"github.com/farlabs/inference/kernels/tensor"
	"github.com/farlabs/inference/model"
	"github.com/farlabs/inference/model/modeltest"
	"github.com/farlabs/inference/model/weights"
	"github.com/farlabs/inference/pipeline/link"
	"github.com/farlabs/inference/pipeline/link/linktest"
	"github.com/farlabs/inference/pipeline/stage"
	"github.com/farlabs/inference/pipeline/wire"
)

// checkpoint is a random model, small so that the race detector gets through.
var checkpoint *weights.Checkpoint

var tiny = modeltest.Llama{
	Layers: 6, Hidden: d, Heads: 2, KVHeads: 1, HeadDim: 16, RopeDims: 16, FFN: 48, Vocab: 272, Context: 2048,
	RopeTheta: 10000, NormEps: 1e-5,
}

const (
	d         = 32              // width of a row
	rowBytes  = 2 * d           // in bf16
	pageBytes = 2 * 4 * 16 * 16 // 16 positions of one block, keys and values of one head of 16
)

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "stage")
	if err != nil {
		panic(err)
	}
	path := dir + "/random.gguf"
	if err := tiny.Write(path); err != nil {
		panic(err)
	}
	if checkpoint, err = weights.Open(path); err != nil {
		panic(err)
	}
	code := m.Run()
	checkpoint.Close()
	os.RemoveAll(dir)
	os.Exit(code)
}

var (
	digest = inference.Digest{1, 2, 3}
	all    = inference.BlockRange{Start: 0, End: 6}
)

// span is a model.Span that a test can hold up or break.
type span struct {
	*model.Span
	mu      sync.Mutex
	before  func(p model.Pass) error
	passes  []stage.PassInfo
	steps   []stage.StepInfo
	opened  []stage.SessionInfo
	closed  []inference.Outcome
	longest int // rows of one pass
	gate    chan struct{}
}

func (s *span) Forward(q *device.Queue, hidden tensor.Buffer, p model.Pass) error {
	s.mu.Lock()
	before := s.before
	s.longest = max(s.longest, hidden.Rows)
	s.mu.Unlock()
	if before != nil {
		if err := before(p); err != nil {
			return err
		}
	}
	return s.Span.Forward(q, hidden, p)
}

// hold makes passes wait for release.
func (s *span) hold() {
	gate := make(chan struct{})
	s.hook(func(model.Pass) error { <-gate; return nil })
	s.gate = gate
}

func (s *span) release() {
	if s.gate != nil {
		s.hook(nil)
		close(s.gate)
		s.gate = nil
	}
}

func (s *span) hook(f func(p model.Pass) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before = f
}

// node is a stage with its links.
type node struct {
	*stage.Stage
	id     inference.PeerID
	peer   *linktest.Peer
	mux    *link.Mux
	span   *span
	cache  *model.Cache
	cancel context.CancelFunc
	done   chan struct{}
}

// late is a handler that is known after the Mux.
type late struct{ link.Handler }

type rig struct {
	t      *testing.T
	net    *linktest.Network
	nodes  []*node
	client *client
	others []*client
}

// run calls f in a bubble and checks that nothing is left afterwards.
func run(t *testing.T, f func(r *rig)) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, net: linktest.New()}
		r.client = r.newClient("client")
		defer r.end()
		f(r)
	})
}

// end stops everything and checks that nothing is left.
func (r *rig) end() {
	t := r.t
	for _, n := range r.nodes {
		n.span.release()
	}
	for _, c := range append(r.others, r.client) {
		c.mux.Close()
		c.peer.Wait()
	}
	for _, n := range r.nodes {
		n.stop()
		if live := n.Live(); live != 0 {
			t.Errorf("%s: %d bytes of payload left", n.id, live)
		}
		if free, total := n.cache.FreePages(), n.cache.TotalPages(); free != total {
			t.Errorf("%s: %d of %d pages free", n.id, free, total)
		}
		if l := n.Load(); l.Queue != 0 || l.Sessions != 0 {
			t.Errorf("%s: load %+v at rest", n.id, l)
		}
	}
	for _, c := range append(r.others, r.client) {
		if live := c.pool.Live(); live != 0 {
			t.Errorf("%s: %d bytes of payload left", c.id, live)
		}
	}
}

func (n *node) stop() {
	n.cancel()
	<-n.done
	n.mux.Close()
	n.peer.Wait()
}

// node starts a stage for blocks.
func (r *rig) node(id inference.PeerID, blocks inference.BlockRange, change func(*stage.Config)) *node {
	r.t.Helper()
	sp, err := model.LoadSpan(checkpoint, blocks)
	if err != nil {
		r.t.Fatal(err)
	}
	ends, err := model.LoadEnds(checkpoint)
	if err != nil {
		r.t.Fatal(err)
	}
	cache, err := sp.NewCache(32 << 20)
	if err != nil {
		r.t.Fatal(err)
	}
	n := &node{id: id, peer: r.net.Peer(id), span: &span{Span: sp}, cache: cache, done: make(chan struct{})}
	h := &late{}
	n.mux = link.New(link.Config{Dialer: n.peer, Handler: h})
	cfg := stage.Config{
		Span: n.span, Ends: ends, Cache: cache, Queue: device.NewQueue(1), Digest: digest,
		Class: inference.ClassCPUF32v0, Links: n.mux, Limits: stage.Limits{Positions: sp.Spec().Context},
		Events: stage.Events{
			PassDone:      func(p stage.PassInfo) { n.span.passes = append(n.span.passes, p) },
			StepDone:      func(p stage.StepInfo) { n.span.steps = append(n.span.steps, p) },
			SessionOpened: func(p stage.SessionInfo) { n.span.opened = append(n.span.opened, p) },
			SessionClosed: func(_ stage.SessionInfo, o inference.Outcome) { n.span.closed = append(n.span.closed, o) },
		},
	}
	if change != nil {
		change(&cfg)
	}
	n.cache = cfg.Cache
	if n.Stage, err = stage.New(cfg); err != nil {
		r.t.Fatal(err)
	}
	h.Handler = n.Stage
	n.peer.Serve(n.mux)
	ctx, cancel := context.WithCancel(context.Background())
	n.cancel = cancel
	go func() {
		defer close(n.done)
		n.Run(ctx)
	}()
	r.nodes = append(r.nodes, n)
	return n
}

// client speaks the protocol by hand.
type client struct {
	r    *rig
	id   inference.PeerID
	peer *linktest.Peer
	mux  *link.Mux
	pool *tensor.Pool

	mu       sync.Mutex
	opened   []*wire.Opened
	outputs  map[outKey]output
	fails    []*wire.Fail
	progress []*wire.Progress
	receipts []inference.Receipt
	loads    []*wire.Load
	credits  []creditFrom
	downs    []inference.PeerID
	relayed  int
	routes   map[inference.SessionID]*route
	deaf     bool // returns no credit for outputs
}

type creditFrom struct {
	from inference.PeerID
	m    *wire.Credit
}

type outKey struct {
	session inference.SessionID
	epoch   inference.Epoch
	seq     uint64
}

type output struct {
	m    *wire.Output
	data []byte
}

func (r *rig) newClient(id inference.PeerID) *client {
	c := &client{r: r, id: id, peer: r.net.Peer(id), pool: tensor.NewPool(1 << 28), outputs: map[outKey]output{}, routes: map[inference.SessionID]*route{}}
	c.mux = link.New(link.Config{Dialer: c.peer, Handler: c})
	c.peer.Serve(c.mux)
	return c
}

// another returns a second client.
func (r *rig) another(id inference.PeerID) *client {
	c := r.newClient(id)
	r.others = append(r.others, c)
	return c
}

func (c *client) Reserve(_ inference.PeerID, _ wire.Message, n int) (tensor.Buffer, error) {
	return c.pool.Get(tensor.I8, 1, n), nil
}

func (c *client) Down(p inference.PeerID, _ error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.downs = append(c.downs, p)
}

func (c *client) Frame(from inference.PeerID, f *wire.Frame) {
	c.mu.Lock()
	defer c.mu.Unlock()
	rt := c.routes[f.Message.Of()]
	switch m := f.Message.(type) {
	case *wire.Step: // an edge through the client
		c.relayed++
		c.mux.Send(rt.peers[m.Hop], f)
		return
	case *wire.Output:
		k := outKey{m.Session, m.Epoch, m.Seq}
		if _, ok := c.outputs[k]; ok {
			c.r.t.Errorf("output %d of epoch %d came twice", m.Seq, m.Epoch)
		}
		c.outputs[k] = output{m, slices.Clone(f.Payload.Data)}
		if n := len(f.Payload.Data); n > 0 && !c.deaf {
			c.mux.Send(from, &wire.Frame{Message: &wire.Credit{Session: m.Session, Epoch: m.Epoch, Hop: uint8(len(rt.peers)), Bytes: uint64(n)}})
		}
	case *wire.Credit:
		c.credits = append(c.credits, creditFrom{from, m})
		if m.Hop > 0 && rt.peers[m.Hop] == from {
			c.mux.Send(rt.peers[m.Hop-1], f)
			return
		}
	case *wire.Opened:
		c.opened = append(c.opened, m)
	case *wire.Fail:
		c.fails = append(c.fails, m)
	case *wire.Progress:
		c.progress = append(c.progress, m)
	case *wire.Receipt:
		c.receipts = append(c.receipts, m.Receipt)
	case *wire.Load:
		c.loads = append(c.loads, m)
	}
	f.Release()
}

// route is a session over some nodes.
type route struct {
	c      *client
	id     inference.SessionID
	epoch  inference.Epoch
	dtype  inference.WireDType
	peers  []inference.PeerID
	blocks []inference.BlockRange
	in     []wire.Capability
	seq    uint64
	change func(*wire.Open) // applied to every Open
}

var sessions byte

// session returns a session that is not open yet: node i computes blocks[i].
func (c *client) session(nodes []*node, blocks ...inference.BlockRange) *route {
	sessions++
	rt := &route{c: c, id: inference.SessionID{sessions, 1}, dtype: inference.WireBF16}
	rt.reroute(nodes, blocks...)
	return rt
}

func (rt *route) reroute(nodes []*node, blocks ...inference.BlockRange) {
	rt.peers, rt.blocks = nil, blocks
	for i, n := range nodes {
		rt.peers = append(rt.peers, n.id)
		if len(blocks) == i {
			blocks = append(blocks, n.span.Blocks())
		}
	}
	rt.blocks = blocks
	rt.c.mu.Lock()
	rt.c.routes[rt.id] = rt
	rt.c.mu.Unlock()
}

// opens returns the Opens of the next epoch.
func (rt *route) opens() []*wire.Open {
	rt.epoch++
	rt.seq = 0
	rt.in = nil
	for i := range rt.peers {
		rt.in = append(rt.in, wire.Capability{byte(rt.epoch), byte(i), rt.id[0]})
	}
	var l []*wire.Open
	for i := range rt.peers {
		m := &wire.Open{
			Version: wire.Version, Session: rt.id, Epoch: rt.epoch, Mode: wire.ModeDecode, Digest: digest,
			Class: inference.ClassCPUF32v0, Wire: rt.dtype, Role: wire.Role{Blocks: rt.blocks[i]},
			Hop: uint8(i), Hops: uint8(len(rt.peers)), In: rt.in[i], Features: wire.FeatureIDs,
			Limits: wire.Limits{Positions: 2048, Branches: 8, Window: 1 << 20},
		}
		if i > 0 {
			m.Prev = rt.peers[i-1]
		}
		if i+1 < len(rt.peers) {
			m.Next, m.Out = rt.peers[i+1], rt.in[i+1]
		}
		if rt.change != nil {
			rt.change(m)
		}
		l = append(l, m)
	}
	return l
}

// open opens the next epoch and returns the answers by hop.
func (rt *route) open() []*wire.Opened {
	rt.c.r.t.Helper()
	for i, m := range rt.opens() {
		rt.c.send(rt.peers[i], m)
	}
	nap(3 * time.Second)
	answers := make([]*wire.Opened, len(rt.peers))
	rt.c.mu.Lock()
	defer rt.c.mu.Unlock()
	for _, m := range rt.c.opened {
		if m.Session == rt.id && m.Epoch == rt.epoch {
			answers[m.Hop] = m
		}
	}
	for i, m := range answers {
		if m == nil {
			rt.c.r.t.Fatalf("hop %d did not open: %v", i, rt.c.failed())
		}
	}
	return answers
}

func (c *client) failed() (l []string) {
	for _, f := range c.fails {
		l = append(l, fmt.Sprintf("hop %d epoch %d seq %d: %v", f.Hop, f.Epoch, f.Seq, f))
	}
	return l
}

func (c *client) send(to inference.PeerID, m wire.Message) {
	if err := c.mux.Send(to, &wire.Frame{Message: m}); err != nil {
		c.r.t.Errorf("send %s to %s: %v", m.Kind(), to, err)
	}
}

// ids is a step whose rows are token ids.
func (rt *route) ids(ids []inference.TokenID, rows ...wire.Row) *wire.Frame {
	rt.seq++
	p := rt.c.pool.Get(tensor.I8, 1, 4*len(ids))
	for i, id := range ids {
		binary.LittleEndian.PutUint32(p.Data[4*i:], uint32(id))
	}
	m := &wire.Step{Session: rt.id, Epoch: rt.epoch, Seq: rt.seq, Cap: rt.in[0], Payload: wire.PayloadIDs, Rows: rows}
	if len(ids) == 0 {
		m.Payload = wire.PayloadNone
	}
	return &wire.Frame{Message: m, Payload: p}
}

func (rt *route) send(f *wire.Frame) {
	rt.c.r.t.Helper()
	if err := rt.c.mux.Send(rt.peers[0], f); err != nil {
		rt.c.r.t.Fatal(err)
	}
}

// step sends ids and returns the output.
func (rt *route) step(ids []inference.TokenID, rows ...wire.Row) []float32 {
	rt.c.r.t.Helper()
	rt.send(rt.ids(ids, rows...))
	return rt.wait(rt.seq)
}

// ops sends branch operations alone.
func (rt *route) ops(ops ...wire.BranchOp) {
	rt.c.r.t.Helper()
	f := rt.ids(nil)
	f.Message.(*wire.Step).Ops = ops
	rt.send(f)
	rt.wait(rt.seq)
}

// wait returns the rows of output seq.
func (rt *route) wait(seq uint64) []float32 {
	rt.c.r.t.Helper()
	for range 400 {
		if o, ok := rt.output(seq); ok {
			x := make([]float32, len(o.data)/rt.dtype.Bytes())
			wire.GetRows(x, o.data, rt.dtype)
			return x
		}
		nap(10 * time.Millisecond)
	}
	rt.c.mu.Lock()
	defer rt.c.mu.Unlock()
	rt.c.r.t.Fatalf("no output %d of epoch %d; fails: %v", seq, rt.epoch, rt.c.failed())
	return nil
}

func (rt *route) output(seq uint64) (output, bool) {
	rt.c.mu.Lock()
	defer rt.c.mu.Unlock()
	o, ok := rt.c.outputs[outKey{rt.id, rt.epoch, seq}]
	return o, ok
}

func (rt *route) close() {
	for _, p := range rt.peers {
		rt.c.send(p, &wire.Close{Session: rt.id, Outcome: inference.OutcomeOK})
	}
	nap(time.Second)
}

// fail waits for a Fail of this session and returns it.
func (rt *route) fail() *wire.Fail {
	rt.c.r.t.Helper()
	for range 4000 {
		rt.c.mu.Lock()
		for _, f := range rt.c.fails {
			if f.Session == rt.id && f.Epoch == rt.epoch {
				rt.c.mu.Unlock()
				return f
			}
		}
		rt.c.mu.Unlock()
		nap(10 * time.Millisecond)
	}
	rt.c.r.t.Fatal("no Fail came")
	return nil
}

func (rt *route) wantFail(code wire.Code) *wire.Fail {
	rt.c.r.t.Helper()
	f := rt.fail()
	if f.Code != code {
		rt.c.r.t.Fatalf("fail %v, want %v", f, code)
	}
	return f
}

// tokens returns n ids that depend on seed.
func tokens(seed, n int) []inference.TokenID {
	ids := make([]inference.TokenID, n)
	for i := range ids {
		ids[i] = inference.TokenID((seed*131 + i*i*17 + i*7 + 3) % 272)
	}
	return ids
}

// expect computes the hidden states of a sequence without any stage, row by row.
func expect(t *testing.T, dtype inference.WireDType, ids []inference.TokenID) []float32 {
	t.Helper()
	sp, err := model.LoadSpan(checkpoint, all)
	if err != nil {
		t.Fatal(err)
	}
	ends, err := model.LoadEnds(checkpoint)
	if err != nil {
		t.Fatal(err)
	}
	cache, _ := sp.NewCache(64 << 20)
	q := device.NewQueue(1)
	b := cache.NewBranch(all)
	x := make([]float32, len(ids)*sp.Hidden())
	buf := tensor.Of(x, len(ids), sp.Hidden())
	err = errors.Join(
		ends.Embed(q, buf, ids, dtype), b.Grow(len(ids)),
		sp.Forward(q, buf, model.Pass{Role: all, Wire: dtype, Segments: []model.Segment{{Branch: b, N: len(ids)}}}),
	)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// same reports an error unless got equals rows [lo, hi) of want, bit for bit.
func same(t *testing.T, what string, got, want []float32) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d values, want %d", what, len(got), len(want))
	}
	for i := range got {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
			t.Fatalf("%s: value %d is %g, want %g", what, i, got[i], want[i])
		}
	}
}

func rows(x []float32, lo, hi int) []float32 { return x[lo*d : hi*d] }

func row(branch uint32, start, n int, want wire.Want) wire.Row {
	line := inference.LinePrefill
	if n == 1 {
		line = inference.LineDecode
	}
	return wire.Row{Branch: branch, Start: uint32(start), N: uint32(n), Extent: uint32(start + n), Want: want, Line: line}
}

func blocks(a, b int) inference.BlockRange { return inference.BlockRange{Start: a, End: b} }

// nap lets time pass; what others wrote in it may be read afterwards.
func nap(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func embed(t *testing.T, ends *model.Ends, ids []inference.TokenID) []float32 {
	t.Helper()
	x := make([]float32, len(ids)*d)
	if err := ends.Embed(device.NewQueue(1), tensor.Of(x, len(ids), d), ids, inference.WireBF16); err != nil {
		t.Fatal(err)
	}
	return x
}
