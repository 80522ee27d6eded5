package jinja

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxPad bounds widths and precisions in format strings.
const maxPad = 1 << 16

// spec is a format specification: of str.format and, translated, of %.
type spec struct {
	fill  rune
	align byte // < > = ^ or 0
	sign  byte // + - space or 0
	alt   bool
	zero  bool
	width int
	group byte // , _ or 0
	prec  int  // -1: not given
	typ   byte // 0: not given
}

// parseSpec reads [[fill]align][sign][z][#][0][width][group][.prec][type].
func parseSpec(s string) (spec, error) {
	sp := spec{fill: ' ', prec: -1}
	bad := errors.New("invalid format specifier")
	isAlign := func(c byte) bool { return strings.IndexByte("<>=^", c) >= 0 }
	if r, n := utf8.DecodeRuneInString(s); n > 0 && n < len(s) && isAlign(s[n]) {
		sp.fill, sp.align, s = r, s[n], s[n+1:]
	} else if s != "" && isAlign(s[0]) {
		sp.align, s = s[0], s[1:]
	}
	flag := func(set string) byte {
		if s != "" && strings.IndexByte(set, s[0]) >= 0 {
			c := s[0]
			s = s[1:]
			return c
		}
		return 0
	}
	num := func() (int, error) {
		n := 0
		for s != "" && isDigit(s[0]) {
			if n = n*10 + int(s[0]-'0'); n > maxPad {
				return 0, limitErr("width in a format", maxPad)
			}
			s = s[1:]
		}
		return n, nil
	}
	sp.sign = flag("+- ")
	sp.alt = flag("#") != 0
	sp.zero = flag("0") != 0
	var err error
	if sp.width, err = num(); err != nil {
		return sp, err
	}
	sp.group = flag(",_")
	if flag(".") != 0 {
		if s == "" || !isDigit(s[0]) {
			return sp, errors.New("format specifier missing precision")
		}
		if sp.prec, err = num(); err != nil {
			return sp, err
		}
	}
	if s != "" {
		sp.typ, s = s[0], s[1:]
	}
	if s != "" {
		return sp, bad
	}
	return sp, nil
}

// pad puts sign and digits (or text) into the width.
func (sp spec) pad(sign string, body Str, numeric bool) Str {
	fill, align := sp.fill, sp.align
	if align == 0 {
		align = '<'
		if numeric {
			align = '>'
		}
		if sp.zero {
			fill = '0'
			if numeric {
				align = '='
			}
		}
	}
	n := sp.width - len(sign) - body.runes()
	if n <= 0 {
		return concat(Text(sign), body)
	}
	left, right := "", ""
	f := string(fill)
	switch align {
	case '<':
		right = strings.Repeat(f, n)
	case '^':
		left, right = strings.Repeat(f, n/2), strings.Repeat(f, n-n/2)
	case '=':
		sign += strings.Repeat(f, n)
	default:
		left = strings.Repeat(f, n)
	}
	return concat(Text(left+sign), body, Text(right))
}

// format is format(v, sp).
func (r *run) format(v Value, text string) (Str, error) {
	if text == "" {
		return r.str(v)
	}
	sp, err := parseSpec(text)
	if err != nil {
		return Str{}, err
	}
	unknown := fmt.Errorf("unknown format code for object of type '%s'", typeName(v))
	if err := r.textCost(sp.width + max(sp.prec, 0)); err != nil {
		return Str{}, err
	}
	switch v := v.(type) {
	case Str:
		switch {
		case sp.typ != 0 && sp.typ != 's':
			return Str{}, unknown
		case sp.sign != 0:
			return Str{}, errors.New("sign not allowed in string format specifier")
		case sp.align == '=':
			return Str{}, errors.New("'=' alignment not allowed in string format specifier")
		case sp.group != 0:
			return Str{}, fmt.Errorf("cannot specify '%c' with 's'", sp.group)
		}
		if sp.prec >= 0 && sp.prec < v.runes() {
			v = v.sub(0, v.offset(sp.prec))
		}
		return sp.pad("", v, false), nil
	case bool, int64, *big.Int:
		if _, isBool := v.(bool); isBool && sp.typ == 0 {
			v = map[bool]int64{true: 1}[truth(v)]
		}
		switch sp.typ {
		case 0, 'd', 'n', 'b', 'o', 'x', 'X':
			if sp.prec >= 0 {
				return Str{}, errors.New("precision not allowed in integer format specifier")
			}
			b, _ := toBig(v)
			return sp.integer(b), nil
		case 'c':
			return r.char(v)
		case 'e', 'E', 'f', 'F', 'g', 'G', '%':
			f, err := toFloat(v)
			if err != nil {
				return Str{}, err
			}
			return sp.float(f)
		}
		return Str{}, unknown
	case float64:
		if strings.IndexByte("\x00eEfFgGn%", sp.typ) < 0 {
			return Str{}, unknown
		}
		return sp.float(v)
	}
	return Str{}, fmt.Errorf("unsupported format string passed to %s.__format__", typeName(v))
}

// char is chr(v); the character counts as data, since numbers carry no origin.
func (r *run) char(v Value) (Str, error) {
	i, err := wantInt("%c", v)
	if err != nil {
		return Str{}, err
	}
	if i < 0 || i > utf8.MaxRune || !utf8.ValidRune(rune(i)) {
		return Str{}, errors.New("%c arg not in range(0x110000)")
	}
	return Data(string(rune(i))), nil
}

func (sp spec) signOf(neg bool) string {
	switch {
	case neg:
		return "-"
	case sp.sign == '+' || sp.sign == ' ':
		return string(sp.sign)
	}
	return ""
}

func (sp spec) integer(b *big.Int) Str {
	base, prefix, every := 10, "", 3
	switch sp.typ {
	case 'b':
		base, prefix, every = 2, "0b", 4
	case 'o':
		base, prefix, every = 8, "0o", 4
	case 'x', 'X':
		base, prefix, every = 16, "0"+string(sp.typ), 4
	}
	d := new(big.Int).Abs(b).Text(base)
	if sp.typ == 'X' {
		d = strings.ToUpper(d)
	}
	sign := sp.signOf(b.Sign() < 0)
	if sp.alt {
		sign += prefix
	}
	return sp.pad(sign, Text(sp.grouped(d, every, sp.width-len(sign))), true)
}

// grouped separates digits; with zero padding the zeros are grouped too.
func (sp spec) grouped(d string, every, width int) string {
	if sp.group == 0 {
		return d
	}
	whole, rest := d, ""
	if i := strings.IndexAny(d, ".e%"); i >= 0 {
		whole, rest = d[:i], d[i:]
	}
	group := func(s string) string {
		var b strings.Builder
		for i := range len(s) {
			if i > 0 && (len(s)-i)%every == 0 {
				b.WriteByte(sp.group)
			}
			b.WriteByte(s[i])
		}
		return b.String()
	}
	out := group(whole)
	if sp.zero && sp.align == 0 || sp.align == '=' && sp.fill == '0' {
		for len(out)+len(rest) < width {
			whole = "0" + whole
			out = group(whole)
		}
	}
	return out + rest
}

func (sp spec) float(f float64) (Str, error) {
	neg := math.Signbit(f) && !math.IsNaN(f)
	d, err := sp.digits(math.Abs(f))
	if err != nil {
		return Str{}, err
	}
	sign := sp.signOf(neg)
	if math.IsNaN(f) || math.IsInf(f, 0) {
		if sp.zero {
			sp.zero = false
			sp.fill, sp.align = '0', '='
		}
		return sp.pad(sign, Text(d), true), nil
	}
	return sp.pad(sign, Text(sp.grouped(d, 3, sp.width-len(sign))), true), nil
}

// digits formats f >= 0 by type and precision.
func (sp spec) digits(f float64) (string, error) {
	prec := sp.prec
	if prec < 0 {
		prec = 6
	}
	var d string
	switch {
	case math.IsInf(f, 0) || math.IsNaN(f):
		d = formatFloat(f)
		if sp.typ == '%' {
			d += "%"
		}
	case sp.typ == 0 && sp.prec < 0:
		d = formatFloat(f)
	case sp.typ == 0:
		d = formatG(f, prec, true)
	case sp.typ == 'g' || sp.typ == 'G' || sp.typ == 'n':
		if sp.alt {
			return "", errors.New("'#' with 'g' is not implemented")
		}
		d = formatG(f, prec, false)
	case sp.typ == 'e' || sp.typ == 'E':
		d = strconv.FormatFloat(f, 'e', prec, 64)
		if sp.alt && prec == 0 {
			d = d[:1] + "." + d[1:]
		}
	case sp.typ == '%':
		d = strconv.FormatFloat(f*100, 'f', prec, 64) + "%"
	default:
		d = strconv.FormatFloat(f, 'f', prec, 64)
		if sp.alt && prec == 0 {
			d += "."
		}
	}
	if sp.typ == 'E' || sp.typ == 'G' || sp.typ == 'F' {
		d = strings.ToUpper(d)
	}
	return d, nil
}

// formatG is %g with prec significant digits. With dot, the result always
// looks like a float, as format(f, ".3") does.
func formatG(f float64, prec int, dot bool) string {
	prec = max(prec, 1)
	mant, exp, _ := strings.Cut(strconv.FormatFloat(f, 'e', prec-1, 64), "e")
	e, _ := strconv.Atoi(exp)
	limit := prec
	if dot {
		limit--
	}
	if e < -4 || e >= limit {
		if strings.Contains(mant, ".") {
			mant = strings.TrimRight(strings.TrimRight(mant, "0"), ".")
		}
		return mant + "e" + exp
	}
	s := strconv.FormatFloat(f, 'f', max(prec-1-e, 0), 64)
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	if dot && !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}
