package cli

import (
	"slices"
	"strings"
	"testing"
)

func TestVariablesAscend(t *testing.T) {
	if !slices.IsSorted(variables) || len(slices.Compact(slices.Clone(variables))) != len(variables) {
		t.Error("not ascending, or one is there twice")
	}
}

func TestAVariableThatIsNoneIsNamed(t *testing.T) {
	for env, want := range map[string]string{
		"FARLABS_PRCE=3":                       "p: warning: no setting is called FARLABS_PRCE, did you mean FARLABS_PRICE?\n",
		"FARLABS_KVCACHE=3":                    "p: warning: no setting is called FARLABS_KVCACHE, did you mean FARLABS_KV_CACHE?\n",
		"FARLABS_SOMETHING_ELSE=3":             "p: warning: no setting is called FARLABS_SOMETHING_ELSE\n",
		"FARLABS_PRICE=3":                      "",
		"FARLABS_WIRE=f32":                     "", // of the other program
		"FARLABS_PRCE=":                        "", // is not set
		"PRCE=3":                               "",
		"FARLABS_" + strings.Repeat("X", 2000): "",
	} {
		var b strings.Builder
		warnOfVariables(&b, "p", []string{env})
		if b.String() != want {
			t.Errorf("%.40s: said %q", env, b.String())
		}
	}
}
