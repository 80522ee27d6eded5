package stage

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/kernels/device"
	"github.com/farlabs/inference/kernels/tensor"
	"github.com/farlabs/inference/model"
	"github.com/farlabs/inference/model/modeltest"
	"github.com/farlabs/inference/pipeline/wire"
)

// nowhere is a network that takes every frame.
type nowhere struct{}

func (nowhere) Send(_ inference.PeerID, f *wire.Frame) error {
	f.Append(nil) // what is sent can be encoded
	f.Release()
	return nil
}

func (nowhere) Connect(context.Context, inference.PeerID) error { return errors.New("nowhere") }

var fuzzModel = modeltest.Llama{
	Layers: 2, Hidden: 8, Heads: 1, KVHeads: 1, HeadDim: 8, RopeDims: 8, FFN: 8, Vocab: 260, Context: 64, RopeTheta: 10000, NormEps: 1e-5,
}

// newLocal returns a stage without a network, of which the caller makes the passes.
func newLocal(tb testing.TB, m modeltest.Llama, links Links) *Stage {
	tb.Helper()
	c := m.Open(tb)
	all := inference.BlockRange{End: m.Layers}
	span, err := model.LoadSpan(c, all)
	if err != nil {
		tb.Fatal(err)
	}
	ends, err := model.LoadEnds(c)
	if err != nil {
		tb.Fatal(err)
	}
	cache, err := span.NewCache(1<<20, inference.KVF32)
	if err != nil {
		tb.Fatal(err)
	}
	s, err := New(Config{
		Span: span, Ends: ends, Cache: cache, Queue: device.NewQueue(1), Class: inference.Numerics{}.Class(), Links: links,
	})
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func fuzzOpen(epoch inference.Epoch, last bool) *wire.Open {
	m := &wire.Open{
		Version: wire.Version, Features: wire.FeatureIDs, Session: inference.SessionID{1}, Epoch: epoch, Mode: wire.ModeDecode,
		Class: inference.Numerics{}.Class(), Wire: inference.WireBF16, Role: wire.Role{Blocks: inference.BlockRange{End: 2}},
		Hops: 1, Keep: true, Limits: wire.Limits{Positions: 64, Branches: 4, Window: 4096},
	}
	if !last {
		m.Hops, m.Next = 2, "next"
	}
	return m
}

// FuzzFrames feeds any sequence of frames to a stage: it must neither panic nor
// leak payloads, pages or sessions.
func FuzzFrames(f *testing.F) {
	seed := func(l ...*wire.Frame) {
		var b []byte
		for _, fr := range l {
			b = fr.Append(b)
		}
		f.Add(b)
	}
	step := func(epoch inference.Epoch, seq uint64, start uint32, n int, ops ...wire.BranchOp) *wire.Frame {
		m := &wire.Step{Session: inference.SessionID{1}, Epoch: epoch, Seq: seq, Ops: ops}
		if n > 0 {
			m.Payload, m.Rows = wire.PayloadIDs, []wire.Row{{Start: start, N: uint32(n), Want: wire.WantAll}}
		}
		return &wire.Frame{Message: m, Payload: tensor.Buffer{Data: make([]byte, 4*n)}}
	}
	open := &wire.Frame{Message: fuzzOpen(1, true)}
	seed(open, step(1, 1, 0, 20), step(1, 2, 20, 1), step(1, 3, 10, 5))
	seed(open, step(1, 2, 5, 1), step(1, 1, 0, 5), step(1, 1, 0, 5), &wire.Frame{Message: fuzzOpen(2, false)}, step(2, 1, 5, 3))
	seed(open, step(1, 1, 0, 5), step(1, 2, 0, 0, wire.BranchOp{To: 1, At: 3}, wire.BranchOp{Drop: true}), step(1, 3, 0, 1))
	seed(open, &wire.Frame{Message: &wire.Credit{Session: inference.SessionID{1}, Epoch: 1, Hop: 1, Bytes: 1 << 40}},
		&wire.Frame{Message: &wire.Probe{Session: inference.SessionID{1}}}, &wire.Frame{Message: &wire.Close{Session: inference.SessionID{1}}})
	s := newLocal(f, fuzzModel, nowhere{})
	f.Fuzz(func(t *testing.T, b []byte) {
		r := wire.NewReader(bytes.NewReader(b), func(m wire.Message, n int) (tensor.Buffer, error) { return s.Reserve("client", m, n) })
		for n := 0; n < 64; n++ {
			fr, err := r.Next()
			var refused *wire.Refused
			if errors.As(err, &refused) {
				continue
			}
			if err != nil {
				break
			}
			s.Frame("client", fr)
			s.clerks.Wait()
			for s.pass() {
			}
		}
		checkEmpty(t, s)
	})
}

// checkEmpty ends all sessions and reports what is left.
func checkEmpty(t *testing.T, s *Stage) {
	t.Helper()
	s.Down("next", errors.New("gone"))
	s.flushListed()
	s.keepHouse(time.Now())
	s.mu.Lock()
	for _, e := range s.sessions {
		s.end(e, inference.OutcomeAbort)
	}
	s.flush = s.flush[:0]
	s.mu.Unlock()
	s.clerks.Wait()
	if s.pool.Live() != 0 || s.cfg.Cache.FreePages() != s.cfg.Cache.TotalPages() {
		t.Fatalf("%d bytes, %d pages leaked", s.pool.Live(), s.cfg.Cache.TotalPages()-s.cfg.Cache.FreePages())
	}
	if s.pending != 0 || s.live != 0 || s.reserved != 0 || s.outBytes != 0 || len(s.clients) != 0 {
		t.Fatalf("accounts: %d rows, %d sessions, %d and %d bytes, %d clients", s.pending, s.live, s.reserved, s.outBytes, len(s.clients))
	}
}

// FuzzProtocol takes its input as commands, eight bytes each, so that it gets
// past what a random frame fails at.
func FuzzProtocol(f *testing.F) {
	f.Add([]byte{0, 1, 1, 1, 0, 0, 0, 0 /* open */, 1, 1, 1, 0, 30, 0, 0, 0 /* step */, 2, 1, 2, 0, 5, 1, 30, 0 /* fork */, 3, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{0, 1, 0, 1, 0, 0, 0, 0, 1, 1, 1, 0, 30, 0, 0, 0, 0, 2, 1, 1, 0, 0, 0, 0, 1, 2, 1, 20, 7, 0, 0, 2, 5, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{0, 1, 1, 1, 0, 0, 0, 0, 1, 1, 2, 9, 30, 0, 0, 0, 1, 1, 1, 0, 9, 0, 0, 0, 1, 1, 1, 0, 9, 0, 0, 0, 4, 1, 255, 0, 0, 0, 0, 0})
	s := newLocal(f, fuzzModel, nowhere{})
	f.Fuzz(func(t *testing.T, b []byte) {
		for n := 0; n < 100 && len(b) >= 8; n, b = n+1, b[8:] {
			c := b[:8]
			id := inference.SessionID{c[1] >> 6}
			epoch := inference.Epoch(c[1] & 7)
			from := inference.PeerID("client")
			switch c[0] % 8 {
			case 0:
				m := fuzzOpen(epoch, c[2]&1 > 0)
				m.Session, m.Keep = id, c[3]&1 > 0
				if c[4] > 0 {
					m.Role.Blocks.Start = 1
				}
				if c[5] > 0 {
					m.Limits.Window = uint32(c[5]) * 8
				}
				s.Frame(from, &wire.Frame{Message: m})
			case 1, 2:
				m := &wire.Step{Session: id, Epoch: epoch, Seq: uint64(c[2] & 31), EmitAt: c[7] & 1, Fill: c[7]&2 > 0}
				if c[0]%8 == 2 {
					m.Ops = []wire.BranchOp{{Drop: c[5]&8 > 0, From: uint32(c[5] >> 4), To: uint32(c[5] & 7), At: uint32(c[6])}}
				}
				rows := int(c[4] & 63)
				if rows > 0 {
					m.Payload = wire.PayloadIDs
					m.Rows = []wire.Row{{Branch: uint32(c[5] & 7), Start: uint32(c[3]), N: uint32(rows), EmitFrom: uint32(c[6]), Want: wire.Want(c[7] >> 6 % 3)}}
				}
				fr := &wire.Frame{Message: m}
				if rows > 0 {
					p, err := s.Reserve(from, m, 4*rows)
					if err != nil {
						continue
					}
					clear(p.Data)
					fr.Payload = p
				}
				s.Frame(from, fr)
			case 3:
				s.Frame(from, &wire.Frame{Message: &wire.Close{Session: id, Outcome: inference.Outcome(c[2])}})
			case 4:
				s.Frame(from, &wire.Frame{Message: &wire.Credit{Session: id, Epoch: epoch, Hop: 1, Bytes: uint64(c[2]) << (c[3] & 63)}})
			case 5:
				s.Down([]inference.PeerID{"client", "next"}[c[2]&1], errors.New("gone"))
			case 6:
				s.Frame("next", &wire.Frame{Message: &wire.Fail{Session: id, Epoch: epoch, Code: wire.Code(c[2])}})
			case 7:
				s.flushListed()
				s.keepHouse(time.Now())
			}
			if c[0] < 128 { // else several commands come before a pass
				s.clerks.Wait()
				for s.pass() {
				}
			}
		}
		checkEmpty(t, s)
	})
}

// A decoded token costs the stage a few small allocations, whatever the width.
func TestTokenAllocatesLittle(t *testing.T) {
	s := newLocal(t, modeltest.Small(), nowhere{})
	m := fuzzOpen(1, true)
	m.Role.Blocks.End, m.Limits.Positions = 6, 2000
	s.Frame("client", &wire.Frame{Message: m})
	s.clerks.Wait()
	seq, at := uint64(0), uint32(0)
	token := func() {
		seq++
		st := &wire.Step{Session: m.Session, Epoch: 1, Seq: seq, Payload: wire.PayloadIDs, Rows: []wire.Row{{Start: at, N: 1, Want: wire.WantLast}}}
		at++
		p, err := s.Reserve("client", st, 4)
		if err != nil {
			t.Fatal(err)
		}
		clear(p.Data)
		s.Frame("client", &wire.Frame{Message: st, Payload: p})
		for s.pass() {
		}
		s.Frame("client", &wire.Frame{Message: &wire.Credit{Session: m.Session, Epoch: 1, Hop: 1, Bytes: 128}})
	}
	for range 40 {
		token()
	}
	if n := testing.AllocsPerRun(200, token); n > 20 {
		t.Errorf("%v allocations a token", n)
	} else {
		t.Logf("%v allocations a token, the test's own included", n)
	}
	s.stop()
	s.clerks.Wait()
}
