package jinja_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/farlabs/inference/model/chat/jinja"
)

// language is testdata/language.json, written by testdata/language.py.
type language struct {
	Now   time.Time       `json:"now"`
	Vars  json.RawMessage `json:"vars"`
	Cases []struct {
		Template string  `json:"t"`
		Out      *string `json:"out"`
		Err      string  `json:"err"` // the Python exception's type
	} `json:"cases"`
}

func readLanguage(tb testing.TB) *language {
	tb.Helper()
	b, err := os.ReadFile("testdata/language.json")
	if err != nil {
		tb.Fatal(err)
	}
	var l language
	if err := json.Unmarshal(b, &l); err != nil {
		tb.Fatal(err)
	}
	return &l
}

// vars converts JSON to the values of a rendering; its strings are data.
func vars(tb testing.TB, text string) *jinja.Dict {
	tb.Helper()
	v, err := jinja.From(json.RawMessage(text))
	if err != nil {
		tb.Fatal(err)
	}
	return v.(*jinja.Dict)
}

func render(template string, given *jinja.Dict, now time.Time) (jinja.Str, error) {
	t, err := jinja.Parse(template)
	if err != nil {
		return jinja.Str{}, err
	}
	return t.Render(given, now)
}

func joined(s jinja.Str) string {
	var b strings.Builder
	s.Segments(func(text string, _ bool) { b.WriteString(text) })
	return b.String()
}

func TestLanguageRendersAsJinja2(t *testing.T) {
	l := readLanguage(t)
	if len(l.Cases) < 2000 {
		t.Fatalf("%d cases, there are more", len(l.Cases))
	}
	given := vars(t, string(l.Vars))
	for _, c := range l.Cases {
		got, err := render(c.Template, given, l.Now)
		switch {
		case c.Out == nil && err == nil:
			t.Errorf("%s\n got %q, want an error like %s", c.Template, got, c.Err)
		case c.Out != nil && err != nil:
			t.Errorf("%s\n got error %v, want %q", c.Template, err, *c.Out)
		case c.Out != nil && got.String() != *c.Out:
			t.Errorf("%s\n got %q\nwant %q", c.Template, got, *c.Out)
		}
		if j := joined(got); j != got.String() {
			t.Errorf("%s\n segments %q, text %q", c.Template, j, got)
		}
	}
}

func TestWindowsLineEndsRenderAsUnixOnes(t *testing.T) {
	l := readLanguage(t)
	given := vars(t, string(l.Vars))
	for _, c := range l.Cases {
		if c.Out == nil || !strings.Contains(c.Template, "\n") {
			continue
		}
		got, err := render(strings.ReplaceAll(c.Template, "\n", "\r\n"), given, l.Now)
		if err != nil || got.String() != *c.Out {
			t.Errorf("%q: got %q, %v, want %q", c.Template, got, err, *c.Out)
		}
	}
}
