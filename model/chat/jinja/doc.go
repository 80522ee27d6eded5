// Package jinja interprets the templates that language models ship to turn
// messages into a prompt. It renders them as Python's jinja2 does in the
// set-up common for chat templates: the immutable sandbox, trim_blocks,
// lstrip_blocks, loop controls, the {% generation %} tag, and a tojson that
// escapes neither HTML nor non-ASCII text.
//
// In: template source ([Parse]) and named values ([Template.Render], built
// with [From], [Text], [Data] and [Dict]). Out: a [Str], text that knows which
// of its bytes came from data and which from the template, through
// concatenation, slicing, stripping, replacing, JSON and the rest. Where the
// origin of a character cannot be told, it counts as data if any input of the
// operation held data. Numbers carry no origin.
//
// Names are bound to slots when the template is parsed ([Parse] says how), so
// that scoping follows jinja2's compiler and not a guess. Values follow
// Python: integers without a bound, floats printed as repr does, strings
// indexed by code point, dicts in order of insertion.
//
// Not implemented, refused by name: extends, block, include, import,
// autoescape, the filters random, pprint and urlize, \N{name} escapes, complex
// numbers. Different on purpose or by omission: what Python prints with an
// address prints without one, dict views are no sets, and the two slips of
// jinja2's constant folding (slicing a number, a negative literal before **)
// are not repeated.
//
// The package owns the limits of one rendering ([Limits]) and nothing outside
// it: no files, no clock but the caller's, no knowledge of messages or models.
// A template or an input may fail with an error; it cannot panic, loop on
// without end or outgrow the limits.
package jinja

import (
	"errors"
	"fmt"
)

// Limits of one rendering. Reaching one is an error that wraps [ErrLimit].
const (
	MaxSource  = 1 << 18    // bytes of template source
	MaxNesting = 120        // nested tags and expressions in the source
	MaxCalls   = 150        // nested calls of macros, callers and recursive loops
	MaxDepth   = 400        // nested lists and dicts in one value
	MaxOutput  = 32 << 20   // bytes of the result, and of any one string
	MaxSteps   = 10_000_000 // evaluated nodes, visited elements, bytes of text made/16, containers made*4
	MaxRange   = 100_000    // elements of range(), as in jinja2's sandbox
	MaxBits    = 1 << 14    // bits of an integer
)

// ErrLimit is wrapped by the error of a template that exceeds one of the
// limits.
var ErrLimit = errors.New("limit exceeded")

// Error is a fault in a template or of a template with the values it was
// given. Line counts from 1 in the template's source; 0 means unknown.
type Error struct {
	Line int
	Err  error
}

// Error gives the line and the reason.
func (e *Error) Error() string {
	if e.Line == 0 {
		return "template: " + e.Err.Error()
	}
	return fmt.Sprintf("template line %d: %v", e.Line, e.Err)
}

// Unwrap returns the reason.
func (e *Error) Unwrap() error { return e.Err }

// RaisedError is what a template reports by raise_exception: it refuses the
// values it was given, in its author's words.
type RaisedError struct{ Message string }

// Error returns the author's words.
func (e *RaisedError) Error() string { return e.Message }

func limitErr(what string, max int) error {
	return fmt.Errorf("%w: %s over %d", ErrLimit, what, max)
}
