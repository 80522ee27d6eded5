//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package weights

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// lock tries to take the lock of f, which lasts until f is closed or its process
// ends. held says that another has it; where both are false, the file system
// has no locks.
func lock(f *os.File) (locked, held bool) {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	return err == nil, errors.Is(err, unix.EWOULDBLOCK)
}

// syncFolder makes a rename in the folder last.
func syncFolder(path string) {
	if d, err := os.Open(path); err == nil {
		_ = d.Sync() // what is lost is packed again
		d.Close()
	}
}
