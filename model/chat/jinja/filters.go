package jinja

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"strings"
	"unicode/utf8"
)

// filter is one filter; params, as in bindArgs, are those after the value.
// With raw set, the arguments come as they are.
type filter struct {
	params string
	call   func(r *run, v Value, p []Value) (Value, error)
	raw    func(r *run, v Value, a args) (Value, error)
}

var filters map[string]filter

func init() { // refers to itself through map
	of := func(params string, f func(r *run, v Value, p []Value) (Value, error)) filter {
		return filter{params: params, call: f}
	}
	filters = map[string]filter{
		"abs":            of("", filterAbs),
		"attr":           of("name", filterAttr),
		"batch":          of("linecount, fill_with=", filterBatch),
		"capitalize":     textFilter(capitalize),
		"center":         of("width=", filterCenter),
		"count":          of("", filterLength),
		"d":              of("default_value=, boolean=", filterDefault),
		"default":        of("default_value=, boolean=", filterDefault),
		"dictsort":       of("case_sensitive=, by=, reverse=", filterDictsort),
		"e":              of("", filterEscape),
		"escape":         of("", filterEscape),
		"filesizeformat": of("binary=", filterFilesize),
		"first":          of("", filterFirst),
		"float":          of("default=", filterFloat),
		"forceescape":    of("", func(r *run, v Value, p []Value) (Value, error) { s, err := r.str(v); return escape(s), err }),
		"format":         {raw: filterFormat},
		"groupby":        of("attribute, default=, case_sensitive=", filterGroupby),
		"indent":         of("width=, first=, blank=", filterIndent),
		"int":            of("default=, base=", filterInt),
		"items":          of("", filterItems),
		"join":           of("d=, attribute=", filterJoin),
		"last":           of("", filterLast),
		"length":         of("", filterLength),
		"list":           of("", filterList),
		"lower":          textFilter(lower),
		"map":            {raw: filterMap},
		"max":            of("case_sensitive=, attribute=", filterExtreme(">")),
		"min":            of("case_sensitive=, attribute=", filterExtreme("<")),
		"reject":         {raw: filterSelect(false, false)},
		"rejectattr":     {raw: filterSelect(false, true)},
		"replace":        of("old, new, count=", filterReplace),
		"reverse":        of("", filterReverse),
		"round":          of("precision=, method=", filterRound),
		"safe":           of("", func(r *run, v Value, p []Value) (Value, error) { s, err := r.str(v); s.safe = true; return s, err }),
		"select":         {raw: filterSelect(true, false)},
		"selectattr":     {raw: filterSelect(true, true)},
		"slice":          of("slices, fill_with=", filterSlice),
		"sort":           of("reverse=, case_sensitive=, attribute=", filterSort),
		"string":         of("", func(r *run, v Value, p []Value) (Value, error) { return r.softStr(v) }),
		"striptags":      of("", filterStriptags),
		"sum":            of("attribute=, start=", filterSum),
		"title":          textFilter(filterTitle),
		"tojson":         of("ensure_ascii=, indent=, separators=, sort_keys=", toJSON),
		"trim":           of("chars=", filterTrim),
		"truncate":       of("length=, killwords=, end=, leeway=", filterTruncate),
		"unique":         of("case_sensitive=, attribute=", filterUnique),
		"upper":          textFilter(upper),
		"urlencode":      of("", filterURLEncode),
		"wordcount":      of("", filterWordcount),
		"wordwrap":       of("width=, break_long_words=, wrapstring=, break_on_hyphens=", filterWordwrap),
		"xmlattr":        of("autospace=", filterXMLAttr),
	}
}

// filter applies the filter of that name to v.
func (r *run) filter(name Str, v Value, a args) (Value, error) {
	f, ok := filters[name.text]
	if !ok {
		return nil, fmt.Errorf("no filter named %s found", shown(name))
	}
	if f.raw != nil {
		return f.raw(r, v, a)
	}
	p, err := bindArgs(name.text, f.params, a)
	if err != nil {
		return nil, err
	}
	return f.call(r, v, p)
}

// softStr is str(v) that keeps escaped text escaped.
func (r *run) softStr(v Value) (Str, error) {
	if s, ok := v.(Str); ok {
		return s, r.textCost(len(s.text))
	}
	return r.str(v)
}

func textFilter(f func(s Str) Str) filter {
	return filter{call: func(r *run, v Value, p []Value) (Value, error) {
		s, err := r.softStr(v)
		if err != nil {
			return nil, err
		}
		if err := r.runeCost(len(s.text)); err != nil {
			return nil, err
		}
		return f(s), nil
	}}
}

// given returns an optional argument, or def.
func given(v, def Value) Value {
	if v == missing {
		return def
	}
	return v
}

func filterAbs(r *run, v Value, p []Value) (Value, error) {
	switch x := v.(type) {
	case float64:
		return math.Abs(x), nil
	case *Undefined:
		return nil, x.err()
	}
	b, ok := toBig(v)
	if !ok {
		return nil, fmt.Errorf("bad operand type for abs(): '%s'", typeName(v))
	}
	return normal(new(big.Int).Abs(b)), nil
}

func filterAttr(r *run, v Value, p []Value) (Value, error) {
	name, err := wantStr("attr", p[0])
	if err != nil {
		return nil, err
	}
	a, ok, err := r.attribute(v, name)
	if err != nil || ok {
		return a, err
	}
	return &Undefined{obj: v, name: name}, nil
}

func filterDefault(r *run, v Value, p []Value) (Value, error) {
	_, undef := v.(*Undefined)
	if undef || truth(given(p[1], false)) && !truth(v) {
		return given(p[0], Str{}), nil
	}
	return v, nil
}

func filterEscape(r *run, v Value, p []Value) (Value, error) {
	s, err := r.softStr(v)
	if err != nil {
		return nil, err
	}
	return escape(s), r.runeCost(len(s.text))
}

func filterFormat(r *run, v Value, a args) (Value, error) {
	if len(a.pos) > 0 && a.named.Len() > 0 {
		return nil, errors.New("can't handle positional and keyword arguments at the same time")
	}
	s, err := r.softStr(v)
	if err != nil {
		return nil, err
	}
	if a.named.Len() > 0 {
		return r.percent(s, a.named)
	}
	return r.percent(s, &Tuple{items: a.pos})
}

func filterLength(r *run, v Value, p []Value) (Value, error) { return r.length(v) }

// filterFloat is float(v), or the default where that fails.
func filterFloat(r *run, v Value, p []Value) (Value, error) {
	switch x := v.(type) {
	case Str:
		if f, err := parseFloat(x.text); err == nil {
			return f, nil
		}
	case *Undefined:
		return nil, x.err()
	default:
		if isNumber(v) {
			return toFloat(v)
		}
	}
	return given(p[0], 0.0), nil
}

// filterInt is int(v), int(float(v)) where that fails, else the default.
func filterInt(r *run, v Value, p []Value) (Value, error) {
	def := given(p[0], int64(0))
	switch x := v.(type) {
	case Str:
		base, err := wantInt("base", given(p[1], int64(10)))
		if err != nil {
			return nil, err
		}
		if base != 0 && (base < 2 || base > 36) {
			base = 37 // refused by parseInt
		}
		n, err := parseInt(x.text, int(base))
		if err == nil || errors.Is(err, ErrLimit) {
			return n, err
		}
		f, err := parseFloat(x.text)
		if err != nil {
			return def, nil
		}
		if n, err := truncate(f); err == nil {
			return n, nil
		}
		return def, nil
	case float64:
		if n, err := truncate(x); err == nil {
			return n, nil
		}
		return def, nil
	case *Undefined:
		return nil, x.err()
	}
	if b, ok := toBig(v); ok {
		return normal(b), nil
	}
	return def, nil
}

func filterReplace(r *run, v Value, p []Value) (Value, error) {
	var s [3]Str
	for i, x := range []Value{v, p[0], p[1]} {
		var err error
		if s[i], err = r.str(x); err != nil {
			return nil, err
		}
	}
	n := int64(-1)
	if c := given(p[2], nil); c != nil {
		var err error
		if n, err = wantInt("count", c); err != nil {
			return nil, err
		}
	}
	return r.replace(s[0], s[1], s[2], n)
}

func filterRound(r *run, v Value, p []Value) (Value, error) {
	method, err := wantStr("method", given(p[1], Text("common")))
	if err != nil {
		return nil, err
	}
	if m := method.text; m != "common" && m != "ceil" && m != "floor" {
		return nil, errors.New("method must be common, ceil or floor")
	}
	prec := given(p[0], int64(0))
	n, err := wantInt("precision", prec)
	if err != nil {
		return nil, err
	}
	if u, ok := v.(*Undefined); ok {
		return nil, u.err()
	}
	if !isNumber(v) {
		return nil, fmt.Errorf("type %s doesn't define __round__ method", typeName(v))
	}
	if method.text == "common" {
		if f, ok := v.(float64); ok {
			return roundTo(f, n), nil
		}
		b, _ := toBig(v)
		if n >= 0 {
			return normal(b), nil
		}
		if -n > MaxBits {
			return int64(0), nil
		}
		scale := new(big.Int).Exp(big.NewInt(10), big.NewInt(-n), nil)
		return normal(roundRat(new(big.Rat).SetFrac(b, scale), scale).Num()), nil
	}
	scale, err := r.arith("**", int64(10), prec)
	if err != nil {
		return nil, err
	}
	scaled, err := r.arith("*", v, scale)
	if err != nil {
		return nil, err
	}
	if f, ok := scaled.(float64); ok {
		if method.text == "ceil" {
			f = math.Ceil(f)
		} else {
			f = math.Floor(f)
		}
		if scaled, err = truncate(f); err != nil {
			return nil, err
		}
	}
	return r.arith("/", scaled, scale)
}

func filterTrim(r *run, v Value, p []Value) (Value, error) {
	s, err := r.softStr(v)
	if err != nil {
		return nil, err
	}
	return strip(s, p[0], true, true)
}

// filterTitle begins a word after blanks, hyphens and opening brackets only.
func filterTitle(s Str) Str {
	start := true
	rest := 0 // where the word goes on after its first character
	return s.mapRunes(func(i int, r rune) string {
		was := start
		start = strings.ContainsRune("-({[<", r) || isSpace(r)
		if was && !start {
			rest = i + utf8.RuneLen(r)
			return upperRune(r)
		}
		return lowerRune(s.text[rest:], i-rest, r)
	})
}

func filterFilesize(r *run, v Value, p []Value) (Value, error) {
	f, err := filterFloat(r, v, []Value{nil})
	if err != nil {
		return nil, err
	}
	n, ok := f.(float64)
	if !ok {
		return nil, fmt.Errorf("filesizeformat: not a number: %s", typeName(v))
	}
	base, units := 1000.0, []string{"kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"}
	if truth(given(p[0], false)) {
		base, units = 1024, []string{"KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"}
	}
	switch {
	case n == 1:
		return Text("1 Byte"), nil
	case n < base:
		i, err := truncate(n)
		s, _ := scalar(i)
		return Text(s + " Bytes"), err
	}
	for i, u := range units {
		if unit := math.Pow(base, float64(i+2)); n < unit || i == len(units)-1 {
			return Text(fmt.Sprintf("%.1f %s", base*n/unit, u)), nil
		}
	}
	return nil, nil
}
