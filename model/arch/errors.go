package arch

import "errors"

// ErrUnsupported is wrapped by every [*UnsupportedError].
var ErrUnsupported = errors.New("not implemented")

// ErrMalformed is wrapped where a file lacks something or contradicts itself.
var ErrMalformed = errors.New("malformed model")

// UnsupportedError names what a file asks for that would change results and is
// not implemented.
type UnsupportedError struct {
	File  string // path
	Kind  string // "metadata key", "tensor"
	Name  string
	Value string // of the key; "" for a tensor
}

// Error returns "FILE: metadata key llama.expert_count = 8: not implemented".
func (e *UnsupportedError) Error() string {
	s := e.File + ": " + e.Kind + " " + e.Name
	if e.Value != "" {
		s += " = " + e.Value
	}
	return s + ": " + ErrUnsupported.Error()
}

// Unwrap returns ErrUnsupported.
func (e *UnsupportedError) Unwrap() error { return ErrUnsupported }
