package synthetic

// control and normal are token types in GGUF.
const normal, control = 1, 3

// vocabulary returns n tokens of a byte-level vocabulary: three control tokens,
// the 256 bytes in GPT-2's printable form, then what merges make, words of up to
// three letters without and with a blank in front, in an order in which the
// parts of each come before it.
func vocabulary(n int) (tokens []string, kinds []int32, merges []string) {
	for _, t := range []string{"<|endoftext|>", "<|im_start|>", "<|im_end|>"} {
		tokens, kinds = append(tokens, t), append(kinds, control)
	}
	next := rune(256)
	for b := range rune(256) {
		s := string(b)
		if b < '!' || b > '~' && b < 0xa1 || b == 0xad { // blanks and controls move to where they can be seen
			s = string(next)
			next++
		}
		tokens, kinds = append(tokens, s), append(kinds, normal)
	}
	merge := func(a, b string) {
		if len(tokens) < n {
			tokens, kinds, merges = append(tokens, a+b), append(kinds, normal), append(merges, a+" "+b)
		}
	}
	var letters []string
	for c := 'a'; c <= 'z'; c++ {
		letters = append(letters, string(c))
	}
	words := func(start []string) {
		ends := start
		for range 2 {
			var longer []string
			for _, a := range ends {
				for _, b := range letters {
					merge(a, b)
					longer = append(longer, a+b)
				}
			}
			ends = longer
		}
	}
	words(letters)
	const blank = "Ġ"
	var begun []string
	for _, c := range letters {
		merge(blank, c)
		begun = append(begun, blank+c)
	}
	words(begun)
	return tokens, kinds, merges
}
