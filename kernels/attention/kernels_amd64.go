//go:build amd64 && !purego

package attention

import (
	"unsafe"

	inference "github.com/farlabs/inference"
	"github.com/farlabs/inference/kernels/device"
)

//go:generate go -C ../_asm run ./attention -out ../attention/attention_amd64.s -stubs ../attention/asm_amd64.go -pkg attention

type (
	scoresFunc = func(s, q *float32, pages *byte, n, head, dim, scales, values int, scale float32)
	mixFunc    = func(p, w *float32, pages *byte, head, from, to, pad, scales, groups, keys, ahead int)
)

// useAssembly fills the tables of the sets that have it.
func useAssembly() {
	avx2 := kernels{
		softcap: softcapWith(softcapAVX2),
		bias:    biasWith(biasAVX2),
		softmax: softmaxWith(softmaxAVX2),
		merge:   mergeWith(mergeAVX2),
		divide:  divideWith(divideAVX2),
		halves:  halvesWith(halvesAVX2),
	}
	avx512 := kernels{
		softcap: softcapWith(softcapAVX512),
		bias:    biasWith(biasAVX512),
		softmax: softmaxWith(softmaxAVX512),
		merge:   mergeWith(mergeAVX512),
		divide:  divideWith(divideAVX512),
		halves:  halvesWith(halvesAVX512),
	}
	fill := func(set device.KernelSet, k kernels, kv inference.KVDType, s [maxRows + 1]scoresFunc, m [maxRows + 1]mixFunc) {
		k.scores, k.mix = scoresWith(s), mixWith(m)
		tables[set][kv] = k
	}
	fill(device.AVX2, avx2, inference.KVF16,
		[maxRows + 1]scoresFunc{1: scoresF16x1AVX2, scoresF16x2AVX2, scoresF16x3AVX2, scoresF16x4AVX2, 6: scoresF16x6AVX2},
		[maxRows + 1]mixFunc{1: mixF16x1AVX2, mixF16x2AVX2, mixF16x3AVX2, mixF16x4AVX2, 6: mixF16x6AVX2})
	fill(device.AVX2, avx2, inference.KVF32,
		[maxRows + 1]scoresFunc{1: scoresF32x1AVX2, scoresF32x2AVX2, scoresF32x3AVX2, scoresF32x4AVX2, 6: scoresF32x6AVX2},
		[maxRows + 1]mixFunc{1: mixF32x1AVX2, mixF32x2AVX2, mixF32x3AVX2, mixF32x4AVX2, 6: mixF32x6AVX2})
	fill(device.AVX2, avx2, inference.KVQ8,
		[maxRows + 1]scoresFunc{1: scoresQ8x1AVX2, scoresQ8x2AVX2, scoresQ8x3AVX2, scoresQ8x4AVX2, 6: scoresQ8x6AVX2},
		[maxRows + 1]mixFunc{1: mixQ8x1AVX2, mixQ8x2AVX2, mixQ8x3AVX2, mixQ8x4AVX2, 6: mixQ8x6AVX2})
	fill(device.AVX512, avx512, inference.KVF16,
		[maxRows + 1]scoresFunc{1: scoresF16x1AVX512, scoresF16x2AVX512, scoresF16x3AVX512, scoresF16x4AVX512, 6: scoresF16x6AVX512, 8: scoresF16x8AVX512},
		[maxRows + 1]mixFunc{1: mixF16x1AVX512, mixF16x2AVX512, mixF16x3AVX512, mixF16x4AVX512, 6: mixF16x6AVX512, 8: mixF16x8AVX512})
	fill(device.AVX512, avx512, inference.KVF32,
		[maxRows + 1]scoresFunc{1: scoresF32x1AVX512, scoresF32x2AVX512, scoresF32x3AVX512, scoresF32x4AVX512, 6: scoresF32x6AVX512, 8: scoresF32x8AVX512},
		[maxRows + 1]mixFunc{1: mixF32x1AVX512, mixF32x2AVX512, mixF32x3AVX512, mixF32x4AVX512, 6: mixF32x6AVX512, 8: mixF32x8AVX512})
	fill(device.AVX512, avx512, inference.KVQ8,
		[maxRows + 1]scoresFunc{1: scoresQ8x1AVX512, scoresQ8x2AVX512, scoresQ8x3AVX512, scoresQ8x4AVX512, 6: scoresQ8x6AVX512, 8: scoresQ8x8AVX512},
		[maxRows + 1]mixFunc{1: mixQ8x1AVX512, mixQ8x2AVX512, mixQ8x3AVX512, mixQ8x4AVX512, 6: mixQ8x6AVX512, 8: mixQ8x8AVX512})
}

// fit returns how many of rows queries a function takes at a time: all, or the
// most that leave four or fewer, of which any number has a function.
func fit(rows int, has func(n int) bool) int {
	for n := rows; ; n-- {
		if has(n) && rows-n <= 4 {
			return n
		}
	}
}

func scoresWith(f [maxRows + 1]scoresFunc) func(s, q []float32, rows int, pages []Page, head, dim int, l *layout, scale float32) {
	var take [maxRows + 1]int
	for n := 1; n <= maxRows; n++ {
		take[n] = fit(n, func(n int) bool { return f[n] != nil })
	}
	return func(s, q []float32, rows int, pages []Page, head, dim int, l *layout, scale float32) {
		for rows > 0 {
			n := take[rows]
			f[n](&s[0], &q[0], (*byte)(unsafe.Pointer(&pages[0])), len(pages), head, dim, head+PageSize*l.pad, l.values, scale)
			if rows -= n; rows > 0 {
				s, q = s[n*scoreStride:], q[n*dimStride:]
			}
		}
	}
}

func mixWith(f [maxRows + 1]mixFunc) func(p, w []float32, rows int, pages []Page, head int, l *layout, from, to, ahead int) {
	var take [maxRows + 1]int
	for n := 1; n <= maxRows; n++ {
		take[n] = fit(n, func(n int) bool { return f[n] != nil })
	}
	return func(p, w []float32, rows int, pages []Page, head int, l *layout, from, to, ahead int) {
		for rows > 0 {
			n := take[rows]
			f[n](&p[0], &w[0], (*byte)(unsafe.Pointer(&pages[0])), head, from, to, l.pad, head+PageSize*l.pad, l.groups,
				head-l.values, ahead*int(unsafe.Sizeof(Page(nil))))
			if rows -= n; rows > 0 {
				p, w = p[n*dimStride:], w[n*scoreStride:]
			}
		}
	}
}

func softcapWith(f func(s *float32, n int, limit float32)) func(s []float32, limit float32) {
	return func(s []float32, limit float32) { f(&s[0], len(s), limit) }
}

func biasWith(f func(s *float32, n int, slope, first float32)) func(s []float32, slope, first float32) {
	return func(s []float32, slope, first float32) { f(&s[0], len(s), slope, first) }
}

func mergeWith(f func(o, p *float32, n int, a, b float32)) func(o, p []float32, a, b float32) {
	return func(o, p []float32, a, b float32) { f(&o[0], &p[0], len(p), a, b) }
}

func softmaxWith(f func(s *float32, n int, most, sum *float32)) func(s []float32, most, sum *float32) {
	return func(s []float32, most, sum *float32) { f(&s[0], len(s), most, sum) }
}

func divideWith(f func(dst, o *float32, n int, l float32)) func(dst, o []float32, l float32) {
	return func(dst, o []float32, l float32) {
		n := len(o) &^ 15
		if n > 0 {
			f(&dst[0], &o[0], n, l)
		}
		divide(dst[n:], o[n:], l)
	}
}

func halvesWith(f func(dst *byte, src *float32, n int)) func(dst []byte, src []float32) {
	return func(dst []byte, src []float32) {
		n := len(src) &^ 15
		if n > 0 {
			f(&dst[0], &src[0], n)
		}
		halves(dst[2*n:], src[n:])
	}
}
