package tokenizer

import (
	"unicode"
	"unicode/utf8"
)

// class is what the split patterns ask of a rune, as of Unicode 16.0, which the
// Rust library (0.23) uses; TestClassesAreThoseOfTheRustLibrary compares all.
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
// pages are shared, so it takes about 60 KB.
var classPages = func() (pages [(unicode.MaxRune + 1) >> 8]*[256]class) {
	flat := make([]class, unicode.MaxRune+1)
	for _, t := range []struct {
		runes *unicode.RangeTable
		class class
	}{
		{unicode.L, letter}, {newLetters, letter},
		{unicode.N, number}, {newNumbers, number},
		{unicode.White_Space, space},
	} {
		for _, r := range t.runes.R16 {
			for c := int(r.Lo); c <= int(r.Hi); c += int(r.Stride) {
				flat[c] = t.class
			}
		}
		for _, r := range t.runes.R32 {
			for c := int(r.Lo); c <= int(r.Hi); c += int(r.Stride) {
				flat[c] = t.class
			}
		}
	}
	flat['\r'], flat['\n'] = newline, newline
	shared := map[[256]class]*[256]class{}
	for p := range pages {
		page := [256]class(flat[p<<8:])
		if shared[page] == nil {
			shared[page] = &page
		}
		pages[p] = shared[page]
	}
	return pages
}()

// classAt returns the class and length in bytes of the rune at s[i:], which
// must be valid UTF-8 and not at its end.
func classAt(s string, i int) (class, int) {
	if b := s[i]; b < utf8.RuneSelf {
		return classPages[0][b], 1
	}
	r, n := utf8.DecodeRuneInString(s[i:])
	return classPages[r>>8][r&0xFF], n
}

// The letters and numbers of Unicode 16.0 that package unicode (15.0) lacks.
var (
	newLetters = &unicode.RangeTable{
		R16: []unicode.Range16{
			{Lo: 0x1C89, Hi: 0x1C8A, Stride: 1},
			{Lo: 0xA7CB, Hi: 0xA7CD, Stride: 1},
			{Lo: 0xA7DA, Hi: 0xA7DC, Stride: 1},
		},
		R32: []unicode.Range32{
			{Lo: 0x105C0, Hi: 0x105F3, Stride: 1},
			{Lo: 0x10D4A, Hi: 0x10D65, Stride: 1},
			{Lo: 0x10D6F, Hi: 0x10D85, Stride: 1},
			{Lo: 0x10EC2, Hi: 0x10EC4, Stride: 1},
			{Lo: 0x11380, Hi: 0x11389, Stride: 1},
			{Lo: 0x1138B, Hi: 0x1138B, Stride: 1},
			{Lo: 0x1138E, Hi: 0x1138E, Stride: 1},
			{Lo: 0x11390, Hi: 0x113B5, Stride: 1},
			{Lo: 0x113B7, Hi: 0x113B7, Stride: 1},
			{Lo: 0x113D1, Hi: 0x113D1, Stride: 1},
			{Lo: 0x113D3, Hi: 0x113D3, Stride: 1},
			{Lo: 0x11BC0, Hi: 0x11BE0, Stride: 1},
			{Lo: 0x13460, Hi: 0x143FA, Stride: 1},
			{Lo: 0x16100, Hi: 0x1611D, Stride: 1},
			{Lo: 0x16D40, Hi: 0x16D6C, Stride: 1},
			{Lo: 0x18CFF, Hi: 0x18CFF, Stride: 1},
			{Lo: 0x1E5D0, Hi: 0x1E5ED, Stride: 1},
			{Lo: 0x1E5F0, Hi: 0x1E5F0, Stride: 1},
			{Lo: 0x2EBF0, Hi: 0x2EE5D, Stride: 1},
		},
	}
	newNumbers = &unicode.RangeTable{
		R32: []unicode.Range32{
			{Lo: 0x10D40, Hi: 0x10D49, Stride: 1},
			{Lo: 0x116D0, Hi: 0x116E3, Stride: 1},
			{Lo: 0x11BF0, Hi: 0x11BF9, Stride: 1},
			{Lo: 0x16130, Hi: 0x16139, Stride: 1},
			{Lo: 0x16D70, Hi: 0x16D79, Stride: 1},
			{Lo: 0x1CCF0, Hi: 0x1CCF9, Stride: 1},
			{Lo: 0x1E5F1, Hi: 0x1E5FA, Stride: 1},
		},
	}
)
