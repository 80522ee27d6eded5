package jinja

import (
	"fmt"
	"unicode/utf8"
)

// iter yields values once. typ is Python's name for what it is.
type iter struct {
	typ string
	// next returns the next value; ok is false at the end.
	next func() (v Value, ok bool, err error)
}

// at makes an iterator over n values by index.
func (r *run) indexed(typ string, n int, at func(i int) Value) *iter {
	i := 0
	return &iter{typ, func() (Value, bool, error) {
		if i >= n {
			return nil, false, nil
		}
		if err := r.step(1); err != nil {
			return nil, false, err
		}
		i++
		return at(i - 1), true, nil
	}}
}

// iterate is iter(v).
func (r *run) iterate(v Value) (*iter, error) {
	switch v := v.(type) {
	case *iter:
		return v, nil
	case *List:
		return r.indexed("list_iterator", len(v.items), func(i int) Value { return v.items[i] }), nil
	case *Tuple:
		return r.indexed("tuple_iterator", len(v.items), func(i int) Value { return v.items[i] }), nil
	case *Dict:
		return r.indexed("dict_keyiterator", v.Len(), func(i int) Value { return v.keys[i] }), nil
	case *view:
		return r.indexed("dict_iterator", v.d.Len(), v.at), nil
	case *Range:
		return r.indexed("range_iterator", int(v.n), func(i int) Value { return v.at(int64(i)) }), nil
	case Str:
		i := 0
		return &iter{"str_iterator", func() (Value, bool, error) {
			if i >= len(v.text) {
				return nil, false, nil
			}
			if err := r.step(piece); err != nil {
				return nil, false, err
			}
			_, n := utf8.DecodeRuneInString(v.text[i:])
			i += n
			c := v.sub(i-n, i)
			c.safe = false
			return c, true, nil
		}}, nil
	case *Undefined:
		return &iter{"generator", func() (Value, bool, error) { return nil, false, nil }}, nil
	case *loop:
		return &iter{"LoopContext", func() (Value, bool, error) {
			x, ok, err := v.next()
			if err != nil || !ok {
				return nil, false, err
			}
			return &Tuple{items: []Value{x, v}}, true, nil
		}}, nil
	}
	return nil, fmt.Errorf("'%s' object is not iterable", typeName(v))
}

// list is list(v), at most limit elements.
func (r *run) list(v Value) ([]Value, error) {
	switch v := v.(type) {
	case *List:
		return v.items, r.step(len(v.items))
	case *Tuple:
		return v.items, r.step(len(v.items))
	}
	it, err := r.iterate(v)
	if err != nil {
		return nil, err
	}
	var out []Value
	for {
		x, ok, err := it.next()
		if err != nil {
			return nil, err
		}
		if !ok {
			return out, nil
		}
		if err := r.step(1); err != nil {
			return nil, err
		}
		out = append(out, x)
	}
}

// length is len(v).
func (r *run) length(v Value) (int64, error) {
	switch v := v.(type) {
	case Str:
		return int64(v.runes()), r.textCost(len(v.text))
	case *List:
		return int64(len(v.items)), nil
	case *Tuple:
		return int64(len(v.items)), nil
	case *Dict:
		return int64(v.Len()), nil
	case *view:
		return int64(v.d.Len()), nil
	case *Range:
		return v.n, nil
	case *Undefined:
		return 0, nil
	case *loop:
		n, err := v.len(r)
		return int64(n), err
	}
	return 0, fmt.Errorf("object of type '%s' has no len()", typeName(v))
}

// generator makes an iterator of src's values through f, which may drop them.
func (r *run) generator(src Value, f func(v Value) (out Value, keep bool, err error)) *iter {
	var it *iter
	return &iter{"generator", func() (Value, bool, error) {
		if it == nil { // as in Python, nothing happens before the first value is asked for
			if !truth(src) {
				src = NewList()
			}
			var err error
			if it, err = r.iterate(src); err != nil {
				return nil, false, err
			}
		}
		for {
			v, ok, err := it.next()
			if err != nil || !ok {
				return nil, false, err
			}
			if err := r.step(1); err != nil {
				return nil, false, err
			}
			out, keep, err := f(v)
			if err != nil {
				return nil, false, err
			}
			if keep {
				return out, true, nil
			}
		}
	}}
}

// loop is the loop variable of a for.
type loop struct {
	r        *run
	src      Value
	it       *iter
	index0   int
	depth0   int
	length   int   // -1 until known
	after    Value // peeked; missing when not
	ended    bool  // the iterator is known to be empty
	cur, old Value
	changed  Value // arguments of the last changed() call; missing at first
	recurse  func(v Value, depth int) (Value, error)
}

func (l *loop) len(r *run) (int, error) {
	if l.length >= 0 {
		return l.length, nil
	}
	if n, err := r.length(l.src); err == nil {
		l.length = int(n)
		return l.length, nil
	}
	rest, err := r.list(l.it)
	if err != nil {
		return 0, err
	}
	l.it = r.indexed("list_iterator", len(rest), func(i int) Value { return rest[i] })
	l.length = len(rest) + l.index0 + 1
	if l.after != missing {
		l.length++
	}
	return l.length, nil
}

func (l *loop) peek() (Value, bool, error) {
	if l.after != missing {
		return l.after, true, nil
	}
	if l.ended {
		return nil, false, nil
	}
	v, ok, err := l.it.next()
	if err != nil {
		return nil, false, err
	}
	if !ok {
		l.ended = true
		return nil, false, nil
	}
	l.after = v
	return v, true, nil
}

func (l *loop) next() (Value, bool, error) {
	v, ok, err := l.peek()
	if err != nil || !ok {
		return nil, false, err
	}
	l.after = missing
	l.index0++
	l.old, l.cur = l.cur, v
	return v, true, nil
}

// attr returns an attribute of the loop variable.
func (l *loop) attr(r *run, name string) (Value, bool, error) {
	i := int64(l.index0)
	switch name {
	case "index":
		return i + 1, true, nil
	case "index0":
		return i, true, nil
	case "first":
		return i == 0, true, nil
	case "depth":
		return int64(l.depth0 + 1), true, nil
	case "depth0":
		return int64(l.depth0), true, nil
	case "length", "revindex", "revindex0":
		n, err := l.len(r)
		switch name {
		case "revindex":
			n -= l.index0
		case "revindex0":
			n -= l.index0 + 1
		}
		return int64(n), true, err
	case "last":
		_, more, err := l.peek()
		return !more, true, err
	case "previtem":
		if i == 0 {
			return &Undefined{hint: "there is no previous item"}, true, nil
		}
		return l.old, true, nil
	case "nextitem":
		v, more, err := l.peek()
		if err == nil && !more {
			v = &Undefined{hint: "there is no next item"}
		}
		return v, true, err
	case "cycle":
		return &function{"cycle", func(r *run, a args) (Value, error) {
			if len(a.pos) == 0 || a.named.Len() > 0 {
				return nil, fmt.Errorf("no items for cycling given")
			}
			return a.pos[max(l.index0, 0)%len(a.pos)], nil
		}}, true, nil
	case "changed":
		return &function{"changed", func(r *run, a args) (Value, error) {
			now := &Tuple{items: a.pos}
			if l.changed != missing {
				if eq, err := r.equal(l.changed, now); err != nil || eq {
					return false, err
				}
			}
			l.changed = now
			return true, nil
		}}, true, nil
	}
	return nil, false, nil
}
