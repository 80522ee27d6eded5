package jinja

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Literals: numbers and strings as Python writes them.

// digits returns the length of a run of digits at the start of s in which
// single underscores may stand between two of them.
func digits(s string, ok func(c byte) bool) int {
	n := 0
	for n < len(s) {
		if ok(s[n]) {
			n++
		} else if s[n] == '_' && n > 0 && n+1 < len(s) && ok(s[n+1]) {
			n += 2
		} else {
			break
		}
	}
	return n
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// exponent returns the length of an exponent part at the start of s, or 0.
func exponent(s string) int {
	if s == "" || s[0]|0x20 != 'e' {
		return 0
	}
	n := 1
	if len(s) > 1 && (s[1] == '+' || s[1] == '-') {
		n = 2
	}
	if d := digits(s[n:], isDigit); d > 0 {
		return n + d
	}
	return 0
}

func (l *lexer) number(s string) error {
	if l.pos == 0 || l.src[l.pos-1] != '.' {
		n := digits(s, isDigit)
		frac := 0
		if n < len(s) && s[n] == '.' {
			if d := digits(s[n+1:], isDigit); d > 0 {
				frac = d + 1
			}
		}
		exp := exponent(s[n+frac:])
		if frac+exp > 0 {
			n += frac + exp
			v, err := strconv.ParseFloat(strings.ReplaceAll(s[:n], "_", ""), 64)
			if err != nil && v == 0 {
				return fmt.Errorf("number %s: %w", s[:n], err)
			}
			l.emit(number, s[:n], v, l.pos)
			l.advance(n)
			return nil
		}
	}
	base, n := 10, 0
	if len(s) > 2 && s[0] == '0' {
		var ok func(c byte) bool
		switch s[1] | 0x20 {
		case 'b':
			base, ok = 2, func(c byte) bool { return c == '0' || c == '1' }
		case 'o':
			base, ok = 8, func(c byte) bool { return c >= '0' && c <= '7' }
		case 'x':
			base, ok = 16, func(c byte) bool { return isDigit(c) || c|0x20 >= 'a' && c|0x20 <= 'f' }
		}
		if ok != nil {
			t := strings.TrimPrefix(s[2:], "_")
			if d := digits(t, ok); d > 0 {
				n = len(s) - len(t) + d
			}
		}
	}
	text := ""
	switch {
	case n > 0:
		text = s[2:n]
	case s[0] == '0':
		base = 10
		n = digits(s, func(c byte) bool { return c == '0' })
		text = "0"
	default:
		base = 10
		n = digits(s, isDigit)
		text = s[:n]
	}
	if n > MaxBits/4 {
		return limitErr("digits of a number", MaxBits/4)
	}
	v, ok := new(big.Int).SetString(strings.ReplaceAll(text, "_", ""), base)
	if !ok {
		return fmt.Errorf("bad number %q", s[:n])
	}
	l.emit(number, s[:n], normal(v), l.pos)
	l.advance(n)
	return nil
}

// string reads a string literal with Python's escapes.
func (l *lexer) string(s string, quote byte) error {
	n := 1
	for n < len(s) && s[n] != quote {
		if s[n] == '\\' {
			n++
		}
		n++
	}
	if n >= len(s) {
		return fmt.Errorf("unexpected char %q", quote)
	}
	text, err := unescape(s[1:n])
	if err != nil {
		return err
	}
	l.emit(str, s[:n+1], Text(text), l.pos)
	l.advance(n + 1)
	return nil
}

func unescape(s string) (string, error) {
	i := strings.IndexByte(s, '\\')
	if i < 0 {
		return s, nil
	}
	var b strings.Builder
	for ; i >= 0; i = strings.IndexByte(s, '\\') {
		b.WriteString(s[:i])
		s = s[i+1:]
		if s == "" {
			return "", fmt.Errorf("string ends in a backslash")
		}
		c := s[0]
		s = s[1:]
		hex := 0
		switch c {
		case '\n':
		case '\\', '\'', '"':
			b.WriteByte(c)
		case 'a':
			b.WriteByte('\a')
		case 'b':
			b.WriteByte('\b')
		case 'f':
			b.WriteByte('\f')
		case 'n':
			b.WriteByte('\n')
		case 'r':
			b.WriteByte('\r')
		case 't':
			b.WriteByte('\t')
		case 'v':
			b.WriteByte('\v')
		case '0', '1', '2', '3', '4', '5', '6', '7':
			r := rune(c - '0')
			for k := 0; k < 2 && s != "" && s[0] >= '0' && s[0] <= '7'; k++ {
				r = r*8 + rune(s[0]-'0')
				s = s[1:]
			}
			b.WriteRune(r)
		case 'x':
			hex = 2
		case 'u':
			hex = 4
		case 'U':
			hex = 8
		case 'N':
			return "", fmt.Errorf(`escape \N{name} is not implemented`)
		default:
			b.WriteByte('\\')
			b.WriteByte(c)
		}
		if hex > 0 {
			if len(s) < hex {
				return "", fmt.Errorf(`truncated \%c escape`, c)
			}
			v, err := strconv.ParseUint(s[:hex], 16, 32)
			if err != nil || !utf8.ValidRune(rune(v)) || v > unicode.MaxRune {
				return "", fmt.Errorf(`escape \%c%s is not a character`, c, s[:hex])
			}
			b.WriteRune(rune(v))
			s = s[hex:]
		}
	}
	b.WriteString(s)
	return b.String(), nil
}
