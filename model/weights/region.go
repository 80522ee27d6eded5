package weights

import (
	"os"
	"unsafe"
)

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
	return region{bytes: b}, nil
}

// alignedBytes returns n bytes that begin on a cache line.
func alignedBytes(n int) []byte {
	b := make([]byte, n+63)
	skip := int(-uintptr(unsafe.Pointer(unsafe.SliceData(b))) & 63)
	return b[skip : skip+n : skip+n]
}
