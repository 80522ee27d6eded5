//go:build unix

package e2e

import (
	"strings"
	"testing"
)

func TestThreeNodesAnswerAQuestion(t *testing.T) {
	nodes := Shared(t)
	c := Dial(t, ClientOptions{Bootstrap: []string{nodes[0].Addr}})
	c.Sees(t, nodes...)
	a := c.Ask(t, question(8))
	if len(a.Route().Hops) != 3 {
		t.Errorf("route %s: want three hops", a.Route())
	}
	if strings.TrimSpace(a.Text) == "" || a.Usage.CompletionTokens != 8 {
		t.Errorf("answer %q of %d tokens", a.Text, a.Usage.CompletionTokens)
	}
	out := Run(t, "farclient", "run", "--bootstrap", nodes[2].Addr, "--data-dir", t.TempDir(), "--temperature", "0", "--max-tokens", "8", "Explain in three sentences why the sky is blue.")
	if out.Code != 0 || strings.TrimSpace(out.Stdout) != strings.TrimSpace(a.Text) {
		t.Errorf("farclient run: status %d, %q, want %q\n%s", out.Code, out.Stdout, a.Text, out.Stderr)
	}
}
