package model

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	inference "github.com/farlabs/inference"
	"github.com/farlabs/inference/kernels/tensor"
	"github.com/farlabs/inference/model/arch"
	"github.com/farlabs/inference/model/modeltest"
	"github.com/farlabs/inference/model/weights"
	"github.com/farlabs/inference/model/weights/gguftest"
)

// TestFilesThatWouldBeMisreadAreRefusedByName: each error names the file and the
// key or tensor.
func TestFilesThatWouldBeMisreadAreRefusedByName(t *testing.T) {
	base := modeltest.Small()
	d := base.Hidden
	set := func(key string, v any) func(map[string]any, []gguftest.Tensor) []gguftest.Tensor {
		return func(meta map[string]any, list []gguftest.Tensor) []gguftest.Tensor {
			meta[key] = v
			return list
		}
	}
	add := func(name string, shape ...int) func(map[string]any, []gguftest.Tensor) []gguftest.Tensor {
		return func(_ map[string]any, list []gguftest.Tensor) []gguftest.Tensor {
			n := 1
			for _, s := range shape {
				n *= s
			}
			return append(list, gguftest.F32(name, make([]float32, n), shape...))
		}
	}
	replace := func(name string, shape ...int) func(map[string]any, []gguftest.Tensor) []gguftest.Tensor {
		return func(meta map[string]any, list []gguftest.Tensor) []gguftest.Tensor {
			list = slices.DeleteFunc(list, func(t gguftest.Tensor) bool { return t.Name == name })
			if shape == nil {
				return list
			}
			return add(name, shape...)(meta, list)
		}
	}
	for _, x := range []struct {
		change func(map[string]any, []gguftest.Tensor) []gguftest.Tensor
		want   error
		names  string
	}{
		{set("llama.rope.scaling.type", "yarn"), arch.ErrUnsupported, "llama.rope.scaling.type"},
		{set("llama.rope.scaling.factor", float32(8)), arch.ErrUnsupported, "llama.rope.scaling.factor"},
		{set("llama.expert_count", uint32(8)), arch.ErrUnsupported, "llama.expert_count"},
		{set("llama.attention.sliding_window", uint32(4096)), arch.ErrUnsupported, "llama.attention.sliding_window"},
		{set("llama.logit_scale", float32(0.5)), arch.ErrUnsupported, "llama.logit_scale"},
		{set("llama.unheard_of", true), arch.ErrUnsupported, "llama.unheard_of"},
		{set("general.architecture", "gemma2"), arch.ErrUnsupported, "gemma2"},
		{add("blk.0.attn_q.bias", d), arch.ErrUnsupported, "blk.0.attn_q.bias"},
		{add("blk.6.attn_norm.weight", d), arch.ErrUnsupported, "blk.6.attn_norm.weight"},
		{add("blk.2.attn_q_norm.weight", 16), arch.ErrUnsupported, "blk.2.attn_q_norm.weight"},
		{replace("blk.3.ffn_up.weight"), arch.ErrMalformed, "blk.3.ffn_up.weight"},
		{replace("blk.3.attn_k.weight", d, 32), arch.ErrMalformed, "blk.3.attn_k.weight"},
		{replace("output_norm.weight", 1, d), arch.ErrMalformed, "output_norm.weight"},
		{set("llama.vocab_size", uint32(300)), arch.ErrMalformed, "llama.vocab_size"},
		{add("rope_freqs.weight", 8), arch.ErrMalformed, "rope_freqs.weight"}, // of zeros
	} {
		meta := base.Metadata()
		list := x.change(meta, base.Tensors())
		path := filepath.Join(t.TempDir(), "bad.gguf")
		if err := gguftest.Write(path, meta, list); err != nil {
			t.Fatal(err)
		}
		c, err := weights.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, err = LoadSpan(c, blocks(0, 6))
		if !errors.Is(err, x.want) || !strings.Contains(err.Error(), x.names) || !strings.Contains(err.Error(), "bad.gguf") {
			t.Errorf("%s: %v", x.names, err)
		}
	}
}

func TestSpanLoadsOnlyItsBlocks(t *testing.T) {
	base := modeltest.Small()
	c := base.Open(t)
	spec, err := ReadSpec(c)
	if err != nil {
		t.Fatal(err)
	}
	each := BlockBytes(c, spec)
	if len(each) != 6 {
		t.Fatalf("%d blocks", len(each))
	}
	var all int64
	for _, x := range c.Tensors() {
		all += x.Size
	}
	ends, err := LoadEnds(c)
	if err != nil {
		t.Fatal(err)
	}
	sum := ends.WeightBytes()
	for i, want := range each {
		s, err := LoadSpan(c, blocks(i, i+1))
		if err != nil {
			t.Fatal(err)
		}
		if s.WeightBytes() != want {
			t.Errorf("block %d: %d bytes, want %d", i, s.WeightBytes(), want)
		}
		sum += want
	}
	if sum != all {
		t.Errorf("blocks and ends load %d bytes of %d", sum, all)
	}
	for _, r := range []inference.BlockRange{{}, {Start: 2, End: 2}, {Start: 5, End: 7}, {Start: -1, End: 2}} {
		if _, err := LoadSpan(c, r); !errors.Is(err, inference.ErrInvalid) {
			t.Errorf("blocks %s: %v", r, err)
		}
	}
}

// TestForwardAllocatesNothing once a pass of its size has run.
func TestForwardAllocatesNothing(t *testing.T) {
	m := whole(t, modeltest.Small().Open(t), inference.WireBF16)
	st := m.stages[0]
	d := m.ends.Hidden()
	p := Pass{Role: st.role, Wire: m.wire}
	ids := make([]inference.TokenID, 0, 24)
	for range 3 {
		b := st.cache.NewBranch(st.role)
		if err := b.Grow(1600); err != nil {
			t.Fatal(err)
		}
		p.Segments = append(p.Segments, Segment{Branch: b, N: 8})
		ids = append(ids, 1, 2, 3, 4, 5, 6, 7, 8)
	}
	hidden := tensor.Of(make([]float32, len(ids)*d), len(ids), d)
	logits := tensor.Of(make([]float32, m.ends.Vocab()), 1, m.ends.Vocab())
	step := func() {
		if err := m.ends.Embed(m.queue, hidden, ids, m.wire); err != nil {
			t.Fatal(err)
		}
		for i := range p.Segments {
			p.Segments[i].Start = p.Segments[i].Branch.Len()
		}
		if err := st.span.Forward(m.queue, hidden, p); err != nil {
			t.Fatal(err)
		}
		if err := m.ends.Head(m.queue, logits, hidden.Slice(7, 8)); err != nil {
			t.Fatal(err)
		}
	}
	for range 5 {
		step()
	}
	// AllocsPerRun leaves one thread to both workers, so a pass takes long.
	if n := testing.AllocsPerRun(10, step); n >= 1 && !raceEnabled {
		t.Errorf("%v allocations a pass", n)
	}
}

// TestOneSpanServesSeveralGoroutines with one cache, each its own branches.
func TestOneSpanServesSeveralGoroutines(t *testing.T) {
	m := whole(t, modeltest.Untied().Open(t), inference.WireF32)
	ids := make([]inference.TokenID, 40)
	for i := range ids {
		ids[i] = inference.TokenID(i * 3)
	}
	run := func() ([]float64, error) {
		s := m.sequence()
		defer s.release()
		lps, _, err := m.logProbs(s, ids, 7)
		return lps, err
	}
	want, err := run()
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			got, err := run()
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("another result beside others: %v", err)
			}
		})
	}
	wg.Wait()
	if c := m.stages[0].cache; c.FreePages() != c.TotalPages() {
		t.Errorf("%d pages leaked", c.TotalPages()-c.FreePages())
	}
}
