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

func TestEndsComputeOnlyTheRowsAsked(t *testing.T) {
	m := whole(t, modeltest.Untied().Open(t), inference.WireF32)
	d, v := m.ends.Hidden(), m.ends.Vocab()
	ids := []inference.TokenID{5, 0, 271, 5}
	hidden := tensor.Of(make([]float32, len(ids)*d), len(ids), d)
	if err := m.ends.Embed(m.queue, hidden, ids, inference.WireF32); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(hidden.Row(0), hidden.Row(3)) || slices.Equal(hidden.Row(0), hidden.Row(1)) {
		t.Error("rows do not follow the ids")
	}
	before := slices.Clone(hidden.F32())
	all, err := m.logits(hidden)
	if err != nil {
		t.Fatal(err)
	}
	one := tensor.Of(make([]float32, v), 1, v)
	if err := m.ends.Head(m.queue, one, hidden.Slice(2, 3)); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(one.Row(0), all.Row(2)) {
		t.Error("the logits of a row depend on its neighbours")
	}
	if !slices.Equal(before, hidden.F32()) {
		t.Error("Head changed its input")
	}
	if n := m.ends.pool.Live(); n != 0 {
		t.Errorf("%d bytes leaked", n)
	}
}

func TestEmbedRoundsToTheWire(t *testing.T) {
	m := whole(t, modeltest.Small().Open(t), inference.WireBF16)
	d := m.ends.Hidden()
	exact, rounded := tensor.Of(make([]float32, d), 1, d), tensor.Of(make([]float32, d), 1, d)
	ids := []inference.TokenID{17}
	if err := errors.Join(m.ends.Embed(m.queue, exact, ids, inference.WireF32), m.ends.Embed(m.queue, rounded, ids, inference.WireBF16)); err != nil {
		t.Fatal(err)
	}
	differ := 0
	for i, v := range rounded.Row(0) {
		if math.Float32bits(v)&0xffff != 0 {
			t.Fatalf("element %d is %g, no bfloat16", i, v)
		}
		if v != exact.Row(0)[i] {
			differ++
		}
		if math.Abs(float64(v-exact.Row(0)[i])) > 1.0/256 {
			t.Errorf("element %d: %g became %g", i, exact.Row(0)[i], v)
		}
	}
	if differ == 0 {
		t.Error("nothing was rounded")
	}
}

func TestEndsRefuseWrongIdsAndShapes(t *testing.T) {
	m := whole(t, modeltest.Small().Open(t), inference.WireF32)
	d, v := m.ends.Hidden(), m.ends.Vocab()
	buf := func(rows, cols int) tensor.Buffer { return tensor.Of(make([]float32, rows*cols), rows, cols) }
	ids := func(list ...inference.TokenID) []inference.TokenID { return list }
	for name, err := range map[string]error{
		"id of the vocabulary's size": m.ends.Embed(m.queue, buf(1, d), ids(inference.TokenID(v)), inference.WireF32),
		"negative id":                 m.ends.Embed(m.queue, buf(1, d), ids(-1), inference.WireF32),
		"too few rows":                m.ends.Embed(m.queue, buf(1, d), ids(1, 2), inference.WireF32),
		"int8":                        m.ends.Embed(m.queue, buf(1, d), ids(1), inference.WireInt8),
		"logits of other width":       m.ends.Head(m.queue, buf(1, v-1), buf(1, d)),
		"logits of other height":      m.ends.Head(m.queue, buf(2, v), buf(1, d)),
		"hidden of other width":       m.ends.Head(m.queue, buf(1, v), buf(1, d+1)),
	} {
		if !errors.Is(err, inference.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
