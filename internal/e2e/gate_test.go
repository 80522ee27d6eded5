//go:build bench && unix

package e2e

import (
	"context"
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/kernels/device"
	"github.com/farlabs/inference/pipeline"
	"github.com/farlabs/inference/pipeline/wire"
)

var report = flag.String("report", "", "file into which the table of the gates is written")

// rounds of each measurement; the configurations of a row take turns in each.
const rounds = 5

// gate is one row of the table: a figure and the bound that it must keep.
type gate struct {
	name  string
	value float64
	unit  string
	bound float64
	least bool // value ≥ bound; else value ≤ bound
	note  string
}

func (g gate) ok() bool {
	if g.least {
		return g.value >= g.bound
	}
	return g.value <= g.bound
}

func (g gate) String() string {
	sign, verdict := "≤", "ok"
	if g.least {
		sign = "≥"
	}
	if !g.ok() {
		verdict = "**missed**"
	}
	return fmt.Sprintf("| %s | %.3g %s | %s %.3g | %s | %s |", g.name, g.value, g.unit, sign, g.bound, verdict, g.note)
}

// TestGates measures what speed and latency promises can be measured on one
// machine. It fails when a promise is missed, and writes the table.
func TestGates(t *testing.T) {
	groups := []struct {
		name    string
		measure func(*testing.T) []gate
	}{
		{"speed", speedGates}, {"join", joinGate}, {"loss", lossGate}, {"stall", stallGate},
	}
	var gates []gate
	measured := 0
	for _, g := range groups {
		t.Run(g.name, func(t *testing.T) {
			rows := g.measure(t)
			for _, r := range rows {
				t.Log(r)
			}
			gates = append(gates, rows...)
			measured++
		})
	}
	if t.Failed() {
		t.Fatal("not everything could be measured: no table is written")
	}
	if *report != "" && measured == len(groups) { // -run may choose some
		old, _ := os.ReadFile(*report)
		_, sections, found := strings.Cut(string(old), "\n## ") // of other programs
		text := table(gates)
		if found {
			text += "\n## " + sections
		}
		if err := os.WriteFile(*report, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, g := range gates {
		if !g.ok() {
			t.Errorf("missed: %s", g)
		}
	}
}

// speedGates measures tokens per second and what a hop adds.
func speedGates(t *testing.T) (gates []gate) {
	one := Chain(t, "0:30")
	three := Chain(t, thirds...)
	single := Dial(t, ClientOptions{Bootstrap: []string{one[0].Addr}})
	ring := Dial(t, ClientOptions{Bootstrap: []string{three[0].Addr}})
	add := func(g gate) { gates = append(gates, g) }

	decode1, decode3, many := series{}, series{}, series{}
	for range rounds {
		decode1.add(decodeRate(t, single, 48))
		decode3.add(decodeRate(t, ring, 48))
		many.add(manyRate(t, single, 8, 24))
	}
	add(gate{"decode, one node", decode1.median(), "tok/s", 10, true, decode1.spread()})
	add(gate{"decode, three nodes ÷ one node", decode3.median() / decode1.median(), "", 0.80, true, "three: " + decode3.spread()})
	add(gate{"8 sessions at once ÷ one", many.median() / decode1.median(), "", 1.4, true, "total tok/s: " + many.spread()})

	small, large := series{}, series{}
	for range rounds {
		small.add(prefillRate(t, single, 1))
		large.add(prefillRate(t, single, 512))
	}
	add(gate{"prefill, chunk 512 ÷ chunk 1", large.median() / small.median(), "", 1.4, true, "chunk 512, tok/s: " + large.spread()})

	gaps := hopGaps(t, ring, 1000)
	slices.Sort(gaps)
	add(gate{"hop overhead, p50 of 1,000 steps", gaps[len(gaps)/2], "ms", 1, false, fmt.Sprintf("p95 %.2f, p99 %.2f ms", gaps[len(gaps)*95/100], gaps[len(gaps)*99/100])})
	return gates
}

// series is one figure over the rounds.
type series []float64

func (s *series) add(v float64) { *s = append(*s, v) }

func (s series) median() float64 {
	v := slices.Sorted(slices.Values(s))
	return v[len(v)/2]
}

func (s series) spread() string {
	return fmt.Sprintf("%.3g–%.3g in %d rounds", slices.Min(s), slices.Max(s), len(s))
}

// decodeRate returns the tokens per second of one greedy answer, first token
// excluded.
func decodeRate(t *testing.T, c *Client, tokens int) float64 {
	t.Helper()
	var first time.Time
	n := 0
	for d, err := range c.P.Generate(t.Context(), pipeline.Request{Prompt: "The history of the river Thames", MaxTokens: tokens, IgnoreEOS: true}) {
		if err != nil {
			t.Fatal(err)
		}
		if len(d.Tokens) > 0 {
			if first.IsZero() {
				first = time.Now()
			}
			n += len(d.Tokens)
		}
	}
	return float64(n-1) / time.Since(first).Seconds()
}

// manyRate returns the tokens per second of sessions at once, all together,
// from when the last has its first token to when the first ends.
func manyRate(t *testing.T, c *Client, sessions, tokens int) float64 {
	t.Helper()
	var mu sync.Mutex
	var starts, ends, stamps []time.Time
	var wg sync.WaitGroup
	for i := range sessions {
		wg.Go(func() {
			began := false
			for d, err := range c.P.Generate(t.Context(), pipeline.Request{Prompt: fmt.Sprintf("Chapter %d. The history of the river", i), MaxTokens: tokens, IgnoreEOS: true}) {
				if err != nil {
					t.Error(err)
					return
				}
				now := time.Now()
				mu.Lock()
				for range d.Tokens {
					stamps = append(stamps, now)
				}
				if !began && len(d.Tokens) > 0 {
					began = true
					starts = append(starts, now)
				}
				mu.Unlock()
			}
			mu.Lock()
			ends = append(ends, time.Now())
			mu.Unlock()
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	from, to := slices.MaxFunc(starts, time.Time.Compare), slices.MinFunc(ends, time.Time.Compare)
	n := 0
	for _, s := range stamps {
		if s.After(from) && !s.After(to) {
			n++
		}
	}
	return float64(n) / to.Sub(from).Seconds()
}

// prefillRate returns the prompt tokens per second at a chunk size.
func prefillRate(t *testing.T, c *Client, chunk int) float64 {
	t.Helper()
	s, err := c.P.Open(t.Context(), pipeline.SessionOptions{Chunk: chunk, Wire: inference.WireBF16})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	step := func(start int, ids []inference.TokenID) time.Duration {
		begin := time.Now()
		if _, err := s.Step(t.Context(), nil, []pipeline.Group{{Start: start, IDs: ids, Want: wire.WantLast}}); err != nil {
			t.Fatal(err)
		}
		return time.Since(begin)
	}
	ids := make([]inference.TokenID, 513)
	for i := range ids {
		ids[i] = inference.TokenID(1000 + 37*i)
	}
	step(0, ids[:1]) // opens the session
	return float64(len(ids)-1) / step(1, ids[1:]).Seconds()
}

// hopGaps returns, for steps of one row, the milliseconds from the end of the
// forward pass at one hop to the start of the one at the next.
func hopGaps(t *testing.T, c *Client, steps int) []float64 {
	t.Helper()
	s, err := c.P.Open(t.Context(), pipeline.SessionOptions{Wire: inference.WireBF16})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var gaps []float64
	for i := range steps {
		if _, err := s.Step(context.WithoutCancel(t.Context()), nil, []pipeline.Group{{Start: i, IDs: []inference.TokenID{inference.TokenID(1000 + i)}, Want: wire.WantLast, Line: inference.LineDecode}}); err != nil {
			t.Fatal(err)
		}
		for _, h := range s.Route().Hops[1:] {
			gaps = append(gaps, ms(h.Gap))
		}
	}
	return gaps
}

func ms(d time.Duration) float64 { return float64(d) / 1e6 }

func table(gates []gate) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Benchmarks\n\nWritten by `make bench-gate`: medians of %d rounds in which the configurations take turns, or the worst case where a row says so, all processes on one machine.\n\n", rounds)
	fmt.Fprintf(&b, "%s, %d cores, %s, %s/%s. SmolLM2-135M-Instruct Q4_1, kernels %s, numerics class %s, bf16 on the wire.\n\n",
		time.Now().UTC().Format("2006-01-02"), runtime.NumCPU(), cpu(), runtime.GOOS, runtime.GOARCH, device.Kernels(), inference.Numerics{}.Class())
	b.WriteString("| what | measured | bound | | spread |\n|---|---|---|---|---|\n")
	for _, g := range gates {
		fmt.Fprintln(&b, g)
	}
	return b.String()
}

// cpu returns the processor's name where the system tells it.
func cpu() string {
	b, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(b)) {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == "model name" {
			return strings.TrimSpace(v)
		}
	}
	return runtime.GOARCH
}
