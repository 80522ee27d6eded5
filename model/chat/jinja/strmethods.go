package jinja

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"unicode"
	"unicode/utf8"
)

// strMethod is a method of str; params as in bindArgs.
type strMethod struct {
	params string
	call   func(r *run, s Str, p []Value) (Value, error)
}

// escapes lists the methods that, on escaped text, escape their arguments.
const escapes = " replace strip lstrip rstrip center ljust rjust partition rpartition removeprefix removesuffix join "

var strMethods map[string]strMethod

func init() { // refers to itself through run
	strMethods = map[string]strMethod{
		"upper":      {"", func(r *run, s Str, p []Value) (Value, error) { return upper(s), nil }},
		"lower":      {"", func(r *run, s Str, p []Value) (Value, error) { return lower(s), nil }},
		"casefold":   {"", func(r *run, s Str, p []Value) (Value, error) { return lower(upper(lower(s))), nil }},
		"title":      {"", func(r *run, s Str, p []Value) (Value, error) { return title(s), nil }},
		"capitalize": {"", func(r *run, s Str, p []Value) (Value, error) { return capitalize(s), nil }},
		"swapcase":   {"", func(r *run, s Str, p []Value) (Value, error) { return swapcase(s), nil }},
		"strip":      {"chars=", func(r *run, s Str, p []Value) (Value, error) { return strip(s, p[0], true, true) }},
		"lstrip":     {"chars=", func(r *run, s Str, p []Value) (Value, error) { return strip(s, p[0], true, false) }},
		"rstrip":     {"chars=", func(r *run, s Str, p []Value) (Value, error) { return strip(s, p[0], false, true) }},
		"split":      {"sep=, maxsplit=", func(r *run, s Str, p []Value) (Value, error) { return r.split(s, p[0], p[1], false) }},
		"rsplit":     {"sep=, maxsplit=", func(r *run, s Str, p []Value) (Value, error) { return r.split(s, p[0], p[1], true) }},
		"splitlines": {"keepends=", splitlines},
		"join":       {"iterable", func(r *run, s Str, p []Value) (Value, error) { return r.strJoin(s, p[0]) }},
		"replace":    {"old, new, count=", strReplace},
		"startswith": {"prefix, start=, end=", affix(strings.HasPrefix)},
		"endswith":   {"suffix, start=, end=", affix(strings.HasSuffix)},
		"find":       {"sub, start=, end=", find(strings.Index, true)},
		"rfind":      {"sub, start=, end=", find(strings.LastIndex, true)},
		"index":      {"sub, start=, end=", find(strings.Index, false)},
		"rindex":     {"sub, start=, end=", find(strings.LastIndex, false)},
		"count":      {"sub, start=, end=", strCount},
		"center":     {"width, fillchar=", justify('^')},
		"ljust":      {"width, fillchar=", justify('<')},
		"rjust":      {"width, fillchar=", justify('>')},
		"zfill":      {"width", zfill},
		"expandtabs": {"tabsize=", expandtabs},
		"partition":  {"sep", partition(strings.Index)},
		"rpartition": {"sep", partition(strings.LastIndex)},
		"removeprefix": {"prefix", func(r *run, s Str, p []Value) (Value, error) {
			x, err := wantStr("removeprefix", p[0])
			if err == nil && strings.HasPrefix(s.text, x.text) {
				s = s.sub(len(x.text), len(s.text))
			}
			return s, err
		}},
		"removesuffix": {"suffix", func(r *run, s Str, p []Value) (Value, error) {
			x, err := wantStr("removesuffix", p[0])
			if err == nil && strings.HasSuffix(s.text, x.text) {
				s = s.sub(0, len(s.text)-len(x.text))
			}
			return s, err
		}},
		"isspace":      {"", every(isSpace)},
		"isalpha":      {"", every(unicode.IsLetter)},
		"isdecimal":    {"", every(unicode.IsDigit)},
		"isdigit":      {"", every(isDigitLike)},
		"isnumeric":    {"", every(unicode.IsNumber)},
		"isalnum":      {"", every(func(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) })},
		"isascii":      {"", func(r *run, s Str, p []Value) (Value, error) { return s.ascii(), nil }},
		"isprintable":  {"", func(r *run, s Str, p []Value) (Value, error) { return allRunes(s.text, unicode.IsPrint), nil }},
		"isidentifier": {"", func(r *run, s Str, p []Value) (Value, error) { return isIdentifier(s.text), nil }},
		"isupper":      {"", func(r *run, s Str, p []Value) (Value, error) { return isUpper(s.text), nil }},
		"islower":      {"", func(r *run, s Str, p []Value) (Value, error) { return isLower(s.text), nil }},
		"istitle":      {"", func(r *run, s Str, p []Value) (Value, error) { return isTitle(s.text), nil }},
	}
}

// callStr calls a method of s.
func (r *run) callStr(s Str, name string, m strMethod, a args) (Value, error) {
	p, err := bindArgs(name, m.params, a)
	if err != nil {
		return nil, err
	}
	if err := r.textCost(len(s.text)); err != nil {
		return nil, err
	}
	if s.safe && strings.Contains(escapes, " "+name+" ") {
		for i, v := range p {
			if x, ok := v.(Str); ok {
				p[i] = escape(x)
			}
		}
	}
	v, err := m.call(r, s, p)
	if err != nil {
		return nil, err
	}
	if out, ok := v.(Str); ok {
		out.safe = s.safe
		return out, r.textCost(len(out.text))
	}
	return v, nil
}

func wantStr(what string, v Value) (Str, error) {
	switch v := v.(type) {
	case Str:
		return v, nil
	case *Undefined:
		return Str{}, v.err()
	}
	return Str{}, fmt.Errorf("%s: must be str, not %s", what, typeName(v))
}

func strip(s Str, chars Value, left, right bool) (Value, error) {
	in := isSpace
	if chars != missing && chars != nil {
		c, err := wantStr("strip", chars)
		if err != nil {
			return nil, err
		}
		in = func(r rune) bool { return strings.ContainsRune(c.text, r) }
	}
	lo, hi := 0, len(s.text)
	if left {
		lo = hi - len(strings.TrimLeftFunc(s.text, in))
	}
	if right {
		hi = lo + len(strings.TrimRightFunc(s.text[lo:], in))
	}
	return s.sub(lo, hi), nil
}

// split is s.split or, from the right, s.rsplit.
func (r *run) split(s Str, sep, maxsplit Value, right bool) (Value, error) {
	n := int64(-1)
	if maxsplit != missing {
		var err error
		if n, err = wantInt("maxsplit", maxsplit); err != nil {
			return nil, err
		}
	}
	if n < 0 {
		n = math.MaxInt64
	}
	var cuts []span
	if sep == missing || sep == nil {
		cuts = fields(s.text, n, right)
	} else {
		x, err := wantStr("split", sep)
		if err != nil {
			return nil, err
		}
		if x.text == "" {
			return nil, errors.New("empty separator")
		}
		cuts = splitAt(s.text, x.text, n, right)
	}
	if err := r.step(len(cuts)); err != nil {
		return nil, err
	}
	out := NewList()
	for _, c := range cuts {
		out.items = append(out.items, s.sub(c.lo, c.hi))
	}
	return out, nil
}

func splitAt(s, sep string, n int64, right bool) []span {
	var out []span
	lo, hi := 0, len(s)
	for ; n > 0; n-- {
		if right {
			i := strings.LastIndex(s[:hi], sep)
			if i < 0 {
				break
			}
			out = append(out, span{i + len(sep), hi})
			hi = i
		} else {
			i := strings.Index(s[lo:], sep)
			if i < 0 {
				break
			}
			out = append(out, span{lo, lo + i})
			lo += i + len(sep)
		}
	}
	out = append(out, span{lo, hi})
	if right {
		reverse(out)
	}
	return out
}

// fields splits at runs of whitespace; what is left after n splits keeps its
// whitespace at the far end.
func fields(s string, n int64, right bool) []span {
	var out []span
	lo, hi := 0, len(s)
	for {
		if right {
			hi = len(strings.TrimRightFunc(s[:hi], isSpace))
		} else {
			lo = len(s) - len(strings.TrimLeftFunc(s[lo:], isSpace))
		}
		if lo >= hi {
			break
		}
		if n == 0 {
			out = append(out, span{lo, hi})
			break
		}
		n--
		if right {
			i := strings.LastIndexFunc(s[:hi], isSpace)
			if i >= 0 {
				_, size := utf8.DecodeRuneInString(s[i:])
				i += size
			} else {
				i = 0
			}
			out = append(out, span{i, hi})
			hi = i
		} else {
			i := strings.IndexFunc(s[lo:], isSpace)
			if i < 0 {
				i = len(s) - lo
			}
			out = append(out, span{lo, lo + i})
			lo += i
		}
	}
	if right {
		reverse(out)
	}
	return out
}

func reverse[T any](s []T) {
	for i, j := 0, len(s)-1; i < j; i, j = i+1, j-1 {
		s[i], s[j] = s[j], s[i]
	}
}

func splitlines(r *run, s Str, p []Value) (Value, error) {
	keep := p[0] != missing && truth(p[0])
	out := NewList()
	lo := 0
	for i := 0; i < len(s.text); {
		c, size := utf8.DecodeRuneInString(s.text[i:])
		end := i
		i += size
		switch c {
		case '\r':
			if i < len(s.text) && s.text[i] == '\n' {
				i++
			}
		case '\n', '\v', '\f', 0x1c, 0x1d, 0x1e, 0x85, 0x2028, 0x2029:
		default:
			continue
		}
		if keep {
			end = i
		}
		out.items = append(out.items, s.sub(lo, end))
		lo = i
	}
	if lo < len(s.text) {
		out.items = append(out.items, s.sub(lo, len(s.text)))
	}
	return out, r.step(len(out.items))
}

// strJoin is s.join(v): all elements must be strings.
func (r *run) strJoin(s Str, v Value) (Str, error) {
	items, err := r.list(v)
	if err != nil {
		return Str{}, err
	}
	var b buf
	for i, it := range items {
		x, ok := it.(Str)
		if !ok {
			return Str{}, fmt.Errorf("sequence item %d: expected str instance, %s found", i, typeName(it))
		}
		if s.safe {
			x = escape(x)
		}
		if i > 0 {
			b.add(s)
		}
		b.add(x)
		if err := r.textCost(len(s.text) + len(x.text)); err != nil {
			return Str{}, err
		}
		if b.len() > MaxOutput {
			return Str{}, limitErr("bytes of a text", MaxOutput)
		}
	}
	return b.str(), nil
}

func strReplace(r *run, s Str, p []Value) (Value, error) {
	old, err := wantStr("replace", p[0])
	if err != nil {
		return nil, err
	}
	repl, err := wantStr("replace", p[1])
	if err != nil {
		return nil, err
	}
	n := int64(-1)
	if p[2] != missing {
		if n, err = wantInt("replace", p[2]); err != nil {
			return nil, err
		}
	}
	return r.replace(s, old, repl, n)
}

// replace replaces the first n occurrences of old, all if n < 0.
func (r *run) replace(s, old, repl Str, n int64) (Str, error) {
	if n < 0 {
		n = math.MaxInt64
	}
	found := min(n, int64(strings.Count(s.text, old.text)))
	if grow := found * int64(len(repl.text)); grow > MaxOutput {
		return Str{}, limitErr("bytes of a text", MaxOutput)
	} else if err := r.textCost(len(s.text) + int(grow)); err != nil {
		return Str{}, err
	}
	if err := r.step(int(found)); err != nil {
		return Str{}, err
	}
	var b buf
	at := 0
	for k := range found {
		i := strings.Index(s.text[at:], old.text)
		if old.text == "" && k > 0 { // between two characters
			_, i = utf8.DecodeRuneInString(s.text[at:])
		}
		b.add(s.sub(at, at+i))
		b.add(repl)
		at += i + len(old.text)
	}
	b.add(s.sub(at, len(s.text)))
	out := b.str()
	out.safe = s.safe
	return out, nil
}

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

func allRunes(s string, f func(r rune) bool) bool {
	for _, r := range s {
		if !f(r) {
			return false
		}
	}
	return true
}

// every makes a test of all characters that is false of "".
func every(f func(r rune) bool) func(r *run, s Str, p []Value) (Value, error) {
	return func(r *run, s Str, p []Value) (Value, error) {
		return s.text != "" && allRunes(s.text, f), nil
	}
}

// isDigitLike adds the superscript, circled and other digits to the decimals.
func isDigitLike(r rune) bool {
	if unicode.IsDigit(r) {
		return true
	}
	switch {
	case r == 0xb2, r == 0xb3, r == 0xb9, r == 0x2070, r >= 0x2074 && r <= 0x2079, r >= 0x2080 && r <= 0x2089,
		r >= 0x2460 && r <= 0x2468, r >= 0x2474 && r <= 0x247c, r >= 0x2488 && r <= 0x2490,
		r == 0x24ea, r >= 0x24f5 && r <= 0x24fd, r == 0x24ff, r >= 0x2776 && r <= 0x277e,
		r >= 0x2780 && r <= 0x2788, r >= 0x278a && r <= 0x2792, r >= 0x1369 && r <= 0x1371:
		return true
	}
	return false
}

func isIdentifier(s string) bool {
	for i, r := range s {
		if i == 0 && !isNameStart(r) || !isNamePart(r) {
			return false
		}
	}
	return s != ""
}

func isUpper(s string) bool {
	return strings.IndexFunc(s, isCased) >= 0 && allRunes(s, func(r rune) bool {
		return !unicode.IsLower(r) && !unicode.IsTitle(r)
	})
}

func isLower(s string) bool {
	return strings.IndexFunc(s, isCased) >= 0 && allRunes(s, func(r rune) bool {
		return !unicode.IsUpper(r) && !unicode.IsTitle(r)
	})
}

func isTitle(s string) bool {
	inWord, any := false, false
	for _, r := range s {
		switch {
		case unicode.IsUpper(r) || unicode.IsTitle(r):
			if inWord {
				return false
			}
			inWord, any = true, true
		case isCased(r):
			if !inWord {
				return false
			}
		default:
			inWord = false
		}
	}
	return any
}
