package matmul

import (
	"slices"
	"unsafe"

	"github.com/farlabs/inference/kernels/device"
	"github.com/farlabs/inference/kernels/tensor"
)

// tile says what a kernel computes in one call: rows of a panel times columns
// of activations, over a range of blocks. Assembly knows the offsets of its
// fields; what the fields refer to is as large as they say.
type tile struct {
	y       *float32       //  0: row 0 of column 0
	stride  int            //  8: bytes from a column of y to the next
	codes   *byte          // 16: of the first block of the panel, 64-byte aligned
	scales  *byte          // 24: of its span, 32-byte aligned
	next    int            // 32: bytes from the codes and scales of a panel to those of the next
	x       unsafe.Pointer // 40: of the first block of column 0
	blocks  int            // 48: > 0, whole spans
	columns int            // 56: > 0, ≤ width
	width   int            // 64: columns of the layout of x
	rows    int            // 72: of the panel: 1 … 16
	load    uint64         // 80: mask of the rows whose y is added to; the others begin at 0
	store   uint64         // 88: mask of the rows of y
	// What the call after this one reads; kernels of few columns, which wait for
	// memory, ask for its beginning in good time.
	soonCodes  *byte //  96
	soonScales *byte // 104
}

// kernel computes tiles of one format, indexed by width as in its form.
type kernel struct {
	one []func(*tile) // with one panel
	// two and four multiply with that many panels that follow one another, all
	// whole: the rows of each come after those of the one before in y. They may
	// be shorter than one, or have gaps.
	two, four []func(*tile)
}

// most returns the kernel for as many panels as there are, at most, and how many
// it takes.
func (k *kernel) most(width, panels int) (run func(*tile), taken int) {
	switch {
	case panels >= 4 && width < len(k.four) && k.four[width] != nil:
		return k.four[width], 4
	case panels >= 2 && width < len(k.two) && k.two[width] != nil:
		return k.two[width], 2
	}
	return k.one[width], 1
}

// form is how a set of kernels wants its activations and what it does with them.
type form struct {
	size    int   // bytes of a block of a column
	widths  []int // of a tile, ascending, the last at most maxWidth
	prepare func(dst unsafe.Pointer, stride int, x []float32)
	kernels [dtypes]kernel
}

// maxWidth is the most columns of a tile.
const maxWidth = 16

// width returns the narrowest width that holds columns, and its index.
func (f *form) width(columns int) (index, width int) {
	i, _ := slices.BinarySearch(f.widths, columns)
	i = min(i, len(f.widths)-1)
	return i, f.widths[i]
}

// sets has the forms of each set of kernels; files of assembly add theirs.
var sets = [...]*[numActivations]form{
	device.Generic: complete(&[numActivations]form{}),
	device.AVX2:    complete(formsAVX2()),
	device.AVX512:  complete(formsAVX512()),
}

// complete adds plain Go where a set has nothing else.
func complete(forms *[numActivations]form) *[numActivations]form {
	for a := range forms {
		f := &forms[a]
		if f.widths == nil {
			f.widths = []int{1, 2, 3, 4, 5, 6, 7, 8}
		}
		f.size = [numActivations]int{int8Size, f32Size}[a]
		if f.prepare == nil {
			f.prepare = [numActivations]func(unsafe.Pointer, int, []float32){quantizeGeneric, spreadGeneric}[a]
		}
		for d, format := range formats {
			if format == nil || a == int(Int8) && format.plain() || f.kernels[d].one != nil {
				continue
			}
			generic := [numActivations]func(*tile){format.int8Generic, format.f32Generic}[a]
			f.kernels[d].one = slices.Repeat([]func(*tile){generic}, len(f.widths))
		}
	}
	return forms
}

// of returns the form of activations that weights of dtype meet.
func (a Activations) of(dtype tensor.DType) Activations {
	if formats[dtype].plain() {
		return F32
	}
	return a
}
