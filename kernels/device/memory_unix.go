//go:build unix

package device

import (
	"os"

	"golang.org/x/sys/unix"
)

func mapMemory(n int) ([]byte, error) {
	if n == 0 {
		return heapMemory(0), nil
	}
	mem, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	return mem, os.NewSyscallError("mmap", err)
}

func unmapMemory(mem []byte) error {
	if len(mem) == 0 {
		return nil
	}
	return os.NewSyscallError("munmap", unix.Munmap(mem))
}
