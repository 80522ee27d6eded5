package config

import "strings"

// Nearest returns which of known somebody may have meant who wrote name: the one
// that is spelled alike but for dashes, underscores and capitals; else the one
// that is the fewest letters away, a third of them at most; else the one that
// begins with the most of the same letters, three at least. "": none.
func Nearest(name string, known []string) string {
	bare := strings.NewReplacer("-", "", "_", "")
	near, least := "", len(name)/3+1
	long, most := "", 2
	for _, k := range known {
		if strings.EqualFold(bare.Replace(k), bare.Replace(name)) {
			return k
		}
		if d := distance(name, k); d < least {
			near, least = k, d
		}
		if n := shared(name, k); n > most {
			long, most = k, n
		}
	}
	if near != "" {
		return near
	}
	return long
}

// shared returns the number of bytes that a and b begin with alike.
func shared(a, b string) (n int) {
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// distance returns the number of bytes to put in, take out or change between a
// and b (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
