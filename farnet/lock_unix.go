//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package farnet

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// lockHandle takes an advisory lock that ends with the open file.
func lockHandle(f *os.File) error {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return errLocked
	}
	return err
}
