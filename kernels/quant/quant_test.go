package quant

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"testing"

	"github.com/farlabs/inference/kernels/tensor"
)

var dtypes = []tensor.DType{
	tensor.F32, tensor.F16, tensor.BF16, tensor.Q4_0, tensor.Q4_1, tensor.Q5_0,
	tensor.Q5_1, tensor.Q8_0, tensor.Q4_K, tensor.Q5_K, tensor.Q6_K,
}

// golden reads the tensors of a small safetensors file as bytes.
func golden(t testing.TB, path string) map[string][]byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	n := binary.LittleEndian.Uint64(b)
	var header map[string]struct {
		Offsets [2]int `json:"data_offsets"`
	}
	if err := json.Unmarshal(b[8:8+n], &header); err != nil {
		t.Fatal(err)
	}
	out := map[string][]byte{}
	for name, h := range header {
		out[name] = b[8+n:][h.Offsets[0]:h.Offsets[1]]
	}
	return out
}

func TestDequantizeEqualsReference(t *testing.T) {
	g := golden(t, "testdata/dequant.safetensors")
	for _, d := range dtypes {
		raw, want := g[d.String()+".raw"], g[d.String()+".want"]
		if raw == nil || want == nil {
			t.Fatalf("%s: no golden", d)
		}
		got := make([]float32, len(want)/4)
		if err := Dequantize(got, d, raw); err != nil {
			t.Fatal(err)
		}
		for i, v := range got {
			if w := binary.LittleEndian.Uint32(want[4*i:]); math.Float32bits(v) != w {
				t.Errorf("%s element %d: %v, want %v", d, i, v, math.Float32frombits(w))
				break
			}
		}
	}
}

func TestRoundingEqualsReference(t *testing.T) {
	g := golden(t, "testdata/half.safetensors")
	if len(g["f32"]) < 4*5000 {
		t.Fatal("golden too short")
	}
	for i := range len(g["f32"]) / 4 {
		x := math.Float32frombits(binary.LittleEndian.Uint32(g["f32"][4*i:]))
		if got, want := F32ToF16(x), binary.LittleEndian.Uint16(g["f16"][2*i:]); got != want {
			t.Fatalf("F32ToF16(%v) = %#04x, want %#04x", x, got, want)
		}
		if got, want := F32ToBF16(x), binary.LittleEndian.Uint16(g["bf16"][2*i:]); got != want {
			t.Fatalf("F32ToBF16(%v) = %#04x, want %#04x", x, got, want)
		}
	}
}

func TestEveryHalfConvertsExactlyAndBack(t *testing.T) {
	for i := range 1 << 16 {
		h := uint16(i)
		exp, frac := int(h>>10&31), float64(h&0x3ff)
		want := math.Ldexp(1024+frac, exp-25)
		switch {
		case exp == 0:
			want = math.Ldexp(frac, -24)
		case exp == 31 && frac == 0:
			want = math.Inf(1)
		case exp == 31:
			want = math.NaN()
		}
		if h&0x8000 != 0 {
			want = -want
		}
		got := F16ToF32(h)
		if want != want {
			if got == got || F32ToF16(got) != h|0x200 || F32ToBF16(got)&0x7fff <= 0x7f80 {
				t.Fatalf("%#04x: NaN lost", h)
			}
			continue
		}
		if math.Float64bits(float64(got)) != math.Float64bits(want) {
			t.Fatalf("F16ToF32(%#04x) = %v, want %v", h, got, want)
		}
		if back := F32ToF16(got); back != h {
			t.Fatalf("F32ToF16(F16ToF32(%#04x)) = %#04x", h, back)
		}
		if f := BF16ToF32(h); f == f && F32ToBF16(f) != h {
			t.Fatalf("F32ToBF16(BF16ToF32(%#04x)) = %#04x", h, F32ToBF16(f))
		}
	}
}

func TestDequantizeRefusesWrongLengthsAndTypes(t *testing.T) {
	for _, d := range dtypes {
		n, b := d.BlockElems(), d.BlockBytes()
		if err := Dequantize(nil, d, nil); err != nil {
			t.Errorf("%s: nothing: %v", d, err)
		}
		for _, c := range []struct{ dst, raw int }{{n, b - 1}, {n, b + 1}, {n, 0}, {0, b}} {
			if err := Dequantize(make([]float32, c.dst), d, make([]byte, c.raw)); err == nil {
				t.Errorf("%s: %d elements of %d bytes accepted", d, c.dst, c.raw)
			}
		}
		if n > 1 && Dequantize(make([]float32, n-1), d, make([]byte, b)) == nil {
			t.Errorf("%s: part of a block accepted", d)
		}
	}
	for _, d := range []tensor.DType{tensor.Invalid, tensor.I32, 200} {
		if Supported(d) || Dequantize(make([]float32, 1), d, make([]byte, 4)) == nil {
			t.Errorf("%s accepted", d)
		}
	}
}

func TestDequantizeAllocatesNothing(t *testing.T) {
	dst, raw := make([]float32, 256), make([]byte, tensor.Q6_K.RowBytes(256))
	if n := testing.AllocsPerRun(10, func() { _ = Dequantize(dst, tensor.Q6_K, raw) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkDequantize(b *testing.B) {
	for _, d := range dtypes {
		b.Run(d.String(), func(b *testing.B) {
			dst, raw := make([]float32, 4096), make([]byte, d.RowBytes(4096))
			b.SetBytes(int64(4 * len(dst)))
			for b.Loop() {
				_ = Dequantize(dst, d, raw)
			}
		})
	}
}
