package tokenizer

import (
	"slices"

	"golang.org/x/text/unicode/norm"
)

// maxMarks is how many combining runes in a row norm.NFC is trusted with: past
// 30 combining code points, which these runes may decompose to, it inserts
// U+034F (stream-safe text), which the tokenizers library does not.
const maxMarks = 12

// nfc returns s, valid UTF-8, in Unicode normalisation form C.
func nfc(s string) string {
	if norm.NFC.IsNormalString(s) && !crowded(s) {
		return s
	}
	if !crowded(s) {
		return norm.NFC.String(s)
	}
	return compose(decompose(s))
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
