package tokenizer

// The byte-level alphabet of GPT-2 writes each byte as one printable rune:
// printable Latin-1 bytes as themselves, the other 68, in order, as U+0100
// onwards, so that a blank is Ġ and a line feed Ċ.

// alphabet is the rune of each byte.
var alphabet = func() (a [256]rune) {
	next := rune(0x100)
	for b := range a {
		switch {
		case b >= '!' && b <= '~', b >= 0xA1 && b <= 0xAC, b >= 0xAE:
			a[b] = rune(b)
		default:
			a[b] = next
			next++
		}
	}
	return a
}()

// alphabetBytes maps runes below U+0144 back; −1 elsewhere.
var alphabetBytes = func() (r [0x144]int16) {
	for i := range r {
		r[i] = -1
	}
	for b, c := range alphabet {
		r[c] = int16(b)
	}
	return r
}()

// appendFromAlphabet appends the bytes that token spells. If token has a rune
// that is not of the alphabet, it appends token itself and returns false.
func appendFromAlphabet(dst []byte, token string) ([]byte, bool) {
	start := len(dst)
	for _, c := range token {
		if int(c) >= len(alphabetBytes) || alphabetBytes[c] < 0 {
			return append(dst[:start], token...), false
		}
		dst = append(dst, byte(alphabetBytes[c]))
	}
	return dst, true
}
