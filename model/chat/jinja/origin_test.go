package jinja_test

import (
	"strings"
	"testing"
	"time"

	"github.com/farlabs/inference/model/chat/jinja"
)

// marked writes data in brackets.
func marked(s jinja.Str) string {
	var b strings.Builder
	s.Segments(func(text string, data bool) {
		if data {
			text = "[" + text + "]"
		}
		b.WriteString(text)
	})
	return b.String()
}

func TestOriginIsKeptThroughOperations(t *testing.T) {
	const given = `{"u": "Ab <c> d", "v": "", "d": {"k": "w", "n": [1, "q"]}, "l": ["x", "y"], "n": 5}`
	for _, c := range []struct{ template, want string }{
		{`{{ u }}`, "[Ab <c> d]"},
		{`A{{ u }}B`, "A[Ab <c> d]B"},
		{`{{ 'p' + u + 's' }}`, "p[Ab <c> d]s"},
		{`{{ 'p' ~ u ~ n }}`, "p[Ab <c> d]5"},
		{`{{ (' p' + u + ' ') | trim }}`, "p[Ab <c> d]"},
		{`{{ ('p' + u)[1:3] }}`, "[Ab]"},
		{`{{ ('p' + u)[:2] }}`, "p[A]"},
		{`{{ ('p' + u)[::-1] }}`, "[d >c< bA]p"},
		{`{{ ('p' + u)[0] }}{{ ('p' + u)[1] }}`, "p[A]"},
		{`{{ u | replace('<', '(') }}`, "[Ab ](" + "[c> d]"},
		{`{{ 'a-b' | replace('-', u) }}`, "a[Ab <c> d]b"},
		{`{{ ('x' + u) | upper }}`, "X[AB <C> D]"},
		{`{{ ('x' + u) | title }}`, "X[ab <C> D]"},
		{`{{ ('x ' + u).split() | join(',') }}`, "x,[Ab],[<c>],[d]"},
		{`{{ u.partition(' ')[2] }}`, "[<c> d]"},
		{`{{ '<%s>' % u }}`, "<[Ab <c> d]>"},
		{`{{ '%10s|' % l[0] }}`, "         [x]|"},
		{`{{ '%%%(a)s' % {'a': u} }}`, "%[Ab <c> d]"},
		{`{{ u % () }}`, "[Ab <c> d]"},
		{`{{ '<{}|{:>3}>'.format(u, l[0]) }}`, "<[Ab <c> d]|  [x]>"},
		{`{{ u.format() }}`, "[Ab <c> d]"},
		{`{{ l | join('-') }}`, "[x]-[y]"},
		{`{{ '-'.join(l) }}`, "[x]-[y]"},
		{`{{ l }}`, "['[x]', '[y]']"},
		{`{{ d | tojson }}`, `{"[k]": "[w]", "[n]": [1, "[q]"]}`},
		{`{{ d | tojson(indent=1) }}`, "{\n \"[k]\": \"[w]\",\n \"[n]\": [\n  1,\n  \"[q]\"\n ]\n}"},
		{`{{ (u + '"') | tojson }}`, `"[Ab <c> d]\""`},
		{`{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}`, "[k]=[w];[n]=[1, '[q]'];"},
		{`{% set x %}a{{ u }}{% endset %}{{ x | indent(2, true) }}`, "  a[Ab <c> d]"},
		{`{% macro m(a) %}<{{ a }}>{{ caller() }}{% endmacro %}{% call m(u) %}{{ v }}!{% endcall %}`, "<[Ab <c> d]>!"},
		{`{% filter upper %}a{{ u }}{% endfilter %}`, "A[AB <C> D]"},
		{`{{ ('a' + u) | e }}`, "a[Ab &lt;c&gt; d]"},
		{`{{ (u + '<b>x</b>') | striptags }}`, "[Ab dx]"}, // not followed: all data
		{`{{ u | list | first }}`, "[A]"},
		{`{{ u | truncate(5, true, '..', 0) }}`, "[Ab ].."},
		{`{{ u | urlencode }}`, "[Ab%20%3Cc%3E%20d]"},
		{`{{ u | wordwrap(4) }}`, "[Ab]\n[<c>]\n[d]"},
		{`{{ u | center(10) }}`, " [Ab <c> d] "},
		{`{{ 'a\tb'.expandtabs(2) }}{{ u.zfill(9) }}`, "a b0[Ab <c> d]"},
		{`{{ '%c' % 60 }}`, "[<]"}, // numbers carry no origin
		{`{{ {'Ab <c> d': 'table'}[u] }}`, "table"},
		{`{{ u | length }}{{ n }}{{ v }}`, "85"},
		{`{{ strftime_now('%Y') }}`, "2026"},
	} {
		got, err := render(c.template, vars(t, given), time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
		if err != nil {
			t.Errorf("%s: %v", c.template, err)
		} else if marked(got) != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.template, marked(got), c.want)
		}
	}
}

// TestSegmentsAlternate holds the form of Segments: no empty piece, neighbours
// of different origin.
func TestSegmentsAlternate(t *testing.T) {
	s, err := render(`a{{ '' }}{{ u }}{{ u }}b{{ '' }}c`, vars(t, `{"u": "x"}`), time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := marked(s), "a[xx]bc"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
