package attention

import (
	"encoding/binary"
	"math"

	inference "github.com/farlabs/inference"
	"github.com/farlabs/inference/kernels/quant"
)

// PageSize is the number of positions of a page.
const PageSize = 16

// Page holds the keys and the values of 16 consecutive positions of one block,
// [PageBytes] bytes, zeros where nothing was stored. Assembly wants no
// alignment, but is faster at 64 bytes. Little-endian, D being headDim rounded
// up to a multiple of 16:
//
//	f16, f32   K [kvHeads][D][16], then V [kvHeads][16][D]
//	q8         K [kvHeads]{codes s8 [D][16], scales f16 [⌈D/32⌉][16]}
//	           V [kvHeads]{codes s8 [16][D], scales f16 [16][⌈D/32⌉]}
type Page []byte

// PageBytes returns the size of a page, a multiple of 64.
func PageBytes(kv inference.KVDType, kvHeads, headDim int) int {
	l := newLayout(kv, kvHeads, headDim)
	return l.bytes
}

// layout says where things are in a page.
type layout struct {
	kv     inference.KVDType
	pad    int // D
	groups int // scales of a position and head, q8 only
	head   int // bytes of one head's keys, and of its values
	values int // where the values begin
	bytes  int // of the page
}

const align = 64 // cache line, and the widest register

func newLayout(kv inference.KVDType, kvHeads, headDim int) layout {
	l := layout{kv: kv, pad: (headDim + 15) &^ 15}
	switch kv {
	case inference.KVF32:
		l.head = 4 * PageSize * l.pad
	case inference.KVQ8:
		l.groups = (l.pad + 31) / 32
		l.head = PageSize*l.pad + 2*PageSize*l.groups
	default:
		l.head = 2 * PageSize * l.pad
	}
	l.values = kvHeads * l.head
	l.bytes = (2*l.values + align - 1) &^ (align - 1)
	return l
}

func f32(b []byte, i int) float32 { return math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:])) }

func f16(b []byte, i int) float32 { return quant.F16ToF32(binary.LittleEndian.Uint16(b[2*i:])) }

func put16(b []byte, i int, v uint16) { binary.LittleEndian.PutUint16(b[2*i:], v) }

// keys reads dimension d of the 16 positions; b begins with the head's keys.
func (l *layout) keys(k *[PageSize]float32, b []byte, d int) {
	at := d * PageSize
	switch l.kv {
	case inference.KVF32:
		for t := range k {
			k[t] = f32(b, at+t)
		}
	case inference.KVQ8:
		scales := b[PageSize*l.pad+2*PageSize*(d/32):]
		for t := range k {
			k[t] = float32(int8(b[at+t])) * f16(scales, t)
		}
	default:
		for t := range k {
			k[t] = f16(b, at+t)
		}
	}
}

// dims reads dimensions [c, c+16) of the values of position t; b begins with the
// head's values.
func (l *layout) dims(v *[16]float32, b []byte, t, c int) {
	at := t*l.pad + c
	switch l.kv {
	case inference.KVF32:
		for x := range v {
			v[x] = f32(b, at+x)
		}
	case inference.KVQ8:
		scale := f16(b[PageSize*l.pad:], t*l.groups+c/32)
		for x := range v {
			v[x] = float32(int8(b[at+x])) * scale
		}
	default:
		for x := range v {
			v[x] = f16(b, at+x)
		}
	}
}
