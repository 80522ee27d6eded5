//go:build unix

package weights

import (
	"os"

	"golang.org/x/sys/unix"
)

const canMap = true

// mapRange maps the pages that hold bytes [off, off+size) of f, read-only.
func mapRange(f *os.File, off, size int64) (region, error) {
	lead := off % int64(os.Getpagesize()) // a mapping begins on a page
	m, err := unix.Mmap(int(f.Fd()), off-lead, int(lead+size), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return region{}, os.NewSyscallError("mmap", err)
	}
	return region{
		bytes: m[lead:len(m):len(m)],
		unmap: func() error { return unix.Munmap(m) },
	}, nil
}

// mapMemory returns n bytes of zeros that belong to no file, n > 0.
func mapMemory(n int64) (region, error) {
	m, err := unix.Mmap(-1, 0, int(n), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return region{}, os.NewSyscallError("mmap", err)
	}
	largePages(m)
	return region{bytes: m, unmap: func() error { return unix.Munmap(m) }, alone: true}, nil
}
