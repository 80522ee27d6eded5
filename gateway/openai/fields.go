package openai

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
)

// maxDepth bounds the nesting of a request's JSON. What is served nests to
// four; schemas of tools, to be refused by name, go deeper.
const maxDepth = 64

// fields reads the members of a JSON object. A member that is absent or null
// leaves the value given as default. The first fault is kept in err.
type fields struct {
	path string // in front of names in errors, "messages[2]."
	raw  map[string]json.RawMessage
	err  *Error
}

func parseFields(body []byte) (*fields, error) {
	if err := checkDepth(body); err != nil {
		return nil, err
	}
	f := &fields{}
	if err := json.Unmarshal(body, &f.raw); err != nil {
		return nil, malformed(err)
	}
	if f.raw == nil {
		return nil, &Error{Message: "the body is null, want a JSON object"}
	}
	return f, nil
}

func malformed(err error) *Error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return &Error{Message: fmt.Sprintf("the body is not JSON: %v at byte %d", syntax, syntax.Offset)}
	case errors.As(err, &kind):
		return &Error{Message: "the body is a JSON " + kind.Value + ", want an object"}
	case errors.Is(err, io.ErrUnexpectedEOF):
		return &Error{Message: "the body ends within JSON"}
	}
	return &Error{Message: "the body is not JSON: " + err.Error()}
}

// checkDepth refuses deep nesting before anything recursive reads b.
func checkDepth(b []byte) error {
	depth, text := 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case text && c == '\\':
			i++
		case c == '"':
			text = !text
		case text:
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return &Error{Message: fmt.Sprintf("the body nests deeper than %d", maxDepth)}
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return nil
}

func (f *fields) fail(name, format string, args ...any) {
	if f.err == nil {
		f.err = badField(f.path+name, format, args...)
	}
}

// refuse is fail for what is known and not served yet.
func (f *fields) refuse(name, format string, args ...any) {
	if f.err == nil {
		f.fail(name, format, args...)
		f.err.Code = codeUnserved
	}
}

// get returns a member; ok is false when it is absent or null.
func (f *fields) get(name string) (json.RawMessage, bool) {
	r, ok := f.raw[name]
	if !ok || isNull(r) {
		return nil, false
	}
	return r, true
}

func isNull(r json.RawMessage) bool { return len(r) == 0 || string(r) == "null" }

// kind is the first byte of a value: '{', '[', '"', 't', 'f', 'n' or a digit
// or sign.
func kind(r json.RawMessage) byte {
	r = bytes.TrimLeft(r, " \t\r\n")
	if len(r) == 0 {
		return 0
	}
	return r[0]
}

func (f *fields) bool(name string, value bool) bool {
	if r, ok := f.get(name); ok && json.Unmarshal(r, &value) != nil {
		f.fail(name, "want true or false")
	}
	return value
}

func (f *fields) string(name string) string {
	var s string
	if r, ok := f.get(name); ok && json.Unmarshal(r, &s) != nil {
		f.fail(name, "want a string")
	}
	return s
}

// float reads a number in [lo, hi].
func (f *fields) float(name string, value, lo, hi float64) float64 {
	r, ok := f.get(name)
	if !ok {
		return value
	}
	v, err := number(r)
	if err != nil || !(v >= lo && v <= hi) {
		f.fail(name, "want a number from %v to %v", lo, hi)
		return value
	}
	return v
}

func number(r json.RawMessage) (float64, error) {
	var v float64
	err := json.Unmarshal(r, &v)
	return v, err
}

// int reads a whole number in [lo, hi]; 16.0 is one too.
func (f *fields) int(name string, value, lo, hi int64) int64 {
	r, ok := f.get(name)
	if !ok {
		return value
	}
	v, ok := whole(r)
	switch {
	case !ok:
		f.fail(name, "want a whole number")
	case v < lo || v > hi && hi == math.MaxInt32:
		f.fail(name, "want %d or more, at most %d", lo, hi)
	case v > hi:
		f.fail(name, "want %d to %d", lo, hi)
	default:
		return v
	}
	return value
}

func whole(r json.RawMessage) (int64, bool) {
	var v int64
	if json.Unmarshal(r, &v) == nil {
		return v, true
	}
	x, err := number(r)
	if err != nil || x != math.Trunc(x) || math.Abs(x) > 1<<53 {
		return 0, false
	}
	return int64(x), true
}

// seed takes any 64-bit number, signed or not.
func (f *fields) seed(name string) *uint64 {
	r, ok := f.get(name)
	if !ok {
		return nil
	}
	if v, ok := whole(r); ok {
		u := uint64(v)
		return &u
	}
	var u uint64
	if json.Unmarshal(r, &u) == nil {
		return &u
	}
	f.fail(name, "want a whole number of at most 64 bits")
	return nil
}

// object reads a member that is itself an object, nil when absent.
func (f *fields) object(name string) *fields {
	r, ok := f.get(name)
	if !ok {
		return nil
	}
	o := &fields{path: f.path + name + "."}
	if json.Unmarshal(r, &o.raw) != nil {
		f.fail(name, "want an object")
		return nil
	}
	return o
}

// list reads an array, nil when absent.
func (f *fields) list(name string) []json.RawMessage {
	r, ok := f.get(name)
	if !ok {
		return nil
	}
	var l []json.RawMessage
	if json.Unmarshal(r, &l) != nil {
		f.fail(name, "want a list")
	}
	return l
}

// take moves the fault of a nested object here.
func (f *fields) take(o *fields) {
	if f.err == nil && o != nil {
		f.err = o.err
	}
}

// printable shortens text of a request for an error message.
func printable(s string) string {
	s = strings.ToValidUTF8(s, "\ufffd")
	if len(s) > 64 {
		s = strings.ToValidUTF8(s[:64], "") + "…"
	}
	return fmt.Sprintf("%q", s)
}
