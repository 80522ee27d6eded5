package jinja

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// getattr is v.name: an attribute of the object, else its item of that name.
func (r *run) getattr(v Value, name Str) (Value, error) {
	a, ok, err := r.attribute(v, name)
	if err != nil || ok {
		return a, err
	}
	if d, ok := v.(*Dict); ok {
		if x, ok := d.Get(name.text); ok {
			return x, nil
		}
	}
	return &Undefined{obj: v, name: name}, nil
}

// getitem is v[key]: an item, else, for a string, the attribute of that name.
func (r *run) getitem(v, key Value) (Value, error) {
	if u, ok := v.(*Undefined); ok {
		return nil, u.err()
	}
	x, ok, err := r.item(v, key)
	if err != nil || ok {
		return x, err
	}
	if s, ok := key.(Str); ok {
		a, ok, err := r.attribute(v, s)
		if err != nil || ok {
			return a, err
		}
	}
	return &Undefined{obj: v, name: key}, nil
}

// item is v[key] without the fallback; not ok when there is none.
func (r *run) item(v, key Value) (Value, bool, error) {
	if d, ok := v.(*Dict); ok {
		if _, err := r.hash(key); err != nil {
			if errors.Is(err, ErrLimit) {
				return nil, false, err
			}
			return nil, false, nil
		}
		return d.get(r, key)
	}
	i, ok := asInt(key)
	if !ok {
		return nil, false, nil
	}
	var n int64
	switch v.(type) {
	case Str, *List, *Tuple, *Range:
		var err error
		if n, err = r.length(v); err != nil {
			return nil, false, err
		}
	default:
		return nil, false, nil
	}
	if i < 0 {
		i += n
	}
	if i < 0 || i >= n {
		return nil, false, nil
	}
	switch v := v.(type) {
	case Str:
		at := v.offset(int(i))
		_, size := utf8.DecodeRuneInString(v.text[at:])
		return v.sub(at, at+size), true, nil
	case *List:
		return v.items[i], true, nil
	case *Tuple:
		return v.items[i], true, nil
	}
	return v.(*Range).at(i), true, nil
}

// offset returns the byte offset of code point i; i may equal the length.
func (s Str) offset(i int) int {
	if s.ascii() {
		return i
	}
	for at := range s.text {
		if i == 0 {
			return at
		}
		i--
	}
	return len(s.text)
}

// attribute is Python's getattr through the sandbox: not ok when there is no
// such attribute, an Undefined that explains itself when it is not allowed.
func (r *run) attribute(v Value, key Str) (Value, bool, error) {
	name := key.text
	switch x := v.(type) {
	case *Undefined:
		return nil, false, x.err()
	case *Namespace:
		if a, ok := x.attrs.Get(name); ok {
			return a, true, nil
		}
	case *loop:
		if a, ok, err := x.attr(r, name); ok || err != nil {
			return a, ok, err
		}
	case *Tuple:
		for i, f := range x.fields {
			if f == name {
				return x.items[i], true, nil
			}
		}
	case *macro:
		switch name {
		case "name":
			if x.name == "" {
				return nil, true, nil
			}
			return Text(x.name), true, nil
		case "arguments":
			l := &Tuple{}
			for _, p := range x.sig.params {
				l.items = append(l.items, Text(p.name))
			}
			return l, true, nil
		case "catch_kwargs":
			return x.sig.kwargs != nil, true, nil
		case "catch_varargs":
			return x.sig.varargs != nil, true, nil
		case "caller":
			return x.sig.usesCaller, true, nil
		}
	case *cycler:
		if name == "current" {
			return x.current(), true, nil
		}
	case *Range:
		switch name {
		case "start":
			return x.start, true, nil
		case "stop":
			return x.stop, true, nil
		case "step":
			return x.step, true, nil
		}
	}
	if isDunder(name) {
		return unsafe(v, key), true, nil
	}
	if m, ok := method(v, name); ok {
		return m, true, nil
	}
	return nil, false, nil
}

func isDunder(name string) bool {
	return len(name) > 4 && strings.HasPrefix(name, "__") && strings.HasSuffix(name, "__")
}

// unsafe is what the sandbox hands out for an attribute it denies.
func unsafe(v Value, name Str) *Undefined {
	return &Undefined{hint: fmt.Sprintf("access to attribute %s of '%s' object is unsafe.", shown(name), typeName(v))}
}

// slice is v[start:stop:step].
func (r *run) slice(v Value, s *sliceExpr, f *frame) (Value, error) {
	var part [3]*int64
	for i, x := range []expr{s.start, s.stop, s.step} {
		if x == nil {
			continue
		}
		k, err := r.eval(x, f)
		if err != nil {
			return nil, err
		}
		if k == nil {
			continue
		}
		n, err := wantInt("slice indices", k)
		if err != nil {
			return nil, err
		}
		part[i] = &n
	}
	switch v := v.(type) {
	case *Undefined:
		return nil, v.err()
	case Str, *List, *Tuple, *Range:
	default:
		return nil, fmt.Errorf("'%s' object is not subscriptable", typeName(v))
	}
	n, err := r.length(v)
	if err != nil {
		return nil, err
	}
	start, count, step, err := sliceBounds(n, part)
	if err != nil {
		return nil, err
	}
	if err := r.step(int(count)); err != nil {
		return nil, err
	}
	switch v := v.(type) {
	case Str:
		if step == 1 {
			lo := v.offset(int(start))
			rest := v.sub(lo, len(v.text))
			return rest.sub(0, rest.offset(int(count))), nil
		}
		at := make([]int, 0, n+1)
		for i := range v.text {
			at = append(at, i)
		}
		at = append(at, len(v.text))
		var b buf
		for i := range count {
			k := start + i*step
			b.add(v.sub(at[k], at[k+1]))
		}
		out := b.str()
		out.safe = v.safe
		return out, nil
	case *Range:
		return newRange(v.start+start*v.step, v.start+(start+count*step)*v.step, v.step*step)
	}
	items, err := r.list(v)
	if err != nil {
		return nil, err
	}
	out := make([]Value, count)
	for i := range out {
		out[i] = items[start+int64(i)*step]
	}
	if _, ok := v.(*Tuple); ok {
		return &Tuple{items: out}, nil
	}
	return &List{out}, nil
}

// sliceBounds clips start, stop and step to a sequence of n elements.
func sliceBounds(n int64, part [3]*int64) (start, count, step int64, err error) {
	step = 1
	if part[2] != nil {
		if step = *part[2]; step == 0 {
			return 0, 0, 0, errors.New("slice step cannot be zero")
		}
	}
	lo, hi := int64(0), n // clip range
	start, stop := int64(0), n
	if step < 0 {
		lo, hi = -1, n-1
		start, stop = n-1, -1
	}
	clip := func(p *int64, def int64) int64 {
		if p == nil {
			return def
		}
		i := *p
		if i < 0 {
			i += n
		}
		return min(max(i, lo), hi)
	}
	start, stop = clip(part[0], start), clip(part[1], stop)
	switch {
	case step > 0 && stop > start:
		count = (stop-start-1)/step + 1
	case step < 0 && stop < start:
		count = (start-stop-1)/-max(step, -n-1) + 1
	}
	if step < 0 {
		step = max(step, -n-1)
	} else {
		step = min(step, n+1)
	}
	return start, count, step, nil
}
