package farnet

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// lockHandle locks one byte far behind the content, so that the process id in
// the file stays readable to others.
func lockHandle(f *os.File) error {
	at := &windows.Overlapped{OffsetHigh: 1}
	err := windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, at)
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return errLocked
	}
	return err
}
