package canon

import (
	"math"
	"math/rand/v2"
	"testing"
)

// spec is the definition of a sum, written out.
func spec(terms []float32) float32 {
	var s [16]float32
	for i, v := range terms {
		s[i%16] += v
	}
	for d := 8; d > 0; d /= 2 {
		for i := range d {
			s[i] += s[i+d]
		}
	}
	return s[0]
}

func TestDotIsTheSumOfLanesThenTheTree(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for n := range 200 {
		a, b, terms := make([]float32, n), make([]float32, n+3), make([]float32, n)
		for i := range a {
			a[i], b[i] = float32(r.NormFloat64()), float32(r.NormFloat64())
			terms[i] = a[i] * b[i]
		}
		if got, want := Dot(a, b), spec(terms); math.Float32bits(got) != math.Float32bits(want) {
			t.Fatalf("n %d: %v, want %v", n, got, want)
		}
		for i := range a {
			terms[i] = a[i] * a[i]
		}
		if got, want := SumSquares(a), spec(terms); got != want {
			t.Fatalf("n %d: squares %v, want %v", n, got, want)
		}
	}
}

func TestPaddingWithZerosChangesNothing(t *testing.T) {
	a := []float32{-1, 1, -3, 0}
	b := []float32{1, 1, 2, -1}
	for _, zero := range []float32{0, float32(math.Copysign(0, -1))} {
		p, q := make([]float32, 40), make([]float32, 40)
		for i := range p {
			p[i], q[i] = zero, 1
		}
		copy(p, a)
		copy(q, b)
		if got, want := Dot(p, q), Dot(a, b); math.Float32bits(got) != math.Float32bits(want) {
			t.Errorf("%v, want %v", got, want)
		}
	}
}

// ulps returns |got − want| in units of the last place of want.
func ulps(got float32, want float64) float64 {
	w := float32(want)
	ulp := float64(math.Nextafter32(float32(math.Abs(float64(w))), float32(math.Inf(1)))) - math.Abs(float64(w))
	return math.Abs(float64(got)-want) / ulp
}

func TestExpErrorIsBelowItsBound(t *testing.T) {
	worst, at := 0.0, float32(0)
	for u := uint32(0); u < 0x42b2_0000; u += 997 { // up to 89
		for _, s := range []uint32{0, 1 << 31} {
			x := math.Float32frombits(u | s)
			want := math.Exp(float64(x))
			got := Exp(x)
			if want < 0x1p-126 {
				if got > 0x1p-126 {
					t.Fatalf("Exp(%v) = %v", x, got)
				}
				continue
			}
			if want > math.MaxFloat32 {
				if !math.IsInf(float64(got), 1) {
					t.Fatalf("Exp(%v) = %v", x, got)
				}
				continue
			}
			if e := ulps(got, want); e > worst {
				worst, at = e, x
			}
		}
	}
	t.Logf("worst error %.3f ulp at %v", worst, at)
	if worst >= 1 {
		t.Errorf("error %.3f ulp at %v", worst, at)
	}
}

func TestExpAtTheEnds(t *testing.T) {
	inf := float32(math.Inf(1))
	for _, c := range []struct{ x, want float32 }{
		{0, 1}, {float32(math.Copysign(0, -1)), 1}, {inf, inf}, {-inf, 0}, {100, inf}, {-100, 0}, {3e38, inf}, {-3e38, 0},
		{88.72284, inf}, {-87.33655, 0}, {1e-30, 1}, {-1e-30, 1},
	} {
		if got := Exp(c.x); got != c.want {
			t.Errorf("Exp(%v) = %v, want %v", c.x, got, c.want)
		}
	}
	if got := Exp(math.Nextafter32(88.72284, 0)); math.IsInf(float64(got), 0) || got < 3.4e38 {
		t.Errorf("just below the end: %v", got)
	}
	if got := Exp(-87.33654); got < 0x1p-126 {
		t.Errorf("just above the end: %v", got)
	}
	if got := Exp(float32(math.NaN())); got == got {
		t.Errorf("Exp(NaN) = %v", got)
	}
}

func TestSiLUNeedsNoCare(t *testing.T) {
	inf := float32(math.Inf(1))
	for _, x := range []float32{-inf, -1e4, -90, -20, -1, 0, 1e-20, 1, 20, 90, 1e4, inf} {
		want := float64(x) / (1 + math.Exp(-float64(x)))
		got := SiLU(x)
		if x == -inf { // −Inf/Inf; no activation gets here alive
			if got == got {
				t.Errorf("SiLU(-Inf) = %v", got)
			}
			continue
		}
		if math.Abs(float64(got)-want) > 3e-7*math.Abs(want)+1e-37 {
			t.Errorf("SiLU(%v) = %v, want %v", x, got, want)
		}
	}
}

func TestSincosIsRoundedOnce(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	wrong := 0
	for i := range 400_000 {
		x := float32(r.Float64() * math.Exp2(float64(i%28)))
		if i%2 == 1 {
			x = -x
		}
		s, c := Sincos(x)
		ws, wc := math.Sincos(float64(x))
		for _, p := range []struct {
			got  float32
			want float64
		}{{s, ws}, {c, wc}} {
			if p.got != float32(p.want) {
				wrong++
				if ulps(p.got, p.want) > 0.501 {
					t.Fatalf("Sincos(%v): %v, want %v", x, p.got, p.want)
				}
			}
		}
	}
	if wrong > 2 {
		t.Errorf("%d values differ from the rounded reference", wrong)
	}
}

func TestSincosAtTheEnds(t *testing.T) {
	if s, c := Sincos(0); s != 0 || c != 1 {
		t.Errorf("Sincos(0) = %v, %v", s, c)
	}
	for _, x := range []float32{1 << 28, 1e30, 3e38, float32(math.Inf(1)), float32(math.NaN())} {
		Sincos(x) // returns
	}
}

func BenchmarkExp(b *testing.B) {
	x := float32(-20)
	var sum float32
	for b.Loop() {
		sum += Exp(x)
		x += 0.001
	}
	_ = sum
}

func BenchmarkSincos(b *testing.B) {
	x := float32(0)
	for b.Loop() {
		Sincos(x)
		x += 0.7
	}
}

func BenchmarkDot(b *testing.B) {
	x, y := make([]float32, 576), make([]float32, 576)
	for b.Loop() {
		Dot(x, y)
	}
}
