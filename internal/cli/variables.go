package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/farlabs/inference/internal/config"
)

// variablePrefix begins the variables that are ours.
const variablePrefix = "FARLABS_"

// variables are the names, after the prefix, that mean something: the flags of
// both programs, which one person may have set at once, and what is no flag of
// either. Ascending.
var variables = []string{
	"ACTIVATIONS", "ANNOUNCE", "API_KEY", "BIN", "BLOCKS", "BOOTSTRAP", "CACHE", "CREDIT", "DATA_DIR", "EXPECT",
	"FULL", "HOST", "IDENTITY", "JSON", "KERNELS", "KV", "KV_CACHE", "LISTEN", "LOG_FORMAT", "MAX_PRICE",
	"MAX_SESSIONS", "MAX_TOKENS", "MDNS", "MEMORY", "METRICS", "MODEL", "MODEL_ID", "NODE_NAME", "ORIGIN", "PRICE",
	"RELAY", "SEED", "SYSTEM", "TEMPERATURE", "TEST_MODEL", "TIMEOUT", "TOP_P", "VERBOSE", "WALLET", "WIRE",
}

// KnownVariable reports whether a variable of the environment means something
// to one of the programs.
func KnownVariable(name string) bool {
	bare, ours := strings.CutPrefix(name, variablePrefix)
	_, known := slices.BinarySearch(variables, bare)
	return ours && known
}

// warnOfVariables names those of env (as os.Environ returns it) that look like
// settings and are none: a mistake there must not pass for a setting, but
// somebody else's variable is no reason to stop.
func warnOfVariables(w io.Writer, program string, env []string) {
	for _, e := range env {
		name, v, _ := strings.Cut(e, "=")
		bare, ours := strings.CutPrefix(name, variablePrefix)
		if !ours || v == "" || KnownVariable(name) {
			continue
		}
		best := ""
		if near := config.Nearest(bare, variables); near != "" {
			best = ", did you mean " + variablePrefix + near + "?"
		}
		fmt.Fprintf(w, "%s: warning: no setting is called %s%s\n", program, name, best)
	}
}
