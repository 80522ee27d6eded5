package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// variables are the names that mean something: the flags of both programs,
// which one person may have set at once, and what is no flag of either.
// Ascending.
var variables = []string{
	"FARLABS_ACTIVATIONS", "FARLABS_ANNOUNCE", "FARLABS_API_KEY", "FARLABS_BIN", "FARLABS_BLOCKS", "FARLABS_BOOTSTRAP", "FARLABS_CACHE",
	"FARLABS_CREDIT", "FARLABS_DATA_DIR", "FARLABS_EXPECT", "FARLABS_FULL", "FARLABS_HOST", "FARLABS_IDENTITY",
	"FARLABS_JSON", "FARLABS_KERNELS", "FARLABS_KV", "FARLABS_KV_CACHE", "FARLABS_LISTEN", "FARLABS_LOG_FORMAT", "FARLABS_MAX_PRICE",
	"FARLABS_MAX_SESSIONS", "FARLABS_MAX_TOKENS", "FARLABS_MDNS", "FARLABS_MEMORY", "FARLABS_METRICS", "FARLABS_MODEL",
	"FARLABS_MODEL_ID", "FARLABS_NODE_NAME", "FARLABS_ORIGIN", "FARLABS_PRICE", "FARLABS_RELAY", "FARLABS_SEED",
	"FARLABS_SYSTEM", "FARLABS_TEMPERATURE", "FARLABS_TEST_MODEL", "FARLABS_TIMEOUT", "FARLABS_TOP_P", "FARLABS_VERBOSE",
	"FARLABS_WALLET", "FARLABS_WIRE",
}

// KnownVariable reports whether a variable of the environment means something
// to one of the programs.
func KnownVariable(name string) bool {
	_, ok := slices.BinarySearch(variables, name)
	return ok
}

// warnOfVariables names those of env (as os.Environ returns it) that look like
// settings and are none: a mistake there must not pass for a setting, but
// somebody else's variable is no reason to stop.
func warnOfVariables(w io.Writer, program string, env []string) {
	for _, e := range env {
		name, v, _ := strings.Cut(e, "=")
		if !strings.HasPrefix(name, "FARLABS_") || v == "" || KnownVariable(name) {
			continue
		}
		best, least := "", 3
		for _, known := range variables {
			if d := distance(name, known); d < least {
				best, least = ", did you mean "+known+"?", d
			}
		}
		fmt.Fprintf(w, "%s: warning: no setting is called %s%s\n", program, name, best)
	}
}

// distance is the number of letters to put in, take out or change between a and
// b (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0]
		row[0] = i + 1
		for j := range len(b) {
			d := before
			if a[i] != b[j] {
				d++
			}
			before = row[j+1]
			row[j+1] = min(d, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
