package stage_test

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/kernels/tensor"
	"github.com/farlabs/inference/pipeline/link"
	"github.com/farlabs/inference/pipeline/link/linktest"
	"github.com/farlabs/inference/pipeline/wire"
)

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
			Class: inference.Numerics{}.Class(), Wire: rt.dtype, Role: wire.Role{Blocks: rt.blocks[i]},
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

func (rt *route) step(ids []inference.TokenID, rows ...wire.Row) []float32 {
	rt.c.r.t.Helper()
	rt.send(rt.ids(ids, rows...))
	return rt.wait(rt.seq)
}

func (rt *route) ops(ops ...wire.BranchOp) {
	rt.c.r.t.Helper()
	f := rt.ids(nil)
	f.Message.(*wire.Step).Ops = ops
	rt.send(f)
	rt.wait(rt.seq)
}

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
