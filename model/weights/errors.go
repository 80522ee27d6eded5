package weights

import (
	"errors"
	"fmt"

	"github.com/farlabs/inference"
)

// ErrClosed is returned by a Checkpoint that was closed.
var ErrClosed = errors.New("checkpoint is closed")

// FormatError says what is wrong with a file: truncated, corrupt, hostile, or
// of a form that this package does not read.
type FormatError struct {
	Path   string
	Item   string // `key "…"` or `tensor "…"`; "" when it is the file as a whole
	Reason string
}

// Error implements error.
func (e *FormatError) Error() string {
	if e.Item == "" {
		return fmt.Sprintf("%s: %s", e.Path, e.Reason)
	}
	return fmt.Sprintf("%s: %s: %s", e.Path, e.Item, e.Reason)
}

// TypeError reports a tensor whose element type this package does not read.
type TypeError struct {
	Path   string
	Tensor string
	Type   uint32 // ggml's number
}

// TypeName returns ggml's name of the type, or its number.
func (e *TypeError) TypeName() string {
	if name, ok := foreignTypes[e.Type]; ok {
		return name
	}
	return fmt.Sprintf("number %d", e.Type)
}

// Error implements error.
func (e *TypeError) Error() string {
	return fmt.Sprintf("%s: tensor %s: type %s is not supported; use a file of types F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K or Q6_K",
		e.Path, quote(e.Tensor), e.TypeName())
}

// MismatchError reports contents that are not those of the manifest.
type MismatchError struct {
	Path string // "" when the bytes came from elsewhere
	Item string // `tensor "…"`, "config", "tokenizer", "template", "manifest"
	Want string // hexadecimal SHA-256, or a description
	Got  string
}

// Error implements error.
func (e *MismatchError) Error() string {
	s := fmt.Sprintf("%s is not that of the model: want %s, got %s", e.Item, e.Want, e.Got)
	if e.Path != "" {
		return e.Path + ": " + s
	}
	return s
}

func digestMismatch(want, got inference.Digest) error {
	return &MismatchError{Item: "manifest", Want: want.String(), Got: got.String()}
}

// quote quotes a name from a file for an error, at most about 80 bytes of it.
func quote(s string) string {
	if len(s) > 80 {
		return fmt.Sprintf("%q…", s[:80])
	}
	return fmt.Sprintf("%q", s)
}
