package journal

import (
	"errors"
	"fmt"
	"os"
)

// ErrLocked is returned by TakeLock while another process holds the lock.
var ErrLocked = errors.New("in use by another process")

// Lock is an exclusive lock on a file, held until Release or the death of the
// process.
type Lock struct{ f *os.File }

// TakeLock creates path if it is missing and locks it, without waiting.
func TakeLock(path string) (*Lock, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	if err := lockFile(f); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return &Lock{f}, nil
}

// Release gives the lock up; the file stays.
func (l *Lock) Release() error {
	if l == nil || l.f == nil {
		return nil
	}
	err := l.f.Close()
	l.f = nil
	return err
}
