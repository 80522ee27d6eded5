package attention

import (
	"fmt"
	"testing"

	inference "github.com/farlabs/inference"
	"github.com/farlabs/inference/kernels/device"
	"github.com/farlabs/inference/kernels/kerneltest"
)

// BenchmarkCausal is one block of a 1.1B model (32 query heads, 4 key heads of
// 64) and of SmolLM2 (9, 3): a step of decode after a past, or a prompt. The
// pages of a step are those of 22 blocks in turn, so that they come from
// memory, as they do in a model.
func BenchmarkCausal(b *testing.B) {
	for _, shape := range []struct {
		name string
		p    Params
	}{
		{"1.1B", Params{Heads: 32, KVHeads: 4, HeadDim: 64, Scale: 0.125}},
		{"SmolLM2", Params{Heads: 9, KVHeads: 3, HeadDim: 64, Scale: 0.125}},
	} {
		for kv := inference.KVF16; kv <= inference.KVQ8; kv++ {
			for _, c := range []struct{ start, n, workers int }{{128, 1, 1}, {1024, 1, 1}, {2048, 1, 1}, {2048, 1, 2}, {0, 512, 2}, {1536, 512, 2}} {
				if c.n > 1 && kv != inference.KVF16 {
					continue
				}
				for _, set := range device.Supported() {
					if set == device.Generic && c.start+c.n > 200 {
						continue
					}
					b.Run(fmt.Sprintf("%s/kv=%s/start=%d/n=%d/workers=%d/impl=%s", shape.name, kv, c.start, c.n, c.workers, set), func(b *testing.B) {
						defer device.UseKernels(set)()
						p := shape.p
						p.KV = kv
						benchmark(b, p, c.start, c.n, c.workers)
					})
				}
			}
		}
	}
}

func benchmark(b *testing.B, p Params, start, n, workers int) {
	q := queue(b, workers)
	end := start + n
	br := newBranch(1, p, end)
	blocks := 22
	if n > 1 {
		blocks = 1
	}
	var segs [][]Segment
	for range blocks {
		mem, err := device.Map((end + 15) / 16 * PageBytes(p.KV, p.KVHeads, p.HeadDim))
		if err != nil {
			b.Fatal(err)
		}
		defer device.Unmap(mem)
		pg := make([]Page, (end+15)/16)
		for i := range pg {
			pg[i] = mem[i*len(mem)/len(pg) : (i+1)*len(mem)/len(pg)]
		}
		Store(q, br.k, br.v, p, []Segment{{N: end, Pages: pg}})
		segs = append(segs, []Segment{{N: n, Start: start, Pages: pg}})
	}
	query, dst := br.q.Slice(start, end), kerneltest.Zeros(n, p.Heads*p.HeadDim)
	i := 0
	for b.Loop() {
		Causal(q, dst, query, p, segs[i%blocks])
		i++
	}
	macs := 0
	for i := range n {
		macs += (start + i + 1) * p.Heads * p.HeadDim * 2
	}
	b.ReportMetric(float64(b.N)*float64(macs)/b.Elapsed().Seconds()/1e9, "GMAC/s")
}
