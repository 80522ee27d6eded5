package jinja

import (
	"strings"
	"unicode"
)

// Case follows Unicode's full mappings, as Python's str does: one character
// may become several. specialCase holds those that do, from SpecialCasing.txt
// without the conditional ones: character, upper case, title case.
var specialCase = map[rune][2]string{
	0x00df: {"\u0053\u0053", "\u0053\u0073"},
	0x0149: {"\u02bc\u004e", "\u02bc\u004e"},
	0x01f0: {"\u004a\u030c", "\u004a\u030c"},
	0x0390: {"\u0399\u0308\u0301", "\u0399\u0308\u0301"},
	0x03b0: {"\u03a5\u0308\u0301", "\u03a5\u0308\u0301"},
	0x0587: {"\u0535\u0552", "\u0535\u0582"},
	0x1e96: {"\u0048\u0331", "\u0048\u0331"},
	0x1e97: {"\u0054\u0308", "\u0054\u0308"},
	0x1e98: {"\u0057\u030a", "\u0057\u030a"},
	0x1e99: {"\u0059\u030a", "\u0059\u030a"},
	0x1e9a: {"\u0041\u02be", "\u0041\u02be"},
	0x1f50: {"\u03a5\u0313", "\u03a5\u0313"},
	0x1f52: {"\u03a5\u0313\u0300", "\u03a5\u0313\u0300"},
	0x1f54: {"\u03a5\u0313\u0301", "\u03a5\u0313\u0301"},
	0x1f56: {"\u03a5\u0313\u0342", "\u03a5\u0313\u0342"},
	0x1f80: {"\u1f08\u0399", "\u1f88"},
	0x1f81: {"\u1f09\u0399", "\u1f89"},
	0x1f82: {"\u1f0a\u0399", "\u1f8a"},
	0x1f83: {"\u1f0b\u0399", "\u1f8b"},
	0x1f84: {"\u1f0c\u0399", "\u1f8c"},
	0x1f85: {"\u1f0d\u0399", "\u1f8d"},
	0x1f86: {"\u1f0e\u0399", "\u1f8e"},
	0x1f87: {"\u1f0f\u0399", "\u1f8f"},
	0x1f88: {"\u1f08\u0399", "\u1f88"},
	0x1f89: {"\u1f09\u0399", "\u1f89"},
	0x1f8a: {"\u1f0a\u0399", "\u1f8a"},
	0x1f8b: {"\u1f0b\u0399", "\u1f8b"},
	0x1f8c: {"\u1f0c\u0399", "\u1f8c"},
	0x1f8d: {"\u1f0d\u0399", "\u1f8d"},
	0x1f8e: {"\u1f0e\u0399", "\u1f8e"},
	0x1f8f: {"\u1f0f\u0399", "\u1f8f"},
	0x1f90: {"\u1f28\u0399", "\u1f98"},
	0x1f91: {"\u1f29\u0399", "\u1f99"},
	0x1f92: {"\u1f2a\u0399", "\u1f9a"},
	0x1f93: {"\u1f2b\u0399", "\u1f9b"},
	0x1f94: {"\u1f2c\u0399", "\u1f9c"},
	0x1f95: {"\u1f2d\u0399", "\u1f9d"},
	0x1f96: {"\u1f2e\u0399", "\u1f9e"},
	0x1f97: {"\u1f2f\u0399", "\u1f9f"},
	0x1f98: {"\u1f28\u0399", "\u1f98"},
	0x1f99: {"\u1f29\u0399", "\u1f99"},
	0x1f9a: {"\u1f2a\u0399", "\u1f9a"},
	0x1f9b: {"\u1f2b\u0399", "\u1f9b"},
	0x1f9c: {"\u1f2c\u0399", "\u1f9c"},
	0x1f9d: {"\u1f2d\u0399", "\u1f9d"},
	0x1f9e: {"\u1f2e\u0399", "\u1f9e"},
	0x1f9f: {"\u1f2f\u0399", "\u1f9f"},
	0x1fa0: {"\u1f68\u0399", "\u1fa8"},
	0x1fa1: {"\u1f69\u0399", "\u1fa9"},
	0x1fa2: {"\u1f6a\u0399", "\u1faa"},
	0x1fa3: {"\u1f6b\u0399", "\u1fab"},
	0x1fa4: {"\u1f6c\u0399", "\u1fac"},
	0x1fa5: {"\u1f6d\u0399", "\u1fad"},
	0x1fa6: {"\u1f6e\u0399", "\u1fae"},
	0x1fa7: {"\u1f6f\u0399", "\u1faf"},
	0x1fa8: {"\u1f68\u0399", "\u1fa8"},
	0x1fa9: {"\u1f69\u0399", "\u1fa9"},
	0x1faa: {"\u1f6a\u0399", "\u1faa"},
	0x1fab: {"\u1f6b\u0399", "\u1fab"},
	0x1fac: {"\u1f6c\u0399", "\u1fac"},
	0x1fad: {"\u1f6d\u0399", "\u1fad"},
	0x1fae: {"\u1f6e\u0399", "\u1fae"},
	0x1faf: {"\u1f6f\u0399", "\u1faf"},
	0x1fb2: {"\u1fba\u0399", "\u1fba\u0345"},
	0x1fb3: {"\u0391\u0399", "\u1fbc"},
	0x1fb4: {"\u0386\u0399", "\u0386\u0345"},
	0x1fb6: {"\u0391\u0342", "\u0391\u0342"},
	0x1fb7: {"\u0391\u0342\u0399", "\u0391\u0342\u0345"},
	0x1fbc: {"\u0391\u0399", "\u1fbc"},
	0x1fc2: {"\u1fca\u0399", "\u1fca\u0345"},
	0x1fc3: {"\u0397\u0399", "\u1fcc"},
	0x1fc4: {"\u0389\u0399", "\u0389\u0345"},
	0x1fc6: {"\u0397\u0342", "\u0397\u0342"},
	0x1fc7: {"\u0397\u0342\u0399", "\u0397\u0342\u0345"},
	0x1fcc: {"\u0397\u0399", "\u1fcc"},
	0x1fd2: {"\u0399\u0308\u0300", "\u0399\u0308\u0300"},
	0x1fd3: {"\u0399\u0308\u0301", "\u0399\u0308\u0301"},
	0x1fd6: {"\u0399\u0342", "\u0399\u0342"},
	0x1fd7: {"\u0399\u0308\u0342", "\u0399\u0308\u0342"},
	0x1fe2: {"\u03a5\u0308\u0300", "\u03a5\u0308\u0300"},
	0x1fe3: {"\u03a5\u0308\u0301", "\u03a5\u0308\u0301"},
	0x1fe4: {"\u03a1\u0313", "\u03a1\u0313"},
	0x1fe6: {"\u03a5\u0342", "\u03a5\u0342"},
	0x1fe7: {"\u03a5\u0308\u0342", "\u03a5\u0308\u0342"},
	0x1ff2: {"\u1ffa\u0399", "\u1ffa\u0345"},
	0x1ff3: {"\u03a9\u0399", "\u1ffc"},
	0x1ff4: {"\u038f\u0399", "\u038f\u0345"},
	0x1ff6: {"\u03a9\u0342", "\u03a9\u0342"},
	0x1ff7: {"\u03a9\u0342\u0399", "\u03a9\u0342\u0345"},
	0x1ffc: {"\u03a9\u0399", "\u1ffc"},
	0xfb00: {"\u0046\u0046", "\u0046\u0066"},
	0xfb01: {"\u0046\u0049", "\u0046\u0069"},
	0xfb02: {"\u0046\u004c", "\u0046\u006c"},
	0xfb03: {"\u0046\u0046\u0049", "\u0046\u0066\u0069"},
	0xfb04: {"\u0046\u0046\u004c", "\u0046\u0066\u006c"},
	0xfb05: {"\u0053\u0054", "\u0053\u0074"},
	0xfb06: {"\u0053\u0054", "\u0053\u0074"},
	0xfb13: {"\u0544\u0546", "\u0544\u0576"},
	0xfb14: {"\u0544\u0535", "\u0544\u0565"},
	0xfb15: {"\u0544\u053b", "\u0544\u056b"},
	0xfb16: {"\u054e\u0546", "\u054e\u0576"},
	0xfb17: {"\u0544\u053d", "\u0544\u056d"},
}

func upperRune(r rune) string {
	if s, ok := specialCase[r]; ok {
		return s[0]
	}
	return string(unicode.ToUpper(r))
}

func titleRune(r rune) string {
	if s, ok := specialCase[r]; ok {
		return s[1]
	}
	return string(unicode.ToTitle(r))
}

// lowerRune is the lower case of the character at byte i of s: a capital sigma
// at the end of a word has a form of its own.
func lowerRune(s string, i int, r rune) string {
	switch r {
	case 0x130: // I with a dot above
		return "i\u0307"
	case 0x3a3:
		before := strings.TrimRightFunc(s[:i], caseIgnorable)
		after := strings.TrimLeftFunc(s[i+2:], caseIgnorable)
		if strings.LastIndexFunc(before, isCased) == lastRune(before) && before != "" &&
			strings.IndexFunc(after, isCased) != 0 {
			return "\u03c2"
		}
	}
	return string(unicode.ToLower(r))
}

// lastRune is the offset of the last character of s.
func lastRune(s string) int {
	at := len(s) - 1
	for at > 0 && s[at]&0xc0 == 0x80 {
		at--
	}
	return at
}

func isCased(r rune) bool {
	return unicode.IsUpper(r) || unicode.IsLower(r) || unicode.IsTitle(r) ||
		unicode.In(r, unicode.Other_Lowercase, unicode.Other_Uppercase)
}

func caseIgnorable(r rune) bool {
	return strings.ContainsRune("'.:^`\u00a8\u00ad\u00af\u00b4\u00b7\u00b8\u2018\u2019\u2024\u2027", r) ||
		unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf, unicode.Lm, unicode.Sk)
}

// isSpace is str.isspace of one character: Unicode's white space and the
// information separators.
func isSpace(r rune) bool { return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f }

func upper(s Str) Str {
	return s.mapRunes(func(_ int, r rune) string { return upperRune(r) })
}

func lower(s Str) Str {
	return s.mapRunes(func(i int, r rune) string { return lowerRune(s.text, i, r) })
}

// capitalize is the first character in title case, the rest in lower case.
func capitalize(s Str) Str {
	return s.mapRunes(func(i int, r rune) string {
		if i == 0 {
			return titleRune(r)
		}
		return lowerRune(s.text, i, r)
	})
}

// title begins every run of cased characters in title case.
func title(s Str) Str {
	inWord := false
	return s.mapRunes(func(i int, r rune) string {
		was := inWord
		inWord = isCased(r)
		if was {
			return lowerRune(s.text, i, r)
		}
		return titleRune(r)
	})
}

// casefold maps the characters that differ only in case to one.
func casefold(s Str) Str {
	return s.mapRunes(func(_ int, r rune) string {
		if r == 0x131 { // dotless i stays apart from i
			return string(r)
		}
		if r == 0x130 {
			return lowerRune("", 0, r)
		}
		return strings.ToLower(upperRune(r))
	})
}

func swapcase(s Str) Str {
	return s.mapRunes(func(i int, r rune) string {
		switch {
		case unicode.IsUpper(r):
			return lowerRune(s.text, i, r)
		case unicode.IsLower(r):
			return upperRune(r)
		}
		return string(r)
	})
}

// escape replaces the characters that HTML gives a meaning, unless s was
// escaped before.
func escape(s Str) Str {
	if s.safe {
		return s
	}
	out := s.mapRunes(func(_ int, r rune) string {
		switch r {
		case '&':
			return "&amp;"
		case '<':
			return "&lt;"
		case '>':
			return "&gt;"
		case '\'':
			return "&#39;"
		case '"':
			return "&#34;"
		}
		return string(r)
	})
	out.safe = true
	return out
}
