// Command attention writes the assembly of kernels/attention for AVX2 and
// AVX-512; see the go:generate line there. The functions do what their
// namesakes in generic.go do, in the same order of additions.
package main

import (
	. "github.com/mmcloughlin/avo/build"

	"github.com/farlabs/inference/kernels/_asm/internal/lanes"
)

var widths = []lanes.Width{lanes.AVX2, lanes.AVX512}

func main() {
	ConstraintExpr("amd64,!purego")
	for _, w := range widths {
		for _, kv := range []dtype{f16, f32, q8} {
			for _, rows := range tileRows(w) {
				scores(w, kv, rows)
				mix(w, kv, rows)
			}
		}
		softmax(w)
		softcap(w)
		bias(w)
		merge(w)
		divide(w)
		halves(w)
	}
	Generate()
}
