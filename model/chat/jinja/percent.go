package jinja

import (
	"errors"
	"fmt"
	"math/big"
	"strings"
)

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
			return Str{}, 0, errors.New("key of the format not found")
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
	return Str{}, errors.New("unsupported format character")
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
