package tokenizer

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// maxMarks is how many combining runes in a row norm.NFC is trusted with: past
// 30 combining code points, which these runes may decompose to, it inserts
// U+034F (stream-safe text), which the tokenizers library does not.
const maxMarks = 12

// nfc returns s, valid UTF-8, in normalisation form C as of Unicode 9.0, the
// version of the tokenizers library: marks that came later stand where they
// are and part the text.
func nfc(s string) string {
	if norm.NFC.IsNormalString(s) {
		return s
	}
	var out strings.Builder
	out.Grow(len(s))
	start := 0
	for i, r := range s {
		if r >= 0x7FD && unicode.Is(lateMarks, r) {
			out.WriteString(nfcSegment(s[start:i]))
			out.WriteRune(r)
			start = i + utf8.RuneLen(r)
		}
	}
	out.WriteString(nfcSegment(s[start:]))
	return out.String()
}

// nfcSegment is nfc for text without late marks.
func nfcSegment(s string) string {
	if crowded(s) {
		return compose(decompose(s))
	}
	return norm.NFC.String(s)
}

// crowded reports more than maxMarks combining runes in a row.
func crowded(s string) bool {
	marks := 0
	for i := 0; i < len(s); {
		p := norm.NFC.PropertiesString(s[i:])
		if s[i] < 0x80 || p.BoundaryBefore() {
			marks = 0
		} else if marks++; marks > maxMarks {
			return true
		}
		i += max(1, p.Size())
	}
	return false
}

// decomposed is a rune of a canonical decomposition.
type decomposed struct {
	r   rune
	ccc uint8 // canonical combining class
}

// decompose returns the canonical decomposition of s in canonical order
// (Unicode 3.11, D68 and D108).
func decompose(s string) []decomposed {
	var out []decomposed
	for _, r := range s {
		for _, d := range norm.NFD.String(string(r)) {
			out = append(out, decomposed{d, norm.NFD.PropertiesString(string(d)).CCC()})
		}
	}
	for i := 0; i < len(out); {
		if out[i].ccc == 0 {
			i++
			continue
		}
		end := i
		for end < len(out) && out[end].ccc != 0 {
			end++
		}
		slices.SortStableFunc(out[i:end], func(a, b decomposed) int { return int(a.ccc) - int(b.ccc) })
		i = end
	}
	return out
}

// compose applies canonical composition (Unicode 3.11, D117): each rune joins
// the last starter unless a rune between them has a class of zero or at least
// its own. Whether two runes have a primary composite is asked of norm.NFC.
func compose(in []decomposed) string {
	out := make([]rune, 0, len(in))
	starter, lastClass := -1, uint8(0) // index in out; class of the last rune after it, 0 if none
	for _, d := range in {
		adjacent := starter == len(out)-1
		if starter >= 0 && (adjacent || lastClass != 0 && lastClass < d.ccc) {
			if c, ok := composite(out[starter], d.r); ok {
				out[starter] = c
				continue
			}
		}
		out = append(out, d.r)
		if d.ccc == 0 {
			starter, lastClass = len(out)-1, 0
		} else {
			lastClass = d.ccc
		}
	}
	return string(out)
}

// composite returns the one rune that a and b compose to.
func composite(a, b rune) (rune, bool) {
	if b < 0x300 {
		return 0, false
	}
	c := []rune(norm.NFC.String(string(a) + string(b)))
	if len(c) != 1 {
		return 0, false
	}
	return c[0], true
}

// lateMarks are the combining marks of Unicode 10.0 to 15.0, and U+11930,
// which composes since 13.0.
var lateMarks = &unicode.RangeTable{
	R16: []unicode.Range16{
		{Lo: 0x7FD, Hi: 0x7FD, Stride: 1},
		{Lo: 0x898, Hi: 0x89F, Stride: 1},
		{Lo: 0x8CA, Hi: 0x8D3, Stride: 1},
		{Lo: 0x9FE, Hi: 0x9FE, Stride: 1},
		{Lo: 0xC3C, Hi: 0xC3C, Stride: 1},
		{Lo: 0xD3B, Hi: 0xD3C, Stride: 1},
		{Lo: 0xEBA, Hi: 0xEBA, Stride: 1},
		{Lo: 0x1715, Hi: 0x1715, Stride: 1},
		{Lo: 0x1ABF, Hi: 0x1ACE, Stride: 1},
		{Lo: 0x1DF6, Hi: 0x1DFA, Stride: 1},
		{Lo: 0xA82C, Hi: 0xA82C, Stride: 1},
	},
	R32: []unicode.Range32{
		{Lo: 0x10D24, Hi: 0x10D27, Stride: 1},
		{Lo: 0x10EAB, Hi: 0x10EAC, Stride: 1},
		{Lo: 0x10EFD, Hi: 0x10EFF, Stride: 1},
		{Lo: 0x10F46, Hi: 0x10F50, Stride: 1},
		{Lo: 0x10F82, Hi: 0x10F85, Stride: 1},
		{Lo: 0x11070, Hi: 0x11070, Stride: 1},
		{Lo: 0x1133B, Hi: 0x1133B, Stride: 1},
		{Lo: 0x1145E, Hi: 0x1145E, Stride: 1},
		{Lo: 0x11839, Hi: 0x1183A, Stride: 1},
		{Lo: 0x11930, Hi: 0x11930, Stride: 1},
		{Lo: 0x1193D, Hi: 0x1193E, Stride: 1},
		{Lo: 0x11943, Hi: 0x11943, Stride: 1},
		{Lo: 0x119E0, Hi: 0x119E0, Stride: 1},
		{Lo: 0x11A34, Hi: 0x11A34, Stride: 1},
		{Lo: 0x11A47, Hi: 0x11A47, Stride: 1},
		{Lo: 0x11A99, Hi: 0x11A99, Stride: 1},
		{Lo: 0x11D42, Hi: 0x11D42, Stride: 1},
		{Lo: 0x11D44, Hi: 0x11D45, Stride: 1},
		{Lo: 0x11D97, Hi: 0x11D97, Stride: 1},
		{Lo: 0x11F41, Hi: 0x11F42, Stride: 1},
		{Lo: 0x16FF0, Hi: 0x16FF1, Stride: 1},
		{Lo: 0x1E08F, Hi: 0x1E08F, Stride: 1},
		{Lo: 0x1E130, Hi: 0x1E136, Stride: 1},
		{Lo: 0x1E2AE, Hi: 0x1E2AE, Stride: 1},
		{Lo: 0x1E2EC, Hi: 0x1E2EF, Stride: 1},
		{Lo: 0x1E4EC, Hi: 0x1E4EF, Stride: 1},
	},
}
