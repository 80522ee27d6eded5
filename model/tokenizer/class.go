package tokenizer

import (
	"unicode"
	"unicode/utf8"
)

// class is what the split patterns ask of a rune.
type class uint8

const (
	other   class = iota // [^\s\p{L}\p{N}]: marks, punctuation, symbols, controls …
	letter               // \p{L}
	number               // \p{N}
	space                // \s without line breaks
	newline              // \r and \n; they are \s as well
)

// white reports \s.
func (c class) white() bool { return c >= space }

// classPages is a two-level table of classes: page of r>>8, then r&0xFF. Equal
// pages are shared, so it takes about 40 KB.
var classPages = func() (pages [(unicode.MaxRune + 1) >> 8]*[256]class) {
	shared := map[[256]class]*[256]class{}
	for p := range pages {
		var page [256]class
		for i := range page {
			page[i] = classify(rune(p<<8 | i))
		}
		if shared[page] == nil {
			shared[page] = &page
		}
		pages[p] = shared[page]
	}
	return pages
}()

func classify(r rune) class {
	switch {
	case r == '\r' || r == '\n':
		return newline
	case unicode.IsSpace(r): // White_Space
		return space
	case unicode.IsLetter(r):
		return letter
	case unicode.IsNumber(r):
		return number
	}
	return other
}

// classAt returns the class and length in bytes of the rune at s[i:], which
// must be valid UTF-8 and not at its end.
func classAt(s string, i int) (class, int) {
	if b := s[i]; b < utf8.RuneSelf {
		return classPages[0][b], 1
	}
	r, n := utf8.DecodeRuneInString(s[i:])
	return classPages[r>>8][r&0xFF], n
}
