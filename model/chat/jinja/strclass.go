package jinja

import (
	"strings"
	"unicode"
)

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
