package jinja

import (
	"sort"
	"unicode/utf8"
)

// span is a half-open range of byte offsets.
type span struct{ lo, hi int }

// Str is immutable UTF-8 text with the origin of each byte: inside one of its
// spans it came from data, elsewhere from the template. The zero Str is "".
type Str struct {
	text string
	data []span // ascending, not touching, none empty
	safe bool   // HTML-escaped already: jinja2's Markup
}

// Text returns s as template text.
func Text(s string) Str { return Str{text: s} }

// Data returns s as data.
func Data(s string) Str {
	if s == "" {
		return Str{}
	}
	return Str{text: s, data: []span{{0, len(s)}}}
}

// String returns the text without its origin.
func (s Str) String() string { return s.text }

// HasData reports whether any byte of s came from data.
func (s Str) HasData() bool { return len(s.data) > 0 }

// Segments calls f with the pieces of s in order, neighbours of different
// origin; joined they are the text. Empty text has no piece.
func (s Str) Segments(f func(text string, data bool)) {
	at := 0
	for _, d := range s.data {
		if at < d.lo {
			f(s.text[at:d.lo], false)
		}
		f(s.text[d.lo:d.hi], true)
		at = d.hi
	}
	if at < len(s.text) {
		f(s.text[at:], false)
	}
}

// sub returns bytes [lo, hi) of s.
func (s Str) sub(lo, hi int) Str {
	if lo >= hi {
		return Str{safe: s.safe}
	}
	if lo == 0 && hi == len(s.text) {
		return s
	}
	out := Str{text: s.text[lo:hi], safe: s.safe}
	i := sort.Search(len(s.data), func(i int) bool { return s.data[i].hi > lo })
	for ; i < len(s.data) && s.data[i].lo < hi; i++ {
		out.data = append(out.data, span{max(s.data[i].lo, lo) - lo, min(s.data[i].hi, hi) - lo})
	}
	return out
}

// like returns text derived from s as a whole: data if any of s is.
func (s Str) like(text string) Str {
	out := Str{text: text, safe: s.safe}
	if s.HasData() && text != "" {
		out.data = []span{{0, len(text)}}
	}
	return out
}

// dataAt returns a function that tells, for ascending byte offsets, whether
// the byte is data.
func (s Str) dataAt() func(i int) bool {
	d := s.data
	return func(i int) bool {
		for len(d) > 0 && d[0].hi <= i {
			d = d[1:]
		}
		return len(d) > 0 && d[0].lo <= i
	}
}

// mapRunes replaces each code point by f of it, keeping origins.
func (s Str) mapRunes(f func(i int, r rune) string) Str {
	var b buf
	at := s.dataAt()
	for i, r := range s.text {
		b.mark(f(i, r), at(i))
	}
	out := b.str()
	out.safe = s.safe
	return out
}

// runes is the length of s in code points.
func (s Str) runes() int { return utf8.RuneCountInString(s.text) }

// ascii reports whether byte offsets and code points agree.
func (s Str) ascii() bool { return s.runes() == len(s.text) }

// buf collects text and its origin.
type buf struct {
	b    []byte
	data []span
}

// lit appends template text.
func (b *buf) lit(s string) { b.b = append(b.b, s...) }

// mark appends s as data or as template text.
func (b *buf) mark(s string, data bool) {
	if data {
		b.span(len(b.b), len(b.b)+len(s))
	}
	b.b = append(b.b, s...)
}

// add appends s with its origin.
func (b *buf) add(s Str) {
	at := len(b.b)
	for _, d := range s.data {
		b.span(at+d.lo, at+d.hi)
	}
	b.b = append(b.b, s.text...)
}

func (b *buf) span(lo, hi int) {
	if lo == hi {
		return
	}
	if n := len(b.data); n > 0 && b.data[n-1].hi == lo {
		b.data[n-1].hi = hi
		return
	}
	b.data = append(b.data, span{lo, hi})
}

func (b *buf) len() int { return len(b.b) }

// str returns what was collected; b must not be used afterwards.
func (b *buf) str() Str { return Str{text: string(b.b), data: b.data} }

func concat(parts ...Str) Str {
	if len(parts) == 1 {
		return parts[0]
	}
	n := 0
	for _, p := range parts {
		n += len(p.text)
	}
	b := buf{b: make([]byte, 0, n)}
	for _, p := range parts {
		b.add(p)
	}
	return b.str()
}
