package tokenizer

import (
	"sort"

	"github.com/farlabs/inference"
)

// specials finds the tokens that are matched in raw text before anything else.
type specials struct {
	texts []string // ascending
	ids   []inference.TokenID
	first [256]bool // first bytes of texts
}

// newSpecials takes distinct, non-empty texts.
func newSpecials(byText map[string]inference.TokenID) specials {
	var s specials
	for text := range byText {
		s.texts = append(s.texts, text)
		s.first[text[0]] = true
	}
	sort.Strings(s.texts)
	for _, text := range s.texts {
		s.ids = append(s.ids, byText[text])
	}
	return s
}

// find returns the leftmost special token in text, the longest of those that
// begin there; id is none if there is none.
func (s *specials) find(text string) (start, end int, id inference.TokenID) {
	for i := range len(text) {
		if !s.first[text[i]] {
			continue
		}
		if n, id := s.longest(text[i:]); id != none {
			return i, i + n, id
		}
	}
	return 0, 0, none
}

// longest returns the longest special token that text begins with. It narrows
// the sorted texts to those that share a growing prefix with text; the one
// that equals the prefix is the first of them.
func (s *specials) longest(text string) (length int, id inference.TokenID) {
	id = none
	lo, hi := 0, len(s.texts)
	for depth := 0; depth < len(text) && lo < hi; depth++ {
		b := text[depth]
		at := func(i int) int { // byte of texts[lo+i] at depth, −1 past its end
			if t := s.texts[lo+i]; depth < len(t) {
				return int(t[depth])
			}
			return -1
		}
		n := hi - lo
		from := sort.Search(n, func(i int) bool { return at(i) >= int(b) })
		to := sort.Search(n, func(i int) bool { return at(i) > int(b) })
		lo, hi = lo+from, lo+to
		if lo < hi && len(s.texts[lo]) == depth+1 {
			length, id = depth+1, s.ids[lo]
		}
	}
	return length, id
}

// lookup returns the special token with this text.
func (s *specials) lookup(text string) (inference.TokenID, bool) {
	i := sort.SearchStrings(s.texts, text)
	if i < len(s.texts) && s.texts[i] == text {
		return s.ids[i], true
	}
	return none, false
}
