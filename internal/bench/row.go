package main

import (
	"fmt"
	"slices"
	"strings"
)

// series is one figure over the rounds.
type series []float64

func (s *series) add(v float64) { *s = append(*s, v) }

func (s series) median() float64 {
	v := slices.Sorted(slices.Values(s))
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}

func (s series) spread() string {
	return fmt.Sprintf("%.3g–%.3g", slices.Min(s), slices.Max(s))
}

// over returns s ÷ t round by round.
func (s series) over(t series) series {
	r := make(series, len(s))
	for i := range s {
		r[i] = s[i] / t[i]
	}
	return r
}

// row is one line of the table: a figure and the bound that it must keep.
type row struct {
	what         string
	ours, theirs string  // medians with units
	value        float64 // what the bound is about
	unit         string
	bound        float64
	least        bool // value ≥ bound; else value ≤ bound
	free         bool // told, not bounded
	note         string
}

func (r row) missed() bool {
	if r.free {
		return false
	}
	if r.least {
		return !(r.value >= r.bound) // NaN too
	}
	return !(r.value <= r.bound)
}

func (r row) String() string {
	bound, verdict := "", ""
	if !r.free {
		bound, verdict = fmt.Sprintf("≤ %.4g", r.bound), "ok"
		if r.least {
			bound = fmt.Sprintf("≥ %.4g", r.bound)
		}
		if r.missed() {
			verdict = "**missed**"
		}
	}
	return fmt.Sprintf("| %s | %s | %s | %.3g%s | %s | %s | %s |", r.what, r.ours, r.theirs, r.value, r.unit, bound, verdict, r.note)
}

func table(rows []row) string {
	var b strings.Builder
	b.WriteString("| what | ours | llama.cpp | figure | bound | | |\n|---|---|---|---|---|---|---|\n")
	for _, r := range rows {
		fmt.Fprintln(&b, r)
	}
	return b.String()
}

// add tells a row at once and keeps it for the table.
func (b *bench) add(r row) {
	b.log("%s", r)
	b.rows = append(b.rows, r)
}

// ratio adds the row of ours ÷ theirs, or, for what should be small, a bound from above.
func (b *bench) ratio(what, unit string, ours, theirs series, bound float64, least bool, note string) {
	r := ours.over(theirs)
	if note != "" {
		note = "; " + note
	}
	b.add(row{
		what: what, ours: quantity(ours.median(), unit), theirs: quantity(theirs.median(), unit),
		value: r.median(), bound: bound, least: least, note: r.spread() + note,
	})
}

func quantity(v float64, unit string) string { return fmt.Sprintf("%.3g %s", v, unit) }

func percent(share float64) string { return fmt.Sprintf("%.0f %%", 100*share) }

func (s series) max() float64 { return slices.Max(s) }
