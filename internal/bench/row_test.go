package main

import (
	"math"
	"strings"
	"testing"
)

func TestSeriesTellMedianAndPairedRatios(t *testing.T) {
	if m := (series{3, 1, 2}).median(); m != 2 {
		t.Errorf("median of three is %g", m)
	}
	if m := (series{4, 1, 2, 3}).median(); m != 2.5 {
		t.Errorf("median of four is %g", m)
	}
	// A machine that halves its speed in one round leaves the ratio as it is.
	r := (series{20, 10, 20}).over(series{10, 5, 10})
	for _, v := range r {
		if v != 2 {
			t.Errorf("ratios %v, want 2 each", r)
		}
	}
}

func TestRowMissesWhatIsBeyondItsBound(t *testing.T) {
	for _, c := range []struct {
		row    row
		missed bool
	}{
		{row{value: 1.2, bound: 1.2, least: true}, false},
		{row{value: 1.19, bound: 1.2, least: true}, true},
		{row{value: 0.6, bound: 0.6}, false},
		{row{value: 0.61, bound: 0.6}, true},
		{row{value: math.NaN(), bound: 1}, true},
		{row{value: math.NaN(), bound: 1, least: true}, true},
		{row{value: 0.1, bound: 1, least: true, free: true}, false},
	} {
		if c.row.missed() != c.missed {
			t.Errorf("%+v: missed = %v", c.row, !c.missed)
		}
		if got := strings.Contains(c.row.String(), "**missed**"); got != c.missed {
			t.Errorf("the line %q does not say so", c.row)
		}
	}
}

func TestSectionIsReplacedAndOthersStay(t *testing.T) {
	const others = "# Benchmarks\n\nWords.\n\n## One\n\nA.\n"
	first := withSection(others, "## Two", "old")
	if want := others + "\n## Two\n\nold\n"; first != want {
		t.Errorf("appended: %q, want %q", first, want)
	}
	longer := first + "\n## Three\n\nC.\n"
	if got, want := withSection(longer, "## Two", "new\n\n"), others+"\n## Two\n\nnew\n\n## Three\n\nC.\n"; got != want {
		t.Errorf("replaced: %q, want %q", got, want)
	}
	if got, want := withSection(first, "## Two", "new"), others+"\n## Two\n\nnew\n"; got != want {
		t.Errorf("replaced at the end: %q, want %q", got, want)
	}
}

func TestRoundsTakeTurnsAtBeingFirst(t *testing.T) {
	var order strings.Builder
	say := func(s string) func() error { return func() error { order.WriteString(s); return nil } }
	if err := alternate(3, say("a"), say("b")); err != nil || order.String() != "abbaab" {
		t.Errorf("order %s, %v", &order, err)
	}
}
