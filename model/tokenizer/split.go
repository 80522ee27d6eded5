package tokenizer

import "strings"

// split cuts text into the words within which merges happen. The scanners
// below are the patterns that models were trained with, alternatives tried in
// order, written out:
//
//	gpt-2      's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
//	smollm     each \p{N} a piece of its own, then gpt-2 within each piece
//	llama-bpe  (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|
//	            ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
//	qwen2      llama-bpe with \p{N} for \p{N}{1,3}, after normalisation to NFC
type split struct {
	next      func(s string, i int) int // end of the word at s[i:]; i < len(s), s valid UTF-8
	nfc       bool
	wholeWord bool // words that are tokens are taken whole (ignore_merges)
	addBOS    bool // unless the metadata say otherwise
}

// splits by tokenizer.ggml.pre.
var splits = map[string]split{
	"gpt-2":     {next: nextGPT2},
	"smollm":    {next: nextSmol},
	"llama-bpe": {next: func(s string, i int) int { return nextLlama(s, i, 3) }, wholeWord: true, addBOS: true},
	"qwen2":     {next: func(s string, i int) int { return nextLlama(s, i, 1) }, nfc: true},
}

// nextGPT2 returns the end of the gpt-2 word at s[i:].
func nextGPT2(s string, i int) int {
	if n := contraction(s[i:], false); n > 0 {
		return i + n
	}
	c, n := classAt(s, i)
	if s[i] == ' ' && i+1 < len(s) {
		if after, m := classAt(s, i+1); !after.white() {
			c, n = after, 1+m // the blank belongs to what follows
		}
	}
	if c.white() {
		return blanks(s, i)
	}
	return run(s, i+n, c)
}

// nextSmol returns the end of the smollm word at s[i:]. A number ends the
// piece before it, so that blanks before a number stay together.
func nextSmol(s string, i int) int {
	c, n := classAt(s, i)
	if c == number {
		return i + n
	}
	if c.white() {
		if stop := whiteRun(s, i); stop < len(s) {
			if after, _ := classAt(s, stop); after == number {
				return stop
			}
		}
	}
	return nextGPT2(s, i)
}

// nextLlama returns the end of the llama-bpe word at s[i:], with at most
// digits numbers in a word.
func nextLlama(s string, i, digits int) int {
	if n := contraction(s[i:], true); n > 0 {
		return i + n
	}
	c, n := classAt(s, i)
	if c == letter {
		return run(s, i+n, letter)
	}
	if c == number {
		end := i + n
		for k := 1; k < digits && end < len(s); k++ {
			c, n := classAt(s, end)
			if c != number {
				break
			}
			end += n
		}
		return end
	}
	if c != newline && i+n < len(s) {
		if after, m := classAt(s, i+n); after == letter {
			return run(s, i+n+m, letter)
		}
	}
	if s[i] == ' ' && i+1 < len(s) {
		if after, m := classAt(s, i+1); after == other {
			c, n = other, 1+m
		}
	}
	if c == other {
		end := run(s, i+n, other)
		for end < len(s) && (s[end] == '\r' || s[end] == '\n') {
			end++
		}
		return end
	}
	// Only white space is left: \s*[\r\n]+ takes it up to its last line break.
	stop := whiteRun(s, i)
	if last := strings.LastIndexAny(s[i:stop], "\r\n"); last >= 0 {
		return i + last + 1
	}
	return blanks(s, i)
}

// run returns the end of the runes of class c from i on.
func run(s string, i int, c class) int {
	for i < len(s) {
		d, n := classAt(s, i)
		if d != c {
			break
		}
		i += n
	}
	return i
}

// whiteRun returns the end of the white space from i on.
func whiteRun(s string, i int) int {
	for i < len(s) {
		c, n := classAt(s, i)
		if !c.white() {
			break
		}
		i += n
	}
	return i
}

// blanks is \s+(?!\S)|\s+ at white space: all of it at the end of the text,
// else all but its last rune, but at least one.
func blanks(s string, i int) int {
	end, last := i, i
	for end < len(s) {
		c, n := classAt(s, end)
		if !c.white() {
			break
		}
		last = end
		end += n
	}
	if end < len(s) && last > i {
		return last
	}
	return end
}

// contraction returns the length of 's, 't, 're, 've, 'm, 'll or 'd at the
// beginning of s, 0 if there is none. Folding, s is also ſ (U+017F), the only
// other rune that folds to one of these letters.
func contraction(s string, fold bool) int {
	if len(s) < 2 || s[0] != '\'' {
		return 0
	}
	lower := func(b byte) byte {
		if fold && b >= 'A' && b <= 'Z' {
			return b + 'a' - 'A'
		}
		return b
	}
	switch lower(s[1]) {
	case 's', 't', 'm', 'd':
		return 2
	case 'r', 'v':
		if len(s) > 2 && lower(s[2]) == 'e' {
			return 3
		}
	case 'l':
		if len(s) > 2 && lower(s[2]) == 'l' {
			return 3
		}
	}
	if fold && strings.HasPrefix(s[1:], "ſ") {
		return 1 + len("ſ")
	}
	return 0
}
