package jinja

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// getter reads an attribute path such as "function.name" or "0.id" from an
// item; def, if not nil, stands in for what is undefined.
func getter(attribute, def Value) (func(r *run, v Value) (Value, error), error) {
	var path []Value
	switch a := attribute.(type) {
	case nil:
	case Str:
		for part := range strings.SplitSeq(a.text, ".") {
			if n, err := strconv.ParseInt(part, 10, 64); err == nil && isDigit(part[0]) {
				path = append(path, n)
			} else {
				path = append(path, Text(part))
			}
		}
	default:
		path = []Value{a}
	}
	if len(path) > MaxDepth {
		return nil, limitErr("parts of an attribute", MaxDepth)
	}
	return func(r *run, v Value) (Value, error) {
		for _, k := range path {
			var err error
			if v, err = r.getitem(v, k); err != nil {
				return nil, err
			}
			if _, ok := v.(*Undefined); ok && def != nil {
				v = def
			}
		}
		return v, nil
	}, nil
}

// fold is the key that text compares by where case does not count.
func fold(v Value) Value {
	if s, ok := v.(Str); ok {
		return lower(s)
	}
	return v
}

func filterFirst(r *run, v Value, p []Value) (Value, error) {
	it, err := r.iterate(v)
	if err != nil {
		return nil, err
	}
	x, ok, err := it.next()
	if err == nil && !ok {
		return &Undefined{hint: "No first item, sequence was empty."}, nil
	}
	return x, err
}

// reversed returns the elements of what reversed() takes, last first.
func (r *run) reversed(v Value) ([]Value, error) {
	switch v.(type) {
	case Str, *List, *Tuple, *Dict, *Range, *view, *Undefined:
		items, err := r.list(v)
		if err != nil {
			return nil, err
		}
		items = slices.Clone(items)
		slices.Reverse(items)
		return items, nil
	}
	return nil, fmt.Errorf("'%s' object is not reversible", typeName(v))
}

func filterLast(r *run, v Value, p []Value) (Value, error) {
	switch x := v.(type) {
	case *List:
		if n := len(x.items); n > 0 {
			return x.items[n-1], nil
		}
	case Str, *Tuple, *Dict, *Range, *view, *Undefined:
		items, err := r.reversed(v)
		if err != nil {
			return nil, err
		}
		if len(items) > 0 {
			return items[0], nil
		}
	default:
		return nil, fmt.Errorf("'%s' object is not reversible", typeName(v))
	}
	return &Undefined{hint: "No last item, sequence was empty."}, nil
}

func filterReverse(r *run, v Value, p []Value) (Value, error) {
	if s, ok := v.(Str); ok {
		items, err := r.reversed(s)
		if err != nil {
			return nil, err
		}
		var b buf
		for _, it := range items {
			b.add(it.(Str))
		}
		out := b.str()
		out.safe = s.safe
		return out, nil
	}
	if items, err := r.reversed(v); err == nil {
		return r.indexed("list_reverseiterator", len(items), func(i int) Value { return items[i] }), nil
	}
	items, err := r.list(v)
	if err != nil {
		return nil, errors.New("argument must be iterable")
	}
	items = slices.Clone(items)
	slices.Reverse(items)
	return &List{items}, nil
}

func filterList(r *run, v Value, p []Value) (Value, error) {
	items, err := r.list(v)
	return &List{items}, err
}

func filterItems(r *run, v Value, p []Value) (Value, error) {
	switch d := v.(type) {
	case *Undefined:
		return r.indexed("generator", 0, nil), nil
	case *Dict:
		return r.indexed("generator", d.Len(), (&view{d, 'i'}).at), nil
	}
	return nil, errors.New("can only get item pairs from a mapping")
}

// mapped is the values of v, each through an attribute if one is given.
func (r *run) mapped(v, attribute Value) ([]Value, error) {
	items, err := r.list(v)
	if err != nil || given(attribute, nil) == nil {
		return items, err
	}
	get, err := getter(attribute, nil)
	if err != nil {
		return nil, err
	}
	out := make([]Value, len(items))
	for i, it := range items {
		if out[i], err = get(r, it); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func filterJoin(r *run, v Value, p []Value) (Value, error) {
	items, err := r.mapped(v, p[1])
	if err != nil {
		return nil, err
	}
	texts := make([]Value, len(items))
	for i, it := range items {
		s, err := r.str(it)
		if err != nil {
			return nil, err
		}
		texts[i] = s
	}
	sep, err := r.str(given(p[0], Str{}))
	if err != nil {
		return nil, err
	}
	return r.strJoin(sep, &List{texts})
}

func filterSum(r *run, v Value, p []Value) (Value, error) {
	items, err := r.mapped(v, p[0])
	if err != nil {
		return nil, err
	}
	sum := given(p[1], int64(0))
	if _, ok := sum.(Str); ok {
		return nil, errors.New("sum() can't sum strings [use ''.join(seq) instead]")
	}
	for _, it := range items {
		if sum, err = r.binary("+", sum, it); err != nil {
			return nil, err
		}
	}
	return sum, nil
}

func filterBatch(r *run, v Value, p []Value) (Value, error) {
	n, err := wantInt("linecount", p[0])
	if err != nil {
		return nil, err
	}
	items, err := r.list(v)
	if err != nil {
		return nil, err
	}
	fill := given(p[1], nil)
	if fill != nil && n > MaxRange {
		return nil, limitErr("elements of a batch", MaxRange)
	}
	var out []Value
	for len(items) > 0 {
		k := len(items)
		if n > 0 {
			k = int(min(n, int64(k)))
		}
		row := slices.Clone(items[:k])
		items = items[k:]
		for fill != nil && int64(len(row)) < n {
			row = append(row, fill)
		}
		if err := r.step(piece + len(row)); err != nil {
			return nil, err
		}
		out = append(out, &List{row})
	}
	// A batch of nothing comes first where not even one element fits.
	if n == 0 && len(out) > 0 {
		out = append([]Value{NewList()}, out...)
	}
	return r.indexed("generator", len(out), func(i int) Value { return out[i] }), nil
}

func filterSlice(r *run, v Value, p []Value) (Value, error) {
	n, err := wantInt("slices", p[0])
	if err != nil {
		return nil, err
	}
	items, err := r.list(v)
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return nil, errors.New("integer division or modulo by zero")
	}
	if n > MaxRange {
		return nil, limitErr("slices", MaxRange)
	}
	fill := given(p[1], nil)
	var out []Value
	at := 0
	for i := range n {
		size := int64(len(items)) / n
		extra := i < int64(len(items))%n
		if extra {
			size++
		}
		row := slices.Clone(items[at : at+int(size)])
		at += int(size)
		if fill != nil && !extra {
			row = append(row, fill)
		}
		if err := r.step(piece + len(row)); err != nil {
			return nil, err
		}
		out = append(out, &List{row})
	}
	return r.indexed("generator", len(out), func(i int) Value { return out[i] }), nil
}

func filterUnique(r *run, v Value, p []Value) (Value, error) {
	get, err := getter(given(p[1], nil), nil)
	if err != nil {
		return nil, err
	}
	exact := truth(given(p[0], false))
	seen := map[string]bool{}
	it, err := r.iterate(v)
	if err != nil {
		return nil, err
	}
	return &iter{"generator", func() (Value, bool, error) {
		for {
			x, ok, err := it.next()
			if err != nil || !ok {
				return nil, false, err
			}
			k, err := get(r, x)
			if err != nil {
				return nil, false, err
			}
			if !exact {
				k = fold(k)
			}
			h, err := r.hash(k)
			if err != nil {
				return nil, false, err
			}
			if !seen[h] {
				seen[h] = true
				return x, true, nil
			}
		}
	}}, nil
}

// filterMap looks up an attribute of each item, or applies a filter to it.
func filterMap(r *run, v Value, a args) (Value, error) {
	var f func(x Value) (Value, error)
	prepare := func() error {
		if attr, ok := a.named.Get("attribute"); ok && len(a.pos) == 0 {
			def, _ := a.named.Get("default")
			for _, k := range a.named.keys {
				if n := k.(Str); n.text != "attribute" && n.text != "default" {
					return fmt.Errorf("unexpected keyword argument %s", shown(n))
				}
			}
			get, err := getter(attr, def)
			f = func(x Value) (Value, error) { return get(r, x) }
			return err
		}
		if len(a.pos) == 0 {
			return errors.New("map requires a filter argument")
		}
		name, err := wantStr("map", a.pos[0])
		rest := args{pos: a.pos[1:], named: a.named}
		f = func(x Value) (Value, error) { return r.filter(name, x, rest) }
		return err
	}
	return r.generator(v, func(x Value) (Value, bool, error) {
		if f == nil {
			if err := prepare(); err != nil {
				return nil, false, err
			}
		}
		out, err := f(x)
		return out, true, err
	}), nil
}

// filterSelect makes select, reject and their attr forms.
func filterSelect(want, attr bool) func(r *run, v Value, a args) (Value, error) {
	return func(r *run, v Value, a args) (Value, error) {
		return r.generator(v, func(x Value) (Value, bool, error) {
			rest := a
			key := x
			if attr {
				if len(a.pos) == 0 {
					return nil, false, errors.New("missing parameter for attribute name")
				}
				get, err := getter(a.pos[0], nil)
				if err != nil {
					return nil, false, err
				}
				if key, err = get(r, x); err != nil {
					return nil, false, err
				}
				rest.pos = a.pos[1:]
			}
			if len(rest.pos) == 0 {
				return x, truth(key) == want, nil
			}
			name, err := wantStr("test", rest.pos[0])
			if err != nil {
				return nil, false, err
			}
			ok, err := r.test(name, key, args{pos: rest.pos[1:], named: rest.named})
			return x, truth(ok) == want, err
		}), nil
	}
}
