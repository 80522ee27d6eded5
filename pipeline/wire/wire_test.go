package wire

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/kernels/tensor"
)

var update = flag.Bool("update", false, "rewrite testdata")

// filler sets every field of a message, within the limits of the protocol.
type filler struct{ r *rand.Rand }

func (f filler) fill(v reflect.Value) {
	switch v.Interface().(type) {
	case inference.BlockRange:
		start := f.r.IntN(1000)
		v.Set(reflect.ValueOf(inference.BlockRange{Start: start, End: start + 1 + f.r.IntN(24)}))
		return
	case []Row:
		l := make([]Row, f.r.IntN(20))
		for i := range l {
			f.fill(reflect.ValueOf(&l[i]).Elem())
			l[i].N = 1 + uint32(f.r.IntN(MaxStepRows/20))
			l[i].Start %= 1 << 30
			l[i].Want %= 3
			l[i].Line %= inference.NumLines
		}
		if len(l) > 0 {
			v.Set(reflect.ValueOf(l))
		}
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			f.fill(v.Field(i))
		}
	case reflect.Pointer:
		if f.r.IntN(4) > 0 {
			v.Set(reflect.New(v.Type().Elem()))
			f.fill(v.Elem())
		}
	case reflect.Slice:
		if n := f.r.IntN(9); n > 0 {
			v.Set(reflect.MakeSlice(v.Type(), n, n))
			for i := range n {
				f.fill(v.Index(i))
			}
		}
	case reflect.Array:
		for i := range v.Len() {
			f.fill(v.Index(i))
		}
	case reflect.String:
		v.SetString(strings.Repeat("é", f.r.IntN(9)))
	case reflect.Bool:
		v.SetBool(f.r.IntN(2) > 0)
	case reflect.Float32:
		v.SetFloat(float64(f.r.Float32()))
	case reflect.Int32:
		v.SetInt(int64(f.r.Int32()))
	default:
		v.SetUint(f.r.Uint64() >> f.r.IntN(64) & (1<<v.Type().Bits() - 1))
	}
}

func (f filler) message(k Kind) Message {
	m := newMessage(k)
	f.fill(reflect.ValueOf(m).Elem())
	if o, ok := m.(*Open); ok {
		o.Hops = 1 + o.Hops%MaxHops
		o.Hop %= o.Hops
		o.Limits.Branches %= MaxBranches + 1
	}
	return m
}

func allocate(_ Message, n int) (tensor.Buffer, error) {
	return tensor.Buffer{DType: tensor.I8, Rows: 1, Cols: n, Data: make([]byte, n)}, nil
}

func TestEveryMessageSurvivesTheWire(t *testing.T) {
	f := filler{rand.New(rand.NewPCG(1, 2))}
	for k := Kind(1); k < kindEnd; k++ {
		for range 200 {
			want := Frame{Message: f.message(k)}
			switch k {
			case KindStep, KindOutput, KindAttach:
				want.Payload.Data = make([]byte, f.r.IntN(3000))
				for i := range want.Payload.Data {
					want.Payload.Data[i] = byte(f.r.Uint32())
				}
			}
			b := want.Append([]byte("before"))[6:]
			r := NewReader(iotest.OneByteReader(bytes.NewReader(b)), allocate)
			got, err := r.Next()
			if err != nil {
				t.Fatalf("%s: %v\n%+v", k, err, want.Message)
			}
			if !reflect.DeepEqual(got.Message, want.Message) || !bytes.Equal(got.Payload.Data, want.Payload.Data) {
				t.Fatalf("%s:\n got %+v\nwant %+v", k, got.Message, want.Message)
			}
			if r.HeaderBytes() != len(b)-len(want.Payload.Data) {
				t.Errorf("%s: header of %d bytes, want %d", k, r.HeaderBytes(), len(b)-len(want.Payload.Data))
			}
			if _, err := r.Next(); err != io.EOF {
				t.Errorf("%s: after the frame: %v", k, err)
			}
		}
	}
}

// A message may grow at its end; what is missing at the end is an error.
func TestHeadersMayGrowButNotShrink(t *testing.T) {
	f := filler{rand.New(rand.NewPCG(3, 4))}
	for k := Kind(1); k < kindEnd; k++ {
		m := f.message(k)
		h := m.append([]byte{byte(k)})
		grown, err := ParseHeader(append(bytes.Clone(h), 1, 2, 3))
		if err != nil || !reflect.DeepEqual(grown, m) {
			t.Errorf("%s: grown: %v", k, err)
		}
		for n := range h {
			if _, err := ParseHeader(h[:n]); !errors.Is(err, ErrMalformed) {
				t.Errorf("%s: %d of %d bytes: %v", k, n, len(h), err)
			}
		}
	}
}

// The bytes of version 1 are written down: a change of them shows here.
func TestLayoutIsWhatItWas(t *testing.T) {
	f := filler{rand.New(rand.NewPCG(5, 6))}
	var b strings.Builder
	for k := Kind(1); k < kindEnd; k++ {
		frame := Frame{Message: f.message(k)}
		fmt.Fprintf(&b, "%d %s %s\n", k, strings.ReplaceAll(k.String(), " ", "-"), hex.EncodeToString(frame.Append(nil)))
	}
	const path = "testdata/frames.txt"
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Split(b.String(), "\n")
	for i, w := range strings.Split(string(want), "\n") {
		if i >= len(got) || got[i] != w {
			t.Errorf("line %d differs:\n got %s\nwant %s", i+1, got[min(i, len(got)-1)], w)
		}
	}
}

func TestAppendAllocatesNothing(t *testing.T) {
	f := filler{rand.New(rand.NewPCG(7, 8))}
	for k := Kind(1); k < kindEnd; k++ {
		frame := Frame{Message: f.message(k), Payload: tensor.Buffer{Data: make([]byte, 1152)}}
		b := make([]byte, 0, 1<<16)
		if n := testing.AllocsPerRun(100, func() { b = frame.Append(b[:0]) }); n > 0 {
			t.Errorf("%s: %v allocations", k, n)
		}
	}
}

func TestLargePayloadsTakeTheBulkStream(t *testing.T) {
	for _, c := range []struct {
		m    Message
		n    int
		want Channel
	}{
		{&Step{}, 0, Decode}, {&Step{}, BulkBytes, Decode}, {&Step{}, BulkBytes + 1, Bulk},
		{&Output{}, 4, Decode}, {&Output{}, BulkBytes + 1, Bulk},
		{&Attach{}, 100, Bulk}, {&Open{}, 0, Control}, {&Credit{}, 0, Control}, {&Fail{}, 0, Control},
	} {
		f := Frame{Message: c.m, Payload: tensor.Buffer{Data: make([]byte, c.n)}}
		if got := f.Channel(); got != c.want {
			t.Errorf("%s of %d bytes: channel %d, want %d", c.m.Kind(), c.n, got, c.want)
		}
	}
}

func TestCheckPayload(t *testing.T) {
	two := []Row{{N: 3}, {N: 2}}
	for _, c := range []struct {
		m  Step
		n  int
		ok bool
	}{
		{Step{}, 0, true},
		{Step{Rows: two}, 0, false},
		{Step{}, 4, false},
		{Step{Payload: PayloadIDs, Rows: two}, 20, true},
		{Step{Payload: PayloadIDs, Rows: two}, 24, false},
		{Step{Payload: PayloadHidden, Rows: two}, 5 * 64 * 2, true},
		{Step{Payload: PayloadHidden, Rows: two}, 5 * 64 * 4, false},
		{Step{Payload: PayloadHidden}, 0, true},
		{Step{Payload: PayloadLogits, Rows: two}, 20, false},
	} {
		if err := c.m.CheckPayload(c.n, 64, inference.WireBF16); (err == nil) != c.ok {
			t.Errorf("kind %d, %d rows, %d bytes: %v", c.m.Payload, len(c.m.Rows), c.n, err)
		}
	}
}

func TestRowsKeepTheirBits(t *testing.T) {
	src := []float32{0, float32(math.Copysign(0, -1)), 1, -2.5, 1e-40, 3e38, 1.00390625, float32(math.Inf(1))}
	b, got := make([]byte, 32), make([]float32, 8)
	PutRows(b, src, inference.WireF32)
	GetRows(got, b, inference.WireF32)
	if !reflect.DeepEqual(got, src) {
		t.Errorf("f32: %v", got)
	}
	PutRows(b[:16], src, inference.WireBF16)
	GetRows(got, b[:16], inference.WireBF16)
	again := make([]byte, 16)
	PutRows(again, got, inference.WireBF16)
	if !bytes.Equal(again, b[:16]) {
		t.Error("bf16 is rounded twice")
	}
	if got[6] != 1 { // halfway between 1 and 1.0078125: to even
		t.Errorf("1.00390625 became %g", got[6])
	}
}

func TestCodesHaveNamesAndDecide(t *testing.T) {
	for c := Code(1); c < codeEnd; c++ {
		if unused := c == 7; strings.HasPrefix(c.String(), "code ") != unused {
			t.Errorf("code %d has no name", c)
		}
	}
	if !CodeBusy.Retryable() || !CodeNextHop.Retryable() || CodePayment.Retryable() || CodeUnsupported.Retryable() {
		t.Error("wrong decision")
	}
	f := &Fail{Code: CodeBusy, Text: strings.Repeat("x", 5000)}
	m, err := ParseHeader(f.append([]byte{byte(KindFail)}))
	if err != nil || len(m.(*Fail).Text) != MaxString {
		t.Errorf("a long text is not clipped: %v", err)
	}
}

func FuzzParseHeader(f *testing.F) {
	fill := filler{rand.New(rand.NewPCG(9, 10))}
	for k := Kind(1); k < kindEnd; k++ {
		f.Add(fill.message(k).append([]byte{byte(k)}))
	}
	f.Fuzz(func(t *testing.T, h []byte) {
		m, err := ParseHeader(h)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Errorf("an error of another kind: %v", err)
			}
			return
		}
		once := m.append([]byte{byte(m.Kind())})
		again, err := ParseHeader(once)
		if err != nil {
			t.Fatalf("what was parsed cannot be parsed again: %v", err)
		}
		if !bytes.Equal(again.append([]byte{byte(again.Kind())}), once) {
			t.Error("not the same the second time")
		}
	})
}

func TestCodesAndKindsReadAsNamesInJSON(t *testing.T) {
	b, err := json.Marshal([]any{CodeBusy, Code(7), Code(200), KindFail})
	if err != nil || string(b) != `["busy","code 7","code 200","fail"]` {
		t.Errorf("%s, %v", b, err)
	}
}
