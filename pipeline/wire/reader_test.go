package wire

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/kernels/tensor"
)

func TestReaderRefusesBeforeItAllocates(t *testing.T) {
	frame := func(total, header uint64, rest ...byte) []byte {
		return append(putUvarint(putUvarint(nil, total), header), rest...)
	}
	step := (&Frame{Message: &Step{Seq: 1, Payload: PayloadIDs, Rows: []Row{{N: 1}}}}).Append(nil)[2:] // without its two lengths
	for name, b := range map[string][]byte{
		"frame too long":        frame(MaxHeader+MaxPayload+1, 10),
		"header too long":       frame(MaxHeader+100, MaxHeader+1),
		"header beyond frame":   frame(10, 10),
		"empty header":          frame(1, 0),
		"unknown kind":          frame(2, 1, 200),
		"kind 0":                frame(2, 1, 0),
		"payload too long":      frame(uint64(1+len(step)+MaxPayload+1), uint64(len(step)), step...),
		"payload of a query":    append(frame(13, 2, byte(KindLoadQuery), 1), make([]byte, 10)...),
		"length not shortest":   {0x83, 0x00, 2, byte(KindLoadQuery), 1},
		"length of five bytes":  {0x83, 0x80, 0x80, 0x80, 0x01, 1},
		"header not shortest":   {3, 0x82, 0x00, byte(KindLoadQuery), 1},
		"many rows, few bytes":  frame(60, 59, append([]byte{byte(KindOutput)}, append(make([]byte, 19), 0xff, 1)...)...),
		"too many positions":    (&Frame{Message: &Output{Rows: []Row{{N: MaxStepRows}, {N: 1}}}}).Append(nil),
		"empty row group":       (&Frame{Message: &Output{Rows: []Row{{N: 0}}}}).Append(nil),
		"position beyond 2^31":  (&Frame{Message: &Output{Rows: []Row{{Start: 1<<31 - 1, N: 2}}}}).Append(nil),
		"unknown want":          (&Frame{Message: &Output{Rows: []Row{{N: 1, Want: 3}}}}).Append(nil),
		"unknown line":          (&Frame{Message: &Output{Rows: []Row{{N: 1, Line: inference.NumLines}}}}).Append(nil),
		"hop beyond the route":  (&Frame{Message: &Open{Role: Role{Blocks: inference.BlockRange{End: 1}}, Hop: 1, Hops: 1}}).Append(nil),
		"route too long":        (&Frame{Message: &Open{Role: Role{Blocks: inference.BlockRange{End: 1}}, Hops: 129}}).Append(nil),
		"blocks upside down":    (&Frame{Message: &Open{Role: Role{Blocks: inference.BlockRange{Start: 2, End: 2}}, Hops: 1}}).Append(nil),
		"block beyond any":      (&Frame{Message: &Open{Role: Role{Blocks: inference.BlockRange{End: 1025}}, Hops: 1}}).Append(nil),
		"branches beyond limit": (&Frame{Message: &Open{Role: Role{Blocks: inference.BlockRange{End: 1}}, Hops: 1, Limits: Limits{Branches: 1025}}}).Append(nil),
	} {
		asked := 0
		r := NewReader(bytes.NewReader(append(b, make([]byte, 200)...)), func(m Message, n int) (tensor.Buffer, error) {
			asked += n
			return allocate(m, n)
		})
		if _, err := r.Next(); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
		if asked > 0 {
			t.Errorf("%s: memory for %d bytes was asked for", name, asked)
		}
	}
	huge := frame(MaxPayload, 2, byte(KindLoadQuery))
	if n := testing.AllocsPerRun(10, func() { _, _ = NewReader(bytes.NewReader(huge), nil).Next() }); n > 12 {
		t.Errorf("a short stream that announces 64 MiB makes %v allocations", n)
	}
}

func TestHeadersOfAnyLengthAreRead(t *testing.T) {
	var b []byte
	sizes := []int{1, MaxRows, 2, MaxRows}
	for _, n := range sizes {
		m := &Output{Rows: make([]Row, n)}
		for i := range m.Rows {
			m.Rows[i] = Row{Branch: uint32(i), Start: 1 << 20, N: 1}
		}
		b = (&Frame{Message: m}).Append(b)
	}
	r := NewReader(bytes.NewReader(b), allocate)
	for _, n := range sizes {
		f, err := r.Next()
		if err != nil || len(f.Message.(*Output).Rows) != n {
			t.Fatalf("%d row groups: %+v, %v", n, f, err)
		}
	}
	if r.HeaderBytes() < 2048 {
		t.Errorf("the longest header has %d bytes only", r.HeaderBytes())
	}
}

func TestRefusedPayloadLeavesTheStreamInStep(t *testing.T) {
	step := Frame{Message: &Step{Seq: 1, Payload: PayloadIDs, Rows: []Row{{N: 1000}}}, Payload: tensor.Buffer{Data: make([]byte, 4000)}}
	b := (&Frame{Message: &Probe{Nonce: 9}}).Append(step.Append(nil))
	full := errors.New("no memory")
	r := NewReader(bytes.NewReader(b), func(Message, int) (tensor.Buffer, error) { return tensor.Buffer{}, full })
	_, err := r.Next()
	var refused *Refused
	if !errors.As(err, &refused) || refused.Message.(*Step).Seq != 1 || !errors.Is(err, full) {
		t.Fatalf("%v", err)
	}
	f, err := r.Next()
	if err != nil || f.Message.(*Probe).Nonce != 9 {
		t.Errorf("%+v, %v", f, err)
	}
}

func TestEndOfStreamWithinAFrameIsAnError(t *testing.T) {
	pool := tensor.NewPool(1 << 20)
	step := Frame{Message: &Step{Seq: 300, Payload: PayloadIDs, Rows: []Row{{N: 50}}}, Payload: tensor.Buffer{Data: make([]byte, 200)}}
	b := step.Append(nil)
	for n := 1; n < len(b); n++ {
		r := NewReader(bytes.NewReader(b[:n]), func(_ Message, n int) (tensor.Buffer, error) { return pool.Get(tensor.I8, 1, n), nil })
		if _, err := r.Next(); !errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
			t.Errorf("%d bytes of %d: %v", n, len(b), err)
		}
	}
	if pool.Live() != 0 {
		t.Errorf("%d bytes leaked", pool.Live())
	}
}

func TestWaitReturnsWhenAFrameBegins(t *testing.T) {
	pr, pw := io.Pipe()
	r := NewReader(pr, allocate)
	b := (&Frame{Message: &Probe{Nonce: 9}}).Append(nil)
	go func() {
		_, _ = pw.Write(b[:1])
		_, _ = pw.Write(b[1:])
		pw.Close()
	}()
	if err := r.Wait(); err != nil {
		t.Fatal(err)
	}
	if f, err := r.Next(); err != nil || f.Message.(*Probe).Nonce != 9 {
		t.Fatalf("%+v, %v", f, err)
	}
	if err := r.Wait(); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
}

func FuzzReader(f *testing.F) {
	fill := filler{rand.New(rand.NewPCG(11, 12))}
	var all []byte
	for k := Kind(1); k < kindEnd; k++ {
		frame := Frame{Message: fill.message(k)}
		if k == KindStep {
			frame.Payload.Data = []byte{1, 2, 3, 4}
		}
		b := frame.Append(nil)
		f.Add(b)
		all = append(all, b...)
	}
	f.Add(all)
	f.Fuzz(func(t *testing.T, b []byte) {
		pool := tensor.NewPool(0)
		r := NewReader(bufio.NewReader(bytes.NewReader(b)), func(_ Message, n int) (tensor.Buffer, error) {
			if n > len(b) {
				return tensor.Buffer{}, errors.New("more than there is")
			}
			return pool.Get(tensor.I8, 1, n), nil
		})
		for {
			f, err := r.Next()
			var refused *Refused
			if errors.As(err, &refused) {
				continue
			}
			if err != nil {
				break
			}
			f.Release()
		}
		if pool.Live() != 0 {
			t.Errorf("%d bytes leaked", pool.Live())
		}
	})
}
