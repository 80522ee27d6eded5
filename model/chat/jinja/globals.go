package jinja

import (
	"errors"
	"fmt"
)

// globals are the names every template has.
var globals map[string]Value

func init() { // refers to itself through method
	globals = map[string]Value{
		"range":           &function{"range", makeRange},
		"dict":            &function{"dict", makeDict},
		"namespace":       &function{"namespace", makeNamespace},
		"cycler":          &function{"cycler", makeCycler},
		"joiner":          &function{"joiner", makeJoiner},
		"raise_exception": &function{"raise_exception", raise},
		"strftime_now":    &function{"strftime_now", strftimeNow},
	}
}

func makeRange(r *run, a args) (Value, error) {
	if a.named.Len() > 0 || len(a.pos) < 1 || len(a.pos) > 3 {
		return nil, fmt.Errorf("range expects 1 to 3 arguments, got %d", len(a.pos)+a.named.Len())
	}
	part := []int64{0, 0, 1}
	for i, v := range a.pos {
		n, err := wantInt("range", v)
		if err != nil {
			return nil, err
		}
		part[i] = n
	}
	if len(a.pos) == 1 {
		part[0], part[1] = 0, part[0]
	}
	return newRange(part[0], part[1], part[2])
}

func newRange(start, stop, step int64) (Value, error) {
	if step == 0 {
		return nil, errors.New("range() arg 3 must not be zero")
	}
	// Distances are unsigned, so that no pair of ends overflows.
	var n uint64
	switch {
	case step > 0 && stop > start:
		n = (uint64(stop)-uint64(start)-1)/uint64(step) + 1
	case step < 0 && stop < start:
		n = (uint64(start)-uint64(stop)-1)/(-uint64(step)) + 1
	}
	if n > MaxRange {
		return nil, limitErr("elements of a range", MaxRange)
	}
	return &Range{start, stop, step, int64(n)}, nil
}

func makeDict(r *run, a args) (Value, error) {
	if len(a.pos) > 1 {
		return nil, fmt.Errorf("dict expected at most 1 argument, got %d", len(a.pos))
	}
	d := NewDict()
	if len(a.pos) == 1 {
		if src, ok := a.pos[0].(*Dict); ok {
			d = src.copy()
		} else {
			pairs, err := r.list(a.pos[0])
			if err != nil {
				return nil, err
			}
			for _, p := range pairs {
				kv, err := r.unpack(p, 2)
				if err != nil {
					return nil, err
				}
				if err := d.set(r, kv[0], kv[1]); err != nil {
					return nil, err
				}
			}
		}
		if err := r.step(d.Len()); err != nil {
			return nil, err
		}
	}
	for i := range a.named.Len() {
		if err := d.set(r, a.named.keys[i], a.named.vals[i]); err != nil {
			return nil, err
		}
	}
	return d, nil
}

func makeNamespace(r *run, a args) (Value, error) {
	v, err := makeDict(r, a)
	if err != nil {
		return nil, err
	}
	n := &Namespace{NewDict()}
	for i, k := range v.(*Dict).keys {
		s, ok := k.(Str)
		if !ok {
			return nil, errors.New("namespace attributes must be named by strings")
		}
		if err := n.set(s, v.(*Dict).vals[i]); err != nil {
			return nil, err
		}
	}
	return n, nil
}

func raise(r *run, a args) (Value, error) {
	p, err := bindArgs("raise_exception", "message", a)
	if err != nil {
		return nil, err
	}
	s, err := r.str(p[0])
	if err != nil {
		return nil, err
	}
	return nil, &RaisedError{s.text}
}

func strftimeNow(r *run, a args) (Value, error) {
	p, err := bindArgs("strftime_now", "format", a)
	if err != nil {
		return nil, err
	}
	s, err := wantStr("strftime_now", p[0])
	if err != nil {
		return nil, err
	}
	out, err := strftime(r.now, s.text)
	if err != nil {
		return nil, err
	}
	return s.like(out), nil
}

// cycler is jinja2's helper that yields its items in turn.
type cycler struct {
	items []Value
	pos   int
}

func (c *cycler) current() Value { return c.items[c.pos] }

func makeCycler(r *run, a args) (Value, error) {
	if len(a.pos) == 0 || a.named.Len() > 0 {
		return nil, errors.New("at least one item has to be provided")
	}
	return &cycler{items: a.pos}, nil
}

func cyclerMethod(c *cycler, name string) (Value, bool) {
	switch name {
	case "next":
		return &function{name, func(r *run, a args) (Value, error) {
			v := c.current()
			c.pos = (c.pos + 1) % len(c.items)
			return v, nil
		}}, true
	case "reset":
		return &function{name, func(r *run, a args) (Value, error) {
			c.pos = 0
			return nil, nil
		}}, true
	case "items":
		return &Tuple{items: c.items}, true
	case "pos":
		return int64(c.pos), true
	}
	return nil, false
}

// joiner is jinja2's helper that prints its separator from the second call on.
type joiner struct {
	sep  Value
	used bool
}

func makeJoiner(r *run, a args) (Value, error) {
	p, err := bindArgs("joiner", "sep=", a)
	if err != nil {
		return nil, err
	}
	if p[0] == missing {
		p[0] = Text(", ")
	}
	return &joiner{sep: p[0]}, nil
}
