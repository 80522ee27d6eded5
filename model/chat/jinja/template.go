package jinja

import (
	"fmt"
	"time"
	"unicode/utf8"
)

// Template is a parsed template. It is immutable and safe for concurrent use.
type Template struct {
	body []stmt
	root *scope
}

// Parse parses source: lexer, parser, then the binder, which gives every name
// its slot. Errors are *[Error] or wrap [ErrLimit].
func Parse(source string) (*Template, error) {
	if len(source) > MaxSource {
		return nil, &Error{Err: limitErr("bytes of source", MaxSource)}
	}
	if !utf8.ValidString(source) {
		return nil, &Error{Err: fmt.Errorf("source is not UTF-8")}
	}
	body, err := parse(source)
	if err != nil {
		return nil, err
	}
	root, err := bind(body)
	if err != nil {
		return nil, err
	}
	return &Template{body, root}, nil
}

// Render evaluates the template with the given names. now is what strftime_now
// formats, in its own location. Errors are *[Error]; they wrap *[RaisedError]
// when the template refused its input, [ErrLimit] when it exceeded a limit.
func (t *Template) Render(vars *Dict, now time.Time) (Str, error) {
	r := &run{given: vars, now: now, out: &buf{}}
	f := r.enter(t.root, nil)
	if _, err := r.stmts(t.body, f); err != nil {
		return Str{}, err
	}
	return r.out.str(), nil
}

// run is the state of one rendering.
type run struct {
	given *Dict
	now   time.Time
	out   *buf
	steps int
	calls int // nested calls of template functions
	depth int // nested values being walked
}

// step spends n steps.
func (r *run) step(n int) error {
	r.steps += n
	if r.steps > MaxSteps {
		return limitErr("steps", MaxSteps)
	}
	return nil
}

// piece is the steps that making a container or a piece of text costs, for its
// memory.
const piece = 4

// textCost spends the steps for making or reading n bytes of text.
func (r *run) textCost(n int) error {
	if n > MaxOutput {
		return limitErr("bytes of a text", MaxOutput)
	}
	return r.step(1 + n/16)
}

// frame holds the values of one scope.
type frame struct {
	parent *frame
	vars   []Value
}

func (f *frame) at(to ref) *Value {
	for i := 0; i < to.up; i++ {
		f = f.parent
	}
	return &f.vars[to.slot]
}

// enter makes a frame for s inside parent and prepares its names.
func (r *run) enter(s *scope, parent *frame) *frame {
	f := &frame{parent: parent, vars: make([]Value, len(s.slots))}
	r.prepare(f, s)
	return f
}

func (r *run) prepare(f *frame, s *scope) {
	for i, sl := range s.slots {
		switch sl.how {
		case asAlias:
			f.vars[i] = *f.at(sl.from)
		case asContext:
			f.vars[i] = r.context(sl.name)
		default:
			f.vars[i] = missing
		}
	}
}

// context looks a name up among the given values and the globals.
func (r *run) context(name string) Value {
	if v, ok := r.given.Get(name); ok {
		return v
	}
	if v, ok := globals[name]; ok {
		return v
	}
	return missing
}

// runeCost spends the steps for looking at each character of n bytes.
func (r *run) runeCost(n int) error {
	if n > MaxOutput {
		return limitErr("bytes of a text", MaxOutput)
	}
	return r.step(1 + n/4)
}

// within runs f with its output collected, and returns that.
func (r *run) within(f func() error) (Str, error) {
	out := r.out
	r.out = &buf{}
	err := f()
	s := r.out.str()
	r.out = out
	if err != nil {
		return Str{}, err
	}
	return s, r.textCost(len(s.text))
}
