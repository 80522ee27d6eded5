package jinja

import (
	"errors"
	"strings"
	"unicode/utf8"
)

// window is s[start:end] as the search methods take it, with the index of its
// first character; not ok if start lies beyond the end.
func window(s Str, start, end Value) (w Str, first int64, ok bool, err error) {
	n := int64(s.runes())
	at := func(v Value, def int64) (int64, error) {
		if v == missing || v == nil {
			return def, nil
		}
		i, err := wantInt("slice indices", v)
		if i < 0 {
			i = max(i+n, 0)
		}
		return i, err
	}
	lo, err := at(start, 0)
	if err != nil {
		return Str{}, 0, false, err
	}
	hi, err := at(end, n)
	if err != nil {
		return Str{}, 0, false, err
	}
	hi = min(hi, n)
	if lo > hi {
		return Str{}, 0, false, nil
	}
	return s.sub(s.offset(int(lo)), s.offset(int(hi))), lo, true, nil
}

func affix(has func(s, x string) bool) func(r *run, s Str, p []Value) (Value, error) {
	return func(r *run, s Str, p []Value) (Value, error) {
		w, _, ok, err := window(s, p[1], p[2])
		if err != nil {
			return nil, err
		}
		list := []Value{p[0]}
		if t, isTuple := p[0].(*Tuple); isTuple {
			list = t.items
		}
		for _, v := range list {
			x, err := wantStr("first arg", v)
			if err != nil {
				return nil, err
			}
			if ok && has(w.text, x.text) {
				return true, nil
			}
		}
		return false, nil
	}
}

func find(index func(s, sub string) int, soft bool) func(r *run, s Str, p []Value) (Value, error) {
	return func(r *run, s Str, p []Value) (Value, error) {
		x, err := wantStr("find", p[0])
		if err != nil {
			return nil, err
		}
		w, first, ok, err := window(s, p[1], p[2])
		if err != nil {
			return nil, err
		}
		i := -1
		if ok {
			i = index(w.text, x.text)
		}
		if i < 0 {
			if soft {
				return int64(-1), nil
			}
			return nil, errors.New("substring not found")
		}
		return first + int64(utf8.RuneCountInString(w.text[:i])), nil
	}
}

func strCount(r *run, s Str, p []Value) (Value, error) {
	x, err := wantStr("count", p[0])
	if err != nil {
		return nil, err
	}
	w, _, ok, err := window(s, p[1], p[2])
	if err != nil || !ok {
		return int64(0), err
	}
	return int64(strings.Count(w.text, x.text)), nil
}

func (r *run) width(v Value) (int, error) {
	n, err := wantInt("width", v)
	if err != nil {
		return 0, err
	}
	if n > MaxOutput {
		return 0, limitErr("bytes of a text", MaxOutput)
	}
	return int(max(n, 0)), r.textCost(int(max(n, 0)))
}

func justify(align byte) func(r *run, s Str, p []Value) (Value, error) {
	return func(r *run, s Str, p []Value) (Value, error) {
		w, err := r.width(p[0])
		if err != nil {
			return nil, err
		}
		fill := Text(" ")
		if p[1] != missing {
			if fill, err = wantStr("fillchar", p[1]); err != nil {
				return nil, err
			}
			if fill.runes() != 1 {
				return nil, errors.New("the fill character must be exactly one character long")
			}
		}
		n := w - s.runes()
		if n <= 0 {
			return s, nil
		}
		left := 0
		switch align {
		case '>':
			left = n
		case '^':
			left = n/2 + n&w&1 // as CPython: an odd rest goes left in an odd width
		}
		var b buf
		for range left {
			b.add(fill)
		}
		b.add(s)
		for range n - left {
			b.add(fill)
		}
		return b.str(), nil
	}
}

func zfill(r *run, s Str, p []Value) (Value, error) {
	w, err := r.width(p[0])
	if err != nil {
		return nil, err
	}
	n := w - s.runes()
	if n <= 0 {
		return s, nil
	}
	sign := 0
	if s.text != "" && (s.text[0] == '+' || s.text[0] == '-') {
		sign = 1
	}
	return concat(s.sub(0, sign), Text(strings.Repeat("0", n)), s.sub(sign, len(s.text))), nil
}

func expandtabs(r *run, s Str, p []Value) (Value, error) {
	size := int64(8)
	if p[0] != missing {
		var err error
		if size, err = wantInt("tabsize", p[0]); err != nil {
			return nil, err
		}
	}
	if n := int64(strings.Count(s.text, "\t")); size > 0 && (size > MaxOutput || n*size > MaxOutput) {
		return nil, limitErr("bytes of a text", MaxOutput)
	}
	col := int64(0)
	return s.mapRunes(func(_ int, c rune) string {
		switch c {
		case '\t':
			if size <= 0 {
				return ""
			}
			n := size - col%size
			col += n
			return strings.Repeat(" ", int(n))
		case '\n', '\r':
			col = 0
		default:
			col++
		}
		return string(c)
	}), nil
}

func partition(index func(s, sub string) int) func(r *run, s Str, p []Value) (Value, error) {
	last := index("aa", "a") == 1
	return func(r *run, s Str, p []Value) (Value, error) {
		sep, err := wantStr("partition", p[0])
		if err != nil {
			return nil, err
		}
		if sep.text == "" {
			return nil, errors.New("empty separator")
		}
		i := index(s.text, sep.text)
		switch {
		case i < 0 && last:
			return &Tuple{items: []Value{Str{}, Str{}, s}}, nil
		case i < 0:
			return &Tuple{items: []Value{s, Str{}, Str{}}}, nil
		}
		j := i + len(sep.text)
		return &Tuple{items: []Value{s.sub(0, i), s.sub(i, j), s.sub(j, len(s.text))}}, nil
	}
}
