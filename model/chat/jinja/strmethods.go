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
		"casefold":   {"", func(r *run, s Str, p []Value) (Value, error) { return casefold(s), nil }},
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
	if err := r.runeCost(len(s.text)); err != nil {
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
	if err := r.step(piece * len(cuts)); err != nil {
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
	return out, r.step(piece * len(out.items))
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
		if s.safe {
			if x, err = r.softStr(it); err != nil {
				return Str{}, err
			}
			x = escape(x)
		} else if !ok {
			return Str{}, fmt.Errorf("sequence item %d: expected str instance, %s found", i, typeName(it))
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
