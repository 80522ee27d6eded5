package model

import (
	"errors"
	"math"
	"slices"
	"testing"

	inference "github.com/farlabs/inference"
	"github.com/farlabs/inference/kernels/tensor"
	"github.com/farlabs/inference/model/modeltest"
)

// keep gives the stages of m caches of another dtype.
func (m *chain) keep(tb testing.TB, kv inference.KVDType) *chain {
	tb.Helper()
	for i := range m.stages {
		c, err := m.stages[i].span.NewCache(testBudget, kv)
		if err != nil {
			tb.Fatal(err)
		}
		m.stages[i].cache = c
	}
	return m
}

// TestSameBitsInEveryKVDType: rounding keys and values depends on nothing but
// the keys and values.
func TestSameBitsInEveryKVDType(t *testing.T) {
	c := modeltest.Small().Open(t)
	prompts := matrixPrompts(270)[:4]
	var seen [][]uint64
	for kv := inference.KVF16; kv <= inference.KVQ8; kv++ {
		var want []uint64
		for _, cuts := range matrixCuts[:3] {
			m, err := newChain(t, c, nil, inference.WireBF16, inference.Numerics{}, cuts.cuts...)
			if err != nil {
				t.Fatal(err)
			}
			m.keep(t, kv)
			for _, chunk := range []int{16, 37, 512} {
				got, err := m.fingerprint(prompts, chunk)
				if err != nil {
					t.Fatal(err)
				}
				if want == nil {
					want = got
				}
				if !slices.Equal(got, want) {
					t.Errorf("%s: %s stages, chunk %d: other log-probabilities", kv, cuts.name, chunk)
				}
			}
		}
		for _, other := range seen {
			if slices.Equal(want, other) {
				t.Errorf("%s: rounding changed nothing", kv)
			}
		}
		seen = append(seen, want)
	}
}

// TestRoundedKeysAndValuesStayNearTheReference: the random models, whose
// attention is sharp, make much of a rounding (1300 times that of float32); a
// real model makes little.
func TestRoundedKeysAndValuesStayNearTheReference(t *testing.T) {
	g := readRandomGolden(t)
	for _, x := range []struct {
		kv    inference.KVDType
		limit float64
	}{{inference.KVF32, tolerance}, {inference.KVF16, 0.2}, {inference.KVQ8, 1.5}} {
		for _, m := range g.models() {
			w := whole(t, m.model.Open(t), inference.WireF32).keep(t, x.kv)
			lps, last, err := w.logProbs(w.sequence(), g.IDs, len(g.IDs))
			if err != nil {
				t.Fatal(err)
			}
			d := m.want.distance(lps, last)
			t.Logf("%s, %s: largest difference %.2g", x.kv, m.name, d)
			if !(d <= x.limit) {
				t.Errorf("%s, %s: log-probabilities or logits differ by %.3g", x.kv, m.name, d)
			}
		}
	}
}

// TestPerplexityOfSmolLM2DoesNotDependOnTheKVDType: to 0.05% (f16) and 0.5%
// (q8), of float32 keys and values, over 599 tokens.
func TestPerplexityOfSmolLM2DoesNotDependOnTheKVDType(t *testing.T) {
	c, g := openSmolLM2(t)
	m := whole(t, c, inference.WireF32)
	var want float64
	for _, x := range []struct {
		kv    inference.KVDType
		limit float64 // relative
	}{{inference.KVF32, 0}, {inference.KVF16, 5e-4}, {inference.KVQ8, 5e-3}} {
		lps, _, err := m.keep(t, x.kv).logProbs(m.sequence(), g.Text.IDs, 512)
		if err != nil {
			t.Fatal(err)
		}
		var sum float64
		for _, lp := range lps {
			sum += lp
		}
		got := math.Exp(-sum / float64(len(lps)))
		if x.kv == inference.KVF32 {
			want = got
		}
		t.Logf("%s: perplexity %.5f, %.4f%% from float32's", x.kv, got, 100*(got/want-1))
		if !(math.Abs(got/want-1) <= x.limit) {
			t.Errorf("%s: perplexity %.5f, want %.5f within %.2f%%", x.kv, got, want, 100*x.limit)
		}
	}
}

// TestAForkIsCopiedInEveryKVDType: a page that is copied is copied whole.
func TestAForkIsCopiedInEveryKVDType(t *testing.T) {
	c := modeltest.Untied().Open(t)
	ids := make([]inference.TokenID, 30)
	for i := range ids {
		ids[i] = inference.TokenID(i * 11 % 262)
	}
	for kv := inference.KVF16; kv <= inference.KVQ8; kv++ {
		m := whole(t, c, inference.WireF32).keep(t, kv)
		a := m.sequence()
		mustPass(t, m, part{a, ids[:21]})
		b := a.fork(21)
		left := mustPass(t, m, part{b, ids[21:]})
		right := mustPass(t, m, part{a, ids[21:]})
		if !sameBits(left, right) {
			t.Errorf("%s: a fork and what it was forked from differ", kv)
		}
		a.release()
		b.release()
		if err := m.stages[0].cache.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestForwardRefusesBranchesOfTwoKVDTypes(t *testing.T) {
	m := whole(t, modeltest.Small().Open(t), inference.WireF32)
	st := m.stages[0]
	var p Pass
	p.Role, p.Wire = st.role, inference.WireF32
	for _, kv := range []inference.KVDType{inference.KVF16, inference.KVQ8} {
		m.keep(t, kv)
		b := m.stages[0].cache.NewBranch(st.role)
		if err := b.Grow(1); err != nil {
			t.Fatal(err)
		}
		p.Segments = append(p.Segments, Segment{b, 0, 1})
	}
	hidden := tensor.Of(make([]float32, 2*m.ends.Hidden()), 2, m.ends.Hidden())
	if err := st.span.Forward(m.queue, hidden, p); !errors.Is(err, inference.ErrInvalid) {
		t.Errorf("%v, want ErrInvalid", err)
	}
}
