package weights

import "golang.org/x/sys/unix"

// touch brings mapped memory, which begins on a page, into the page tables.
func touch(m []byte) {
	if unix.Madvise(m, unix.MADV_POPULATE_READ) != nil { // Linux before 5.14
		touchPages(m)
	}
}

// largePages asks for pages that cost the processor fewer walks of its tables.
func largePages(m []byte) { _ = unix.Madvise(m, unix.MADV_HUGEPAGE) }
