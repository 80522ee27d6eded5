package device

import "unsafe"

// MemoryAlign is what the memory that Map returns is aligned to, at least.
const MemoryAlign = 64

// Map returns n bytes of zeros outside the Go heap where the system allows it:
// the garbage collector neither counts nor clears them, and the system provides
// them when they are first written. The caller gives them back with Unmap, and
// must have no pointer to them left then.
func Map(n int) ([]byte, error) { return mapMemory(n) }

// Unmap gives back memory that Map returned, whole.
func Unmap(mem []byte) error { return unmapMemory(mem) }

// heapMemory is Map from the Go heap.
func heapMemory(n int) []byte {
	mem := make([]byte, n+MemoryAlign)
	off := int(-uintptr(unsafe.Pointer(unsafe.SliceData(mem))) & (MemoryAlign - 1))
	return mem[off : off+n : off+n]
}
