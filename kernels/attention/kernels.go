package attention

import (
	"unsafe"

	inference "github.com/farlabs/inference"
	"github.com/farlabs/inference/kernels/device"
)

// blockSize is the number of positions that share a maximum.
const blockSize = 256

// maxRows is how many queries share a pass over keys and values: heads of one
// group and consecutive rows.
const maxRows = 8

// Strides of the queries of a tile in its scratch, in floats: not a power of
// two, so that the rows lie in different sets of the cache. Assembly counts on
// them.
const (
	scoreStride = blockSize + 16  // scores and weights
	dimStride   = MaxHeadDim + 16 // queries and outputs
)

// kernels are the loops of one implementation for one KV dtype.
type kernels struct {
	// scores writes (q·k)·scale for rows queries [dimStride] and the positions of
	// the pages to s [scoreStride]; dim is the head's. head is where its keys
	// begin in a page. It may write to 48 positions beyond.
	scores func(s, q []float32, rows int, pages []Page, head, dim int, l *layout, scale float32)
	// mix adds w[j]·v[j], for from ≤ j < to, to rows outputs p [dimStride].
	// head is where the head's values begin in a page. The keys that lie ahead
	// pages further in the slice behind pages are needed next: a hint.
	mix func(p, w []float32, rows int, pages []Page, head int, l *layout, from, to, ahead int)
	// softcap changes s to limit·tanh(s/limit).
	softcap func(s []float32, limit float32)
	// bias adds slope·(first + i) to s[i].
	bias func(s []float32, slope, first float32)
	// softmax sets most to the largest of s that is a number, changes each to
	// exp(s − most), and sets sum to their sum in 16 lanes.
	softmax func(s []float32, most, sum *float32)
	// merge changes o to o·a + p·b.
	merge func(o, p []float32, a, b float32)
	// divide writes o/l to dst.
	divide func(dst, o []float32, l float32)
	// halves writes src as f16 to dst.
	halves func(dst []byte, src []float32)
}

// tables holds the kernels by set and KV dtype.
var tables [device.AVX512 + 1][inference.KVQ8 + 1]kernels

func init() {
	for set := range tables {
		for kv := range tables[set] {
			tables[set][kv] = kernels{scores, mix, softcap, bias, softmax, merge, divide, halves}
		}
	}
	useAssembly()
}

// choose returns the kernels in use.
func choose(kv inference.KVDType) *kernels { return &tables[device.Kernels()][kv] }

// bytesOf returns the memory of x.
func bytesOf(x []float32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(x))), 4*len(x))
}
