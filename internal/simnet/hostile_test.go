package simnet_test

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/internal/simnet"
	"github.com/farlabs/inference/kernels/tensor"
	"github.com/farlabs/inference/pipeline"
	"github.com/farlabs/inference/pipeline/link"
	"github.com/farlabs/inference/pipeline/wire"
)

// timed returns how long a client takes for an answer of 60 tokens.
func timed(t *testing.T, l *simnet.Client) time.Duration {
	t.Helper()
	start := time.Now()
	r := pipeline.Request{IDs: tokens(5, 30), MaxTokens: 60, IgnoreEOS: true}
	ask(context.Background(), l.DistributedPipeline, r, nil).want(t, 0, tiny.Reference(t, inference.WireBF16).Generate(tokens(5, 30), moods["greedy"], 0, 60))
	return time.Since(start)
}

func TestStalledSessionCostsOthersLittle(t *testing.T) {
	run(t, func(t *testing.T, c *simnet.Cluster) {
		c.Delay(oneWay)
		c.Add("a", 0, 3).Slow(10*time.Millisecond, 0)
		c.Add("b", 3, 6).Slow(10*time.Millisecond, 0)
		stalled, other := c.Client("stalled", simnet.ClientOptions{}), c.Client("other", simnet.ClientOptions{})
		alone := timed(t, other)
		s := open(t, stalled, pipeline.SessionOptions{Chunk: 32, Timeout: time.Minute})
		defer s.Close()
		ids := tokens(1, 500)
		done := make(chan []pipeline.Hidden)
		go func() {
			h, err := s.Step(context.Background(), nil, []pipeline.Group{group(0, 0, ids)})
			if err != nil {
				t.Error(err)
			}
			done <- h
		}()
		time.Sleep(80 * time.Millisecond)
		stalled.Freeze() // it reads nothing and returns no credit
		time.Sleep(500 * time.Millisecond)
		if with := timed(t, other); with > alone*11/10 {
			t.Errorf("%v beside a stalled session, %v alone", with, alone)
		}
		stalled.Thaw()
		h := <-done
		same(t, "the stalled session, afterwards", h[0].Data, expect(t, inference.WireBF16, ids))
	})
}

func TestSessionWithoutCreditCostsOthersLittle(t *testing.T) {
	run(t, func(t *testing.T, c *simnet.Cluster) {
		c.Delay(oneWay)
		c.Add("a", 0, 3).Slow(10*time.Millisecond, 0)
		c.Add("b", 3, 6).Slow(10*time.Millisecond, 0)
		var mu sync.Mutex
		mean := map[inference.SessionID]bool{} // the sessions whose credit is withheld
		withhold := func(_ inference.PeerID, f *wire.Frame) []*wire.Frame {
			mu.Lock()
			defer mu.Unlock()
			if m, ok := f.Message.(*wire.Credit); ok && mean[m.Session] {
				return nil
			}
			return []*wire.Frame{f}
		}
		l := c.Client("client", simnet.ClientOptions{Links: func(l pipeline.Links) pipeline.Links { return &tap{l, withhold} }})
		alone := timed(t, l)
		s := open(t, l, pipeline.SessionOptions{Chunk: 64, MaxBranches: 16, Wire: inference.WireF32})
		mu.Lock()
		mean[s.ID()] = true
		mu.Unlock()
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		stuck := make(chan error)
		go func() {
			// More than the window of 256 KiB holds: 4,096 rows of 64 bytes.
			var ops []wire.BranchOp
			var groups []pipeline.Group
			for b := range 16 {
				if b > 0 {
					ops = append(ops, pipeline.Fork(0, 0, uint32(b)))
				}
				groups = append(groups, group(uint32(b), 0, tokens(b, 300)))
			}
			_, err := s.Step(ctx, ops, groups)
			stuck <- err
		}()
		time.Sleep(2 * time.Second)
		if with := timed(t, l); with > alone*11/10 {
			t.Errorf("%v beside a session without credit, %v alone", with, alone)
		}
		select {
		case err := <-stuck:
			t.Errorf("the session without credit was not held up: %v", err)
		default:
			cancel()
			<-stuck
		}
		s.Close()
	})
}

func TestBytesThatAreNoFrameHurtNobodyElse(t *testing.T) {
	huge := binary.AppendUvarint(nil, 1<<40)
	overlong := append(binary.AppendUvarint(nil, 100<<20), 3, 1, 2, 3)
	for name, bytes := range map[string][]byte{"huge length": huge, "large length": overlong, "unknown kind": {3, 2, 200, 0}, "empty header": {1, 0}} {
		t.Run(name, func(t *testing.T) {
			run(t, func(t *testing.T, c *simnet.Cluster) {
				c.Delay(oneWay)
				c.Add("a", 0, 3)
				c.Add("b", 3, 6)
				l := c.Client("client", simnet.ClientOptions{})
				evil := c.Peer("evil")
				evil.Serve(nil)
				timed(t, l)
				for _, to := range []inference.PeerID{"a", "b", "client"} {
					s, err := evil.OpenStream(context.Background(), to, wire.Bulk.Protocol())
					if err != nil {
						t.Fatal(err)
					}
					greeting := make([]byte, 16)
					greeting[0] = 1
					s.Write(append(greeting, bytes...))
					s.SetReadDeadline(time.Now().Add(30 * time.Second))
					buf := make([]byte, 64)
					for err == nil {
						_, err = s.Read(buf)
					}
					if errors.Is(err, os.ErrDeadlineExceeded) {
						t.Errorf("%s keeps the stream", to)
					}
					s.Reset()
				}
				timed(t, l)
			})
		})
	}
}

// tap stands between sessions and links.
type tap struct {
	pipeline.Links
	send func(to inference.PeerID, f *wire.Frame) []*wire.Frame
}

func (p *tap) Send(to inference.PeerID, f *wire.Frame) (err error) {
	for _, f := range p.send(to, f) {
		err = errors.Join(err, p.Links.Send(to, f))
	}
	return err
}

// copyOf returns a frame of its own memory.
func copyOf(f *wire.Frame) *wire.Frame {
	m, err := wire.ParseHeader(headerOf(f))
	if err != nil {
		panic(err)
	}
	c := &wire.Frame{Message: m}
	if n := len(f.Payload.Data); n > 0 {
		c.Payload = tensor.Buffer{DType: tensor.I8, Rows: 1, Cols: n, Data: slices.Clone(f.Payload.Data)}
	}
	return c
}

func headerOf(f *wire.Frame) []byte {
	b := (&wire.Frame{Message: f.Message}).AppendHeader(nil)
	_, n := binary.Uvarint(b)
	_, k := binary.Uvarint(b[n:])
	return b[n+k:]
}

func TestStepSentTwiceIsDoneOnce(t *testing.T) {
	run(t, func(t *testing.T, c *simnet.Cluster) {
		c.Delay(oneWay)
		c.Add("a", 0, 3)
		c.Add("b", 3, 6)
		twice := func(_ inference.PeerID, f *wire.Frame) []*wire.Frame {
			if _, ok := f.Message.(*wire.Step); ok {
				return []*wire.Frame{copyOf(f), f, copyOf(f)}
			}
			return []*wire.Frame{f}
		}
		l := c.Client("client", simnet.ClientOptions{Links: func(l pipeline.Links) pipeline.Links { return &tap{l, twice} }})
		timed(t, l)
		if n := c.Node("a").Rows(); n != 30+59 {
			t.Errorf("%d rows computed, want %d", n, 30+59)
		}
		if len(l.Routes()) != 1 {
			t.Errorf("%d routes", len(l.Routes()))
		}
	})
}

// quietHandler takes what comes and keeps the failures.
type quietHandler struct {
	mu    sync.Mutex
	fails []*wire.Fail
	other int
}

func (h *quietHandler) Reserve(_ inference.PeerID, _ wire.Message, n int) (tensor.Buffer, error) {
	return tensor.Buffer{DType: tensor.I8, Rows: 1, Cols: n, Data: make([]byte, n)}, nil
}
func (h *quietHandler) Down(inference.PeerID, error) {}
func (h *quietHandler) Frame(_ inference.PeerID, f *wire.Frame) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if m, ok := f.Message.(*wire.Fail); ok {
		h.fails = append(h.fails, m)
	} else {
		h.other++
	}
}

func TestNobodyElseCanWriteToASession(t *testing.T) {
	run(t, func(t *testing.T, c *simnet.Cluster) {
		c.Delay(oneWay)
		c.Add("a", 0, 3)
		c.Add("b", 3, 6)
		evil := c.Peer("evil")
		h := &quietHandler{}
		mux := link.New(link.Config{Dialer: evil, Handler: h})
		evil.Serve(mux)
		var mu sync.Mutex
		sent := 0
		// Whatever the client sends, the other peer sends too, with the right
		// capability and to both hops.
		spy := func(to inference.PeerID, f *wire.Frame) []*wire.Frame {
			mu.Lock()
			defer mu.Unlock()
			if sent++; sent < 200 {
				for _, to := range []inference.PeerID{"a", "b"} {
					g := copyOf(f)
					if m, ok := g.Message.(*wire.Step); ok && to == "b" {
						m.Hop = 1
					}
					mux.Send(to, g)
				}
			}
			return []*wire.Frame{f}
		}
		l := c.Client("client", simnet.ClientOptions{Links: func(l pipeline.Links) pipeline.Links { return &tap{l, spy} }})
		timed(t, l)
		if len(l.Routes()) != 1 {
			t.Errorf("%d routes", len(l.Routes()))
		}
		// It may open sessions of its own under that number when the client's is
		// not there yet, but the client's answer was its own.
		h.mu.Lock()
		forbidden := 0
		for _, f := range h.fails {
			if f.Code == wire.CodeForbidden {
				forbidden++
			}
		}
		if forbidden == 0 || h.other > 0 {
			t.Errorf("%d times forbidden, %d other answers", forbidden, h.other)
		}
		h.mu.Unlock()
		mux.Close()
		evil.Wait()
	})
}

func TestWrongCapabilityIsRefused(t *testing.T) {
	run(t, func(t *testing.T, c *simnet.Cluster) {
		c.Delay(oneWay)
		c.Add("a", 0, 3)
		c.Add("b", 3, 6)
		first := true
		forge := func(_ inference.PeerID, f *wire.Frame) []*wire.Frame {
			if m, ok := f.Message.(*wire.Step); ok && first {
				first = false
				m.Cap[0] ^= 1
			}
			return []*wire.Frame{f}
		}
		l := c.Client("client", simnet.ClientOptions{Links: func(l pipeline.Links) pipeline.Links { return &tap{l, forge} }})
		timed(t, l)
		if n := len(l.Routes()); n != 2 {
			t.Errorf("%d routes: the step was not refused", n)
		}
	})
}

// changer changes what comes from one peer.
type changer struct {
	link.Handler
	from   inference.PeerID
	change func(f *wire.Frame)
}

func (h *changer) Frame(from inference.PeerID, f *wire.Frame) {
	if from == h.from {
		h.change(f)
	}
	h.Handler.Frame(from, f)
}

func TestOutputThatIsNotWhatWasWantedIsNotTaken(t *testing.T) {
	for name, change := range map[string]func(m *wire.Output, f *wire.Frame){
		"no rows":       func(m *wire.Output, f *wire.Frame) { m.Rows = nil; f.Release() },
		"other branch":  func(m *wire.Output, f *wire.Frame) { m.Rows[0].Branch = 3 },
		"other start":   func(m *wire.Output, f *wire.Frame) { m.Rows[0].Start-- },
		"too many rows": func(m *wire.Output, f *wire.Frame) { m.Rows = append(m.Rows, m.Rows[0]) },
		"short payload": func(m *wire.Output, f *wire.Frame) { f.Payload.Data = f.Payload.Data[:len(f.Payload.Data)-2] },
	} {
		t.Run(name, func(t *testing.T) {
			run(t, func(t *testing.T, c *simnet.Cluster) {
				c.Delay(oneWay)
				c.Add("a", 0, 3)
				c.Add("b", 3, 6)
				outputs := 0
				l := c.Client("client", simnet.ClientOptions{Handler: func(h link.Handler) link.Handler {
					return &changer{h, "b", func(f *wire.Frame) {
						if m, ok := f.Message.(*wire.Output); ok {
							if outputs++; outputs == 10 {
								change(m, f)
							}
						}
					}}
				}})
				timed(t, l)
				if n := len(l.Routes()); n != 2 {
					t.Errorf("%d routes: it was taken", n)
				}
			})
		})
	}
}
