package config

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

func flags() *pflag.FlagSet {
	f := pflag.NewFlagSet("x", pflag.ContinueOnError)
	f.Int("max-sessions", 8, "")
	f.String("name", "", "")
	f.StringSlice("bootstrap", nil, "")
	f.String("api-key", "", "")
	_ = f.SetAnnotation("name", EnvAnnotation, []string{"FARLABS_NODE_NAME"})
	return f
}

func write(t *testing.T, text string) string {
	path := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFlagWinsOverVariableOverFile(t *testing.T) {
	f := flags()
	if err := f.Parse([]string{"--max-sessions", "3"}); err != nil {
		t.Fatal(err)
	}
	path := write(t, "max_sessions: 1\nname: file\nbootstrap: [a, b]\n")
	s, err := Load(f, []string{"FARLABS_MAX_SESSIONS=2", "FARLABS_NODE_NAME=env", "OTHER=1"}, path, false)
	if err != nil {
		t.Fatal(err)
	}
	if n, _ := f.GetInt("max-sessions"); n != 3 || s.Source("max-sessions") != "flag" {
		t.Errorf("max-sessions = %d from %s", n, s.Source("max-sessions"))
	}
	if v, _ := f.GetString("name"); v != "env" || s.Source("name") != "env FARLABS_NODE_NAME" {
		t.Errorf("name = %q from %s", v, s.Source("name"))
	}
	if l, _ := f.GetStringSlice("bootstrap"); strings.Join(l, " ") != "a b" || s.Source("bootstrap") != "file "+path {
		t.Errorf("bootstrap = %v from %s", l, s.Source("bootstrap"))
	}
	if s.Source("api-key") != "default" {
		t.Errorf("api-key from %s", s.Source("api-key"))
	}
}

func TestMistakesAreNamed(t *testing.T) {
	for text, want := range map[string]string{
		"max_session: 1\n": `did you mean "max_sessions"?`,
		"max_sessions: x":  "max_sessions",
		"a: [":             "config file",
	} {
		f := flags()
		_, err := Load(f, nil, write(t, text), false)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q in it", text, err, want)
		}
	}
	if _, err := Load(flags(), []string{"FARLABS_MAX_SESSIONS=many"}, "", true); err == nil || !strings.Contains(err.Error(), "FARLABS_MAX_SESSIONS") {
		t.Errorf("error %v", err)
	}
	if _, err := Load(flags(), nil, "missing.yaml", false); err == nil {
		t.Error("a file that was named must exist")
	}
}

func TestPrintNeverShowsAKey(t *testing.T) {
	f := flags()
	_ = f.Parse([]string{"--api-key", "secret"})
	s, err := Load(f, nil, "missing.yaml", true)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	s.Print(&b)
	if strings.Contains(b.String(), "secret") || !strings.Contains(b.String(), "(set)") {
		t.Errorf("printed:\n%s", b.String())
	}
}

func TestKeysOfOtherCommandsAreLeftAlone(t *testing.T) {
	other := pflag.NewFlagSet("y", pflag.ContinueOnError)
	other.Uint64("seed", 0, "")
	f := flags()
	s, err := Load(f, nil, write(t, "seed: 7\nname: n\n"), false, other)
	if err != nil {
		t.Fatal(err)
	}
	if v, _ := f.GetString("name"); v != "n" {
		t.Errorf("name = %q", v)
	}
	if v, _ := other.GetUint64("seed"); v != 0 || s.Given("seed") {
		t.Errorf("seed of the other command = %d", v)
	}
	if _, err := Load(flags(), nil, write(t, "sede: 7\n"), false, other); err == nil {
		t.Error("a key of no command was taken")
	}
}

func TestGivenWhateverTheSpelling(t *testing.T) {
	f := flags()
	_ = f.Parse([]string{"--api-key", "k"})
	s, err := Load(f, []string{"FARLABS_NODE_NAME=n", "FARLABS_CACHE=elsewhere"}, write(t, "max_sessions: 8\n"), false)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"api-key": true, "name": true, "max-sessions": true, "bootstrap": false, "no-such": false} {
		if s.Given(name) != want {
			t.Errorf("Given(%q) = %v (%s)", name, !want, s.Source(name))
		}
	}
}
