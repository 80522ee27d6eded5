package weights

import (
	"os"
	"unsafe"
)

// region is some bytes in memory.
type region struct {
	bytes []byte
	unmap func() error // nil where there is nothing to give back
	heap  bool         // Go's, where files cannot be mapped
	alone bool         // mapped, but no file's
}

// release gives the memory back.
func (r region) release() error {
	if r.unmap == nil {
		return nil
	}
	return r.unmap()
}

// anonymous returns n bytes of zeros beside Go's heap if the system can, so
// that the collector's limit leaves them out.
func anonymous(n int64) (region, error) {
	if canMap {
		return mapMemory(n)
	}
	return region{bytes: alignedBytes(int(n)), heap: true}, nil
}

// smallTensor is the size below which a tensor is copied instead of mapped: 16
// pages, the span that the kernel maps around a page fault.
const smallTensor = 64 << 10

// load brings bytes [off, off+size) of f into memory.
func load(f *os.File, off, size int64) (region, error) {
	if size >= smallTensor && canMap {
		return mapRange(f, off, size)
	}
	b := alignedBytes(int(size))
	if _, err := f.ReadAt(b, off); err != nil {
		return region{}, err
	}
	return region{bytes: b, heap: true}, nil
}

// alignedBytes returns n bytes that begin on a cache line.
func alignedBytes(n int) []byte {
	b := make([]byte, n+63)
	skip := int(-uintptr(unsafe.Pointer(unsafe.SliceData(b))) & 63)
	return b[skip : skip+n : skip+n]
}
