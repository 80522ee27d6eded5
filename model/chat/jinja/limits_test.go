package jinja_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/farlabs/inference/model/chat/jinja"
)

func TestLimitsStopTemplates(t *testing.T) {
	rep := strings.Repeat
	for name, template := range map[string]string{
		"source":       rep("a", jinja.MaxSource+1),
		"nesting":      rep("{% if x %}", 200) + rep("{% endif %}", 200),
		"parentheses":  "{{ " + rep("(", 200) + "1" + rep(")", 200) + " }}",
		"not":          "{{ " + rep("not ", 500) + "x }}",
		"minus":        "{{ " + rep("-", 500) + "1 }}",
		"operators":    "{{ 1" + rep("+1", 2000) + " }}",
		"subscripts":   "{{ x" + rep("[0]", 2000) + " }}",
		"filters":      "{{ x" + rep("|e", 2000) + " }}",
		"digits":       "{{ " + rep("9", 10_000) + " }}",
		"tree":         "{{ (((1" + rep(rep("+1", 400)+")", 3) + " }}",
		"calls":        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
		"caller":       "{% macro m() %}{% call m() %}{{ caller() }}{% endcall %}{% endmacro %}{{ m() }}",
		"recursion":    "{% for a in [1] recursive %}{{ loop([1]) }}{% endfor %}",
		"steps":        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
		"output":       "{% for a in range(99999) %}{{ 'a' * 99999 }}{% endfor %}",
		"string":       "{{ 'ab' * 99999999 }}",
		"doubling":     "{% set n = namespace(s='ab') %}{% for i in range(99) %}{% set n.s = n.s ~ n.s %}{% endfor %}",
		"list":         "{% set n = namespace(s=[1]) %}{% for i in range(99) %}{% set n.s = n.s + n.s %}{% endfor %}",
		"depth":        "{% set n = namespace(s=[]) %}{% for i in range(9999) %}{% set n.s = [n.s] %}{% endfor %}{{ n.s }}",
		"depth, json":  "{% set n = namespace(s=[]) %}{% for i in range(9999) %}{% set n.s = [n.s] %}{% endfor %}{{ n.s|tojson }}",
		"depth, equal": "{% set n = namespace(s=[], t=[]) %}{% for i in range(9999) %}{% set n.s = [n.s] %}{% set n.t = [n.t] %}{% endfor %}{{ n.s == n.t }}",
		"depth, key":   "{% set n = namespace(s=()) %}{% for i in range(9999) %}{% set n.s = (n.s,) %}{% endfor %}{{ {n.s: 1} }}",
		"breadth":      "{% set n = namespace(s=[1]) %}{% for i in range(99) %}{% set n.s = [n.s, n.s] %}{% endfor %}{{ n.s }}",
		"breadth, key": "{% set n = namespace(s=(1,)) %}{% for i in range(60) %}{% set n.s = (n.s, n.s) %}{% endfor %}{{ {n.s: 1} }}",
		"range":        "{{ range(100001) }}",
		"power":        "{{ 2 ** 99999 }}",
		"tower":        "{% set n = namespace(s=3) %}{% for i in range(99) %}{% set n.s = n.s * n.s %}{% endfor %}",
		"percent":      "{{ '%99999999d' % 1 }}",
		"format":       "{{ '{:99999999}'.format(1) }}",
		"center":       "{{ 'a'.center(999999999) }}",
		"indent":       "{{ 'a' | indent(999999999, true) }}",
		"json indent":  "{{ [1] | tojson(indent=999999999) }}",
		"tabs":         `{{ ('\t' * 999).expandtabs(9999999) }}`,
		"replace":      "{{ ('a' * 99999) | replace('', 'b' * 99999) }}",
		"join":         "{{ range(99999) | join('b' * 99999) }}",
		"batch":        "{{ [1] | batch(999999999, 1) | list }}",
		"slice":        "{{ [1] | slice(999999999) | list }}",
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			s, err := render(template, jinja.NewDict(), time.Time{})
			if !errors.Is(err, jinja.ErrLimit) {
				t.Errorf("got %d bytes, error %v, want a limit", len(s.String()), err)
			}
			if d := time.Since(start); d > 20*time.Second {
				t.Errorf("stopped only after %v", d)
			}
		})
	}
}

func TestDeepInputIsRefused(t *testing.T) {
	for _, text := range []string{strings.Repeat("[", 5000) + strings.Repeat("]", 5000), strings.Repeat(`{"a":`, 5000) + "1" + strings.Repeat("}", 5000)} {
		if _, err := jinja.From(json.RawMessage(text)); !errors.Is(err, jinja.ErrLimit) {
			t.Errorf("got %v, want a limit", err)
		}
	}
	var v any
	for range 5000 {
		v = []any{v}
	}
	if _, err := jinja.From(v); !errors.Is(err, jinja.ErrLimit) {
		t.Errorf("got %v, want a limit", err)
	}
}

func TestErrorsNameLineAndReason(t *testing.T) {
	for _, c := range []struct {
		template string
		line     int
		reason   string
	}{
		{"a\n{{ x", 2, "expected end of print statement"},
		{"a\nb\n{% if %}", 3, "expected an expression"},
		{"\n{% foo %}", 2, `unknown tag "foo"`},
		{"{% if x %}\n\n", 2, "unexpected end of template"},
		{"\n{# open", 2, "missing end of comment"},
		{"\n\n{{ 'a' }}{{ 'b }}", 3, "unexpected char"},
		{"\n{{ x|nope }}", 2, `no filter named "nope"`},
		{"\n{{ x is nope }}", 2, `no test named "nope"`},
		{"\n{% include 'a' %}", 2, `"include" is not implemented`},
		{"a\n{% for i in [1] %}\n{{ i.b.c }}{% endfor %}", 3, "'int object' has no attribute 'b'"},
		{"\n\n{{ 1 + 'a' }}", 3, "unsupported operand type(s) for +: 'int' and 'str'"},
		{"{% macro m() %}\n{{ nope() }}{% endmacro %}\n{{ m() }}", 2, "'nope' is undefined"},
		{"\n{{ raise_exception('no ' ~ 1) }}", 2, "no 1"},
		{"{{ [].append(1) }}", 1, "unsafe"},
		{"{{ ''.__class__ ~ ''.__class__.__mro__ }}", 1, "unsafe"},
	} {
		_, err := render(c.template, jinja.NewDict(), time.Time{})
		var e *jinja.Error
		if !errors.As(err, &e) {
			t.Errorf("%q: error %v, want *jinja.Error", c.template, err)
			continue
		}
		if e.Line != c.line || !strings.Contains(e.Error(), c.reason) {
			t.Errorf("%q: got %v, want line %d: %s", c.template, err, c.line, c.reason)
		}
	}
}

func TestRaisedErrorCarriesTheAuthorsWords(t *testing.T) {
	_, err := render("{{ raise_exception('Only ' + role) }}", vars(t, `{"role": "users"}`), time.Time{})
	var e *jinja.RaisedError
	if !errors.As(err, &e) || e.Message != "Only users" {
		t.Errorf("got %v", err)
	}
}

func TestOneTemplateRendersConcurrently(t *testing.T) {
	tmpl, err := jinja.Parse("{% set n = namespace(i=0) %}{% for x in l %}{% set n.i = n.i + x %}{{ n.i }},{% endfor %}{{ l | tojson }}")
	if err != nil {
		t.Fatal(err)
	}
	given := vars(t, `{"l": [1, 2, 3]}`)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				if s, err := tmpl.Render(given, time.Time{}); err != nil || s.String() != "1,3,6,[1, 2, 3]" {
					t.Errorf("got %q, %v", s, err)
				}
			}
		})
	}
	wg.Wait()
}

func TestTimeFormatsAsC(t *testing.T) {
	now := time.Date(2024, 12, 30, 0, 5, 9, 42000, time.FixedZone("X", 3600))
	got, err := render(`{{ strftime_now("%a %A %b %B %C %d %e %-d %D %F %g %G %H %I %j %k %l %m %M %n%p %P %r %R %S %T %u %U %V %w %W %x %X %y %Y %% %^a %_H %f") }}`,
		jinja.NewDict(), now)
	want := "Mon Monday Dec December 20 30 30 30 12/30/24 2024-12-30 25 2025 00 12 365  0 12 12 05 \nAM am 12:05:09 AM 00:05 09 00:05:09 1 52 01 1 53 12/30/24 00:05:09 24 2024 % MON  0 000042"
	if err != nil || got.String() != want {
		t.Errorf("got  %q, %v\nwant %q", got, err, want)
	}
	if _, err := render(`{{ strftime_now("%Q") }}`, jinja.NewDict(), now); err == nil {
		t.Error("an unknown directive renders")
	}
}

func TestFromConvertsGoValues(t *testing.T) {
	type inner struct {
		B int    `json:"b"`
		A string `json:"a"`
	}
	v, err := jinja.From(map[string]any{
		"z": []any{1, int64(2), 2.5, true, nil, "s\xff"}, "a": []string{"x"}, "m": inner{1, "y"},
		"j": json.RawMessage(`{"q":1,"b":[18446744073709551616,1e2,-0,1E400]}`), "n": json.Number("7"), "u": uint8(3),
	})
	if err != nil {
		t.Fatal(err)
	}
	d := jinja.NewDict()
	d.Set(jinja.Text("v"), v)
	got, err := render("{{ v }}", d, time.Time{})
	want := `{'a': ['x'], 'j': {'q': 1, 'b': [18446744073709551616, 100.0, 0, inf]}, 'm': {'b': 1, 'a': 'y'}, 'n': 7, 'u': 3, 'z': [1, 2, 2.5, True, None, 's` + "\ufffd" + `']}`
	if err != nil || got.String() != want {
		t.Errorf("got  %s, %v\nwant %s", got, err, want)
	}
	for _, bad := range []any{json.RawMessage(`{"a":`), json.RawMessage(`1 2`), json.Number("x"), func() {}, make(chan int)} {
		if v, err := jinja.From(bad); err == nil {
			t.Errorf("From(%v) = %v", bad, v)
		}
	}
}

func FuzzTemplate(f *testing.F) {
	const given = `{"messages":[{"role":"user","content":"Hi é"},{"role":"assistant","content":null}],"x":5,"l":[3,"a",1.5],"d":{"k":{}},"t":true}`
	l := readLanguage(f)
	for i, c := range l.Cases {
		if i%20 == 0 {
			f.Add(c.Template, given)
		}
	}
	for _, s := range []string{
		"{% for m in messages %}{{ '<|' ~ m.role ~ '|>' + (m.content or '') | trim }}{% endfor %}",
		"{%- set ns = namespace(a=1) -%}{% macro f(a, b=2) %}{{ a }}{{ varargs }}{{ caller() }}{% endmacro %}{% call(x) f(1, 2, 3) %}{{ x }}{% endcall %}",
		"{% for a in d recursive %}{{ loop(a) }}{{ loop.cycle(1,2) }}{% break %}{% else %}{% endfor %}",
		"{{ '%5.2f|%s' % (x, l) }}{{ '{0:>{w}}'.format(1, w=9) }}{{ d|tojson(indent=2) }}{{ l[::-1] }}",
		"{% raw %}{{ {% endraw %}{# c -#}  {%+ if x is divisibleby 5 %}{% endif -%} {{ strftime_now('%d') }}",
	} {
		f.Add(s, given)
	}
	f.Fuzz(func(t *testing.T, template, given string) {
		v, err := jinja.From(json.RawMessage(given))
		if err != nil {
			return
		}
		d, ok := v.(*jinja.Dict)
		if !ok {
			return
		}
		s, err := render(template, d, time.Unix(0, 0).UTC())
		if err != nil {
			if fmt.Sprint(err) == "" {
				t.Error("an error without a reason")
			}
			return
		}
		last := -1
		s.Segments(func(text string, data bool) {
			kind := map[bool]int{true: 1}[data]
			if text == "" || kind == last {
				t.Errorf("segments of %q do not alternate", template)
			}
			last = kind
		})
		if joined(s) != s.String() {
			t.Errorf("segments of %q are not its text", template)
		}
		again, err := render(template, d, time.Unix(0, 0).UTC())
		if err != nil || marked(again) != marked(s) {
			t.Errorf("%q renders once as %q, then as %q, %v", template, s, again, err)
		}
	})
}
