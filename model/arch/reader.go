package arch

import (
	"fmt"
	"math"
)

// reader keeps the first error, and which keys are left unread.
type reader struct {
	meta    Metadata
	prefix  string // "llama."
	keys    map[string]bool
	tensors map[string][]int
	err     error
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

func (r *reader) malformed(format string, args ...any) error {
	return fmt.Errorf("%s: "+format+": %w", append(append([]any{r.meta.Path()}, args...), ErrMalformed)...)
}

func (r *reader) unsupported(kind, name, value string) error {
	return &UnsupportedError{File: r.meta.Path(), Kind: kind, Name: name, Value: value}
}

// refuse fails with the key and, where it is plain, its value.
func (r *reader) refuse(key string) {
	value := ""
	if v, ok := r.meta.String(key); ok {
		value = fmt.Sprintf("%.64q", v)
	} else if v, ok := r.meta.Uint(key); ok {
		value = fmt.Sprint(v)
	} else if v, ok := r.meta.Float(key); ok {
		value = fmt.Sprint(v)
	} else if v, ok := r.meta.Bool(key); ok {
		value = fmt.Sprint(v)
	}
	r.fail(r.unsupported("metadata key", key, value))
}

// take marks key as read; false, and an error, when it is absent.
func (r *reader) take(key string) bool {
	if !r.keys[key] {
		r.fail(r.malformed("metadata key %s is missing", key))
		return false
	}
	delete(r.keys, key)
	return true
}

func (r *reader) text(key string, v *string) {
	if !r.take(key) {
		return
	}
	got, ok := r.meta.String(key)
	if !ok {
		r.refuse(key)
	}
	*v = got
}

func (r *reader) size(key string, v *int) {
	if !r.take(key) {
		return
	}
	// A list, one size a layer, is a model of another kind.
	got, ok := r.meta.Uint(key)
	if !ok || got > math.MaxInt32 {
		r.refuse(key)
		return
	}
	*v = int(got)
}

func (r *reader) optionalSize(key string, v *int) {
	if r.keys[key] {
		r.size(key, v)
	}
}

func (r *reader) float(key string, v *float64) {
	if !r.take(key) {
		return
	}
	got, ok := r.meta.Float(key)
	if !ok {
		r.refuse(key)
		return
	}
	*v = got
}

// neutral refuses a key that is present with a value that means something.
func neutral[T comparable](r *reader, key string, get func(string) (T, bool), allowed []T) {
	if !r.keys[key] {
		return
	}
	delete(r.keys, key)
	got, ok := get(key)
	for _, a := range allowed {
		if ok && got == a {
			return
		}
	}
	r.refuse(key)
}

func (r *reader) neutralText(key string, allowed ...string) {
	neutral(r, key, r.meta.String, allowed)
}

func (r *reader) neutralUint(key string, allowed ...uint64) {
	neutral(r, key, r.meta.Uint, allowed)
}

func (r *reader) neutralFloat(key string, allowed ...float64) {
	neutral(r, key, r.meta.Float, allowed)
}

func (r *reader) neutralBool(key string, allowed ...bool) {
	neutral(r, key, r.meta.Bool, allowed)
}
