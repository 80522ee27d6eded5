package cli

import (
	"errors"
	"io/fs"
	"os"
	"sync"
	"syscall"
)

// OutputError is why standard output could not be written.
type OutputError struct{ Err error }

// Error implements error.
func (e *OutputError) Error() string {
	err := e.Err
	if path := (*fs.PathError)(nil); errors.As(err, &path) {
		err = path.Err // what the file is called says nothing
	}
	return "standard output: " + err.Error()
}

// Unwrap returns the cause.
func (e *OutputError) Unwrap() error { return e.Err }

// output is a command's standard output. It keeps the first error, so that a
// command that looks at none of its writes fails all the same.
type output struct {
	file *os.File
	gone func() // called when nobody reads any more

	mu    sync.Mutex
	first error
}

// Write implements io.Writer. Its errors are *OutputError. It goes on trying
// after one: a disk that was full may have room again.
func (o *output) Write(b []byte) (int, error) {
	n, err := o.file.Write(b)
	if err == nil {
		return n, nil
	}
	err = &OutputError{err}
	o.mu.Lock()
	if o.first == nil {
		o.first = err
	}
	o.mu.Unlock()
	if errors.Is(err, syscall.EPIPE) {
		o.gone()
	}
	return n, err
}

// Fd tells whether the output is a terminal.
func (o *output) Fd() uintptr { return o.file.Fd() }

// err returns the first error of a write.
func (o *output) err() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.first
}
