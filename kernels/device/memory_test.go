package device

import (
	"testing"
	"unsafe"
)

func TestMappedMemoryIsAlignedZeros(t *testing.T) {
	for _, n := range []int{0, 1, 100, 1 << 20} {
		mem, err := Map(n)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range [][]byte{mem, heapMemory(n)} {
			if len(m) != n || n > 0 && uintptr(unsafe.Pointer(&m[0]))%MemoryAlign != 0 {
				t.Fatalf("%d bytes at %p, want %d", len(m), m, n)
			}
			for i := range m {
				if m[i] != 0 {
					t.Fatalf("byte %d is %d", i, m[i])
				}
				m[i] = 1
			}
		}
		if err := Unmap(mem); err != nil {
			t.Fatal(err)
		}
	}
}
