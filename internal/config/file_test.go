package config

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

func TestValuesOfAFileAreReadAsTheyAreWritten(t *testing.T) {
	f := flags()
	f.String("wallet", "", "")
	f.Bool("verbose", false, "")
	path := write(t, `# what a person writes
name: 0123
wallet: 0x00000000000000000000000000000000000000ff
api_key: "no"
max_sessions: 5
verbose: true
bootstrap:
  - 1e3
  - "a,b"
`)
	if _, err := Load(f, nil, path, false); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"name": "0123", "wallet": "0x00000000000000000000000000000000000000ff", "api-key": "no", "max-sessions": "5", "verbose": "true",
	} {
		if got := f.Lookup(name).Value.String(); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	if l, _ := f.GetStringSlice("bootstrap"); len(l) != 2 || l[0] != "1e3" || l[1] != "a,b" {
		t.Errorf("bootstrap = %q", l)
	}
}

func TestFilesWithoutSettingsAreFine(t *testing.T) {
	for _, text := range []string{"", "# only a comment\n", "---\n", "~\n", "{}\n", "bootstrap: []\n"} {
		if _, err := Load(flags(), nil, write(t, text), false); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestWhatAFileCannotSayIsRefused(t *testing.T) {
	for text, want := range map[string]string{
		"name: [a, b]\n":                "name: want one value, not a list",
		"name:\n":                       "line 1: name: no value",
		"max_sessions: 1\nname: ~\n":    "line 2: name: no value",
		"bootstrap: [a, ~]\n":           "no value",
		"name: {a: 1}\n":                "want one value",
		"bootstrap: [[a]]\n":            "want one value",
		"name: a\nname: b\n":            "name is there twice",
		"- name\n":                      `want lines such as "memory: 6GiB"`,
		"name\n":                        `want lines such as`,
		"name: a\n---\nname: b\n":       "one YAML document",
		"max-sessions: 3\n":             `did you mean "max_sessions"?`,
		"MaxSessions: 3\n":              `did you mean "max_sessions"?`,
		"help: true\n":                  `no setting is called "help"`,
		"max_sessions: 0x5g\n":          `"0x5g": want a whole number`,
		strings.Repeat("#\n", maxFile):  "longer than",
		"a: &a [x]\nb: [*a, *a]\n":      "want one value",
		"name: &n x\nother: *n\nq: *n ": "no setting is called",
	} {
		_, err := Load(flags(), nil, write(t, text), false)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.30q: error %v, want %q in it", text, err, want)
		}
	}
	if _, err := Load(flags(), nil, t.TempDir(), true); err == nil {
		t.Error("a folder was read")
	}
}

// A hint for a key that is another command's.
func TestAHintKnowsTheKeysOfOtherCommands(t *testing.T) {
	other := pflag.NewFlagSet("y", pflag.ContinueOnError)
	other.Int("max-tokens", 0, "")
	_, err := Load(flags(), nil, write(t, "max-tokens: 3\n"), false, other)
	if err == nil || !strings.Contains(err.Error(), `did you mean "max_tokens"?`) {
		t.Error(err)
	}
}

func TestAKeyThatIsNotSetIsNotShownAsSet(t *testing.T) {
	f := pflag.NewFlagSet("x", pflag.ContinueOnError)
	f.StringSlice("api-key", nil, "")
	s, err := Load(f, nil, filepath.Join(t.TempDir(), "none"), true)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	s.Print(&b)
	if strings.Contains(b.String(), "(set)") {
		t.Errorf("printed %q", b.String())
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"a: 1\n", "a: [b, 0x1]\n", "a: &x b\nc: *x\n", "<<: {a: b}\n", "? [a]\n: b\n", "a:\n  - ~\n", "{", "\xff", "--- |\n a\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		values, err := parse(b)
		for k, v := range values {
			if err != nil || !v.list && len(v.words) != 1 {
				t.Errorf("%q: %+v, error %v", k, v, err)
			}
		}
	})
}
