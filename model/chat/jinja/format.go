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
	bad := fmt.Errorf("invalid format specifier '%s'", s)
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
	unknown := fmt.Errorf("unknown format code '%c' for object of type '%s'", sp.typ, typeName(v))
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

// percent is s % v.
func (r *run) percent(s Str, v Value) (Value, error) {
	tuple, isTuple := v.(*Tuple)
	items := []Value{v}
	if isTuple {
		items = tuple.items
	}
	used := 0
	take := func() (Value, error) {
		if used >= len(items) {
			return nil, errors.New("not enough arguments for format string")
		}
		used++
		return items[used-1], nil
	}
	var b buf
	text := s.text
	at := 0
	for {
		i := strings.IndexByte(text[at:], '%')
		if i < 0 {
			b.add(s.sub(at, len(text)))
			break
		}
		b.add(s.sub(at, at+i))
		out, n, err := r.percentField(s.sub(at+i, len(text)), v, take)
		if err != nil {
			return nil, err
		}
		at += i + n
		if s.safe {
			out = escape(out)
		}
		b.add(out)
		if b.len() > MaxOutput {
			return nil, limitErr("bytes of a text", MaxOutput)
		}
	}
	if used < len(items) {
		switch v.(type) {
		case *Dict, *List, *Undefined, *Range:
		default:
			if used == 0 || isTuple {
				return nil, errors.New("not all arguments converted during string formatting")
			}
		}
	}
	out := b.str()
	out.safe = s.safe
	return out, r.textCost(len(out.text))
}

// percentField formats the conversion at the start of s and returns its
// length.
func (r *run) percentField(s Str, v Value, take func() (Value, error)) (Str, int, error) {
	text := s.text
	i := 1
	more := func() bool { return i < len(text) }
	var key *string
	if more() && text[i] == '(' {
		depth, j := 1, i+1
		for ; j < len(text) && depth > 0; j++ {
			switch text[j] {
			case '(':
				depth++
			case ')':
				depth--
			}
		}
		if depth > 0 {
			return Str{}, 0, errors.New("incomplete format key")
		}
		k := text[i+1 : j-1]
		key, i = &k, j
	}
	sp := spec{fill: ' ', prec: -1}
	for more() && strings.IndexByte("#0- +", text[i]) >= 0 {
		switch c := text[i]; c {
		case '#':
			sp.alt = true
		case '0':
			sp.zero = true
		case '-':
			sp.align = '<'
		case '+':
			sp.sign = '+'
		default:
			if sp.sign == 0 {
				sp.sign = ' '
			}
		}
		i++
	}
	count := func() (int, error) {
		if more() && text[i] == '*' {
			i++
			v, err := take()
			if err != nil {
				return 0, err
			}
			n, err := wantInt("*", v)
			if err == nil && (n > maxPad || n < -maxPad) {
				err = limitErr("width in a format", maxPad)
			}
			return int(n), err
		}
		n := 0
		for more() && isDigit(text[i]) {
			if n = n*10 + int(text[i]-'0'); n > maxPad {
				return 0, limitErr("width in a format", maxPad)
			}
			i++
		}
		return n, nil
	}
	var err error
	if sp.width, err = count(); err != nil {
		return Str{}, 0, err
	}
	if sp.width < 0 {
		sp.align, sp.width = '<', -sp.width
	}
	if more() && text[i] == '.' {
		i++
		if sp.prec, err = count(); err != nil {
			return Str{}, 0, err
		}
		sp.prec = max(sp.prec, 0)
	}
	for more() && strings.IndexByte("hlL", text[i]) >= 0 {
		i++
	}
	if !more() {
		return Str{}, 0, errors.New("incomplete format")
	}
	sp.typ = text[i]
	i++
	if sp.typ == '%' {
		return s.sub(i-1, i), i, nil
	}
	var x Value
	if key != nil {
		d, ok := v.(*Dict)
		if !ok {
			return Str{}, 0, errors.New("format requires a mapping")
		}
		if x, ok = d.Get(*key); !ok {
			return Str{}, 0, fmt.Errorf("key '%s' not found", *key)
		}
	} else if x, err = take(); err != nil {
		return Str{}, 0, err
	}
	if err := r.textCost(sp.width + max(sp.prec, 0)); err != nil {
		return Str{}, 0, err
	}
	out, err := r.percentValue(sp, x)
	return out, i, err
}

func (r *run) percentValue(sp spec, x Value) (Str, error) {
	if u, ok := x.(*Undefined); ok && sp.typ != 's' && sp.typ != 'r' && sp.typ != 'a' {
		return Str{}, u.err()
	}
	switch sp.typ {
	case 's', 'r', 'a':
		text, err := r.str(x)
		if sp.typ != 's' {
			text, err = r.repr(x)
		}
		if err != nil {
			return Str{}, err
		}
		if sp.typ == 'a' {
			text = asciiOnly(text)
		}
		if sp.prec >= 0 && sp.prec < text.runes() {
			text = text.sub(0, text.offset(sp.prec))
		}
		sp.zero = false
		if sp.align == 0 {
			sp.align = '>'
		}
		return sp.pad("", text, false), nil
	case 'c':
		if s, ok := x.(Str); ok {
			if s.runes() != 1 {
				return Str{}, errors.New("%c requires int or char")
			}
			return sp.pad("", s, true), nil
		}
		s, err := r.char(x)
		return sp.pad("", s, true), err
	case 'd', 'i', 'u', 'o', 'x', 'X':
		if f, ok := x.(float64); ok && strings.IndexByte("diu", sp.typ) >= 0 {
			var err error
			if x, err = truncate(f); err != nil {
				return Str{}, err
			}
		}
		b, ok := toBig(x)
		if !ok {
			return Str{}, fmt.Errorf("%%%c format: a real number is required, not %s", sp.typ, typeName(x))
		}
		if sp.typ == 'i' || sp.typ == 'u' {
			sp.typ = 'd'
		}
		if sp.prec >= 0 { // at least that many digits
			one := sp
			one.width, one.sign, one.alt = 0, 0, false
			d := one.integer(new(big.Int).Abs(b)).text
			prefix := map[bool]string{true: "0" + string(sp.typ)}[sp.alt && sp.typ != 'd']
			d = strings.Repeat("0", max(sp.prec-len(d), 0)) + d
			return sp.pad(sp.signOf(b.Sign() < 0)+prefix, Text(d), true), nil
		}
		return sp.integer(b), nil
	case 'e', 'E', 'f', 'F', 'g', 'G':
		if !isNumber(x) {
			return Str{}, fmt.Errorf("must be real number, not %s", typeName(x))
		}
		f, err := toFloat(x)
		if err != nil {
			return Str{}, err
		}
		return sp.float(f)
	}
	return Str{}, fmt.Errorf("unsupported format character '%c'", sp.typ)
}

// asciiOnly writes what is not ASCII as escapes.
func asciiOnly(s Str) Str {
	return s.mapRunes(func(_ int, c rune) string {
		switch {
		case c < 0x80:
			return string(c)
		case c < 0x100:
			return fmt.Sprintf(`\x%02x`, c)
		case c < 0x10000:
			return fmt.Sprintf(`\u%04x`, c)
		}
		return fmt.Sprintf(`\U%08x`, c)
	})
}
