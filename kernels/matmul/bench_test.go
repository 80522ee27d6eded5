package matmul

import (
	"fmt"
	"testing"

	"github.com/farlabs/inference/kernels/device"
	"github.com/farlabs/inference/kernels/kerneltest"
	"github.com/farlabs/inference/kernels/tensor"
)

// BenchmarkLinear multiplies by the shapes of SmolLM2 135M and of a model of
// 1.1B. Few rows meet matrices that no cache holds, as when a model decodes:
// GB/s counts the bytes of weights. Many rows meet one matrix: GOPS counts a
// product and an addition as two.
func BenchmarkLinear(b *testing.B) {
	for _, set := range device.Supported() {
		for _, d := range kerneltest.Weights {
			for _, s := range []struct{ out, in int }{{1536, 576}, {5632, 2048}} {
				if s.in%d.BlockElems() != 0 || set == device.Generic && s.in > 1000 {
					continue
				}
				for _, act := range forms(d) {
					for _, n := range []int{1, 8, 32, 512} {
						if set == device.Generic && n > 8 {
							continue
						}
						b.Run(fmt.Sprintf("impl=%s/%s/%s/out=%d/in=%d/n=%d", set, d, act, s.out, s.in, n), func(b *testing.B) {
							benchLinear(b, set, d, act, s.out, s.in, n)
						})
					}
				}
			}
		}
	}
}

func benchLinear(b *testing.B, set device.KernelSet, d tensor.DType, act Activations, out, in, n int) {
	defer device.UseKernels(set)()
	q, r := queue(b, 0), kerneltest.Rand(20)
	raw := kerneltest.Raw(r, d, out*in)
	list := []*Weights{pack(b, q, d, out, in, raw)}
	const caches = 64 << 20
	for n <= 8 && set != device.Generic && int64(len(list))*list[0].Bytes() < caches {
		list = append(list, pack(b, q, d, out, in, raw))
	}
	x, dst := kerneltest.Buffer(r, n, in), kerneltest.Zeros(n, out)
	i := 0
	for b.Loop() {
		Linear(q, x, act, Product{Dst: dst, W: list[i%len(list)]})
		i++
	}
	s := b.Elapsed().Seconds() / float64(b.N)
	b.ReportMetric(float64(list[0].Bytes())/s/1e9, "GB/s")
	b.ReportMetric(2*float64(n*out*in)/s/1e9, "GOPS")
}

func BenchmarkRow(b *testing.B) {
	const in = 2048
	q := queue(b, 1)
	for _, d := range []tensor.DType{tensor.Q4_0, tensor.Q6_K, tensor.Q8_0} {
		b.Run(d.String(), func(b *testing.B) {
			w, row := pack(b, q, d, 16, in, kerneltest.Raw(kerneltest.Rand(21), d, 16*in)), make([]float32, in)
			b.SetBytes(4 * in)
			for b.Loop() {
				w.Row(row, 7)
			}
		})
	}
}
