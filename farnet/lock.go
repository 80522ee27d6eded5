package farnet

import (
	"errors"
	"io"
	"os"
	"strconv"
	"strings"
)

// errLocked: another open file holds the lock.
var errLocked = errors.New("locked")

// fileLock is an exclusive lock that the system drops when the process ends,
// however it ends. The file itself stays; it holds the owner's process id.
type fileLock struct{ f *os.File }

// lockFile takes the lock at path without waiting. When another has it the
// error is errLocked and holder its process id, "" if that cannot be read.
func lockFile(path string) (l *fileLock, holder string, err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, "", err
	}
	if err := lockHandle(f); err != nil {
		b, _ := io.ReadAll(io.LimitReader(f, 32))
		f.Close()
		if pid := strings.TrimSpace(string(b)); pid != "" {
			if _, e := strconv.Atoi(pid); e == nil {
				holder = pid
			}
		}
		return nil, holder, err
	}
	// For the error message of whoever comes second; a failure is no harm.
	if f.Truncate(0) == nil {
		_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	return &fileLock{f}, "", nil
}

// release drops the lock.
func (l *fileLock) release() { l.f.Close() }
