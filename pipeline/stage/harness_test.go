package stage_test

import (
	"context"
	"errors"
	"math"
	"os"
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
	cache, err := sp.NewCache(32<<20, inference.KVF32)
	if err != nil {
		r.t.Fatal(err)
	}
	n := &node{id: id, peer: r.net.Peer(id), span: &span{Span: sp}, cache: cache, done: make(chan struct{})}
	h := &late{}
	n.mux = link.New(link.Config{Dialer: n.peer, Handler: h})
	cfg := stage.Config{
		Span: n.span, Ends: ends, Cache: cache, Queue: device.NewQueue(1), Digest: digest,
		Class: inference.Numerics{}.Class(), Links: n.mux, Limits: stage.Limits{Positions: sp.Spec().Context},
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
// another returns a second client.
// route is a session over some nodes.
// session returns a session that is not open yet: node i computes blocks[i].
// opens returns the Opens of the next epoch.
// open opens the next epoch and returns the answers by hop.
// ids is a step whose rows are token ids.
// step sends ids and returns the output.
// ops sends branch operations alone.
// wait returns the rows of output seq.
// fail waits for a Fail of this session and returns it.
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
	cache, _ := sp.NewCache(64<<20, inference.KVF32)
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
