package model

import (
	"fmt"
	"testing"

	inference "github.com/farlabs/inference"
	"github.com/farlabs/inference/kernels/tensor"
	"github.com/farlabs/inference/model/catalog"
	"github.com/farlabs/inference/model/weights"
)

// BenchmarkSmolLM2 runs all blocks of the real model: rows of one pass, one a
// session (decode at position 128) or all of one prompt (prefill).
func BenchmarkSmolLM2(b *testing.B) {
	c, _ := openSmolLM2(b)
	spec, err := ReadSpec(c)
	if err != nil {
		b.Fatal(err)
	}
	all := blocks(0, spec.Layers)
	m, err := newChain(b, c, spec, inference.WireBF16, inference.Numerics{}, cut{all, all})
	if err != nil {
		b.Fatal(err)
	}
	st := m.stages[0]
	run := func(b *testing.B, sessions, rows, start int) {
		p := Pass{Role: all, Wire: m.wire}
		for range sessions {
			br := st.cache.NewBranch(all)
			defer br.Release()
			p.Segments = append(p.Segments, Segment{Branch: br, N: rows})
		}
		hidden := tensor.Of(make([]float32, sessions*rows*spec.Hidden), sessions*rows, spec.Hidden)
		ids := make([]inference.TokenID, hidden.Rows)
		for b.Loop() {
			if err := m.ends.Embed(m.queue, hidden, ids, m.wire); err != nil {
				b.Fatal(err)
			}
			for i := range p.Segments {
				g := &p.Segments[i]
				g.Start = start
				g.Branch.Truncate(start)
				if err := g.Branch.Grow(start + rows); err != nil {
					b.Fatal(err)
				}
				g.Branch.len = start // what lies below is zeros: as good as any
			}
			if err := st.span.Forward(m.queue, hidden, p); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.N*hidden.Rows)/b.Elapsed().Seconds(), "tokens/s")
	}
	for _, n := range []int{1, 8} {
		b.Run(fmt.Sprintf("decode/sessions=%d", n), func(b *testing.B) { run(b, n, 1, 128) })
	}
	for _, n := range []int{16, 128, 512} {
		b.Run(fmt.Sprintf("prefill/chunk=%d", n), func(b *testing.B) { run(b, 1, n, 0) })
	}
}

// BenchmarkLoad brings in all blocks of the real model: packed into an empty
// cache, from a full one, and without one.
func BenchmarkLoad(b *testing.B) {
	source, err := catalog.Resolve("smollm2-135m-instruct", catalog.CacheDir())
	if err != nil {
		b.Fatal(err)
	}
	run := func(b *testing.B, cache func() string) {
		for b.Loop() {
			c, err := weights.Open(source.Path)
			if err != nil {
				b.Fatal(err)
			}
			spec, err := ReadSpec(c)
			if err != nil {
				b.Fatal(err)
			}
			s, err := Source{Checkpoint: c, Cache: cache()}.Span(b.Context(), blocks(0, spec.Layers))
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(s.WeightBytes())
			c.Close()
		}
	}
	full := b.TempDir()
	b.Run("cache=empty", func(b *testing.B) { run(b, b.TempDir) })
	b.Run("cache=full", func(b *testing.B) { run(b, func() string { return full }) })
	b.Run("cache=none", func(b *testing.B) { run(b, func() string { return "" }) })
}
