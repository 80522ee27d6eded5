package simnet_test

import (
	"context"
	"flag"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/internal/simnet"
	"github.com/farlabs/inference/model/modeltest"
	"github.com/farlabs/inference/pipeline"
)

// The random models: six blocks, 272 logits, 2,048 positions. Most tests take
// the tiny one, so that the race detector gets through.
var tiny, small, untied *simnet.Model

const (
	d        = 16    // width of a row of the tiny model
	rowBytes = 2 * d // in bf16
)

func TestMain(m *testing.M) {
	flag.Parse()
	checks := "40"
	if raceEnabled {
		checks = "10"
	}
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "rapid.checks" })
	if !given {
		flag.Set("rapid.checks", checks)
	}
	dir, err := os.MkdirTemp("", "simnet")
	if err != nil {
		panic(err)
	}
	little := modeltest.Llama{
		Layers: 6, Hidden: d, Heads: 2, KVHeads: 1, HeadDim: 8, RopeDims: 8, FFN: 32, Vocab: 272, Context: 2048,
		RopeTheta: 10000, NormEps: 1e-5,
	}
	if tiny, err = simnet.Load(filepath.Join(dir, "tiny.gguf"), little); err != nil {
		panic(err)
	}
	if small, err = simnet.Load(filepath.Join(dir, "small.gguf"), modeltest.Small()); err != nil {
		panic(err)
	}
	if untied, err = simnet.Load(filepath.Join(dir, "untied.gguf"), modeltest.Untied()); err != nil {
		panic(err)
	}
	code := m.Run()
	tiny.Close()
	small.Close()
	untied.Close()
	os.RemoveAll(dir)
	os.Exit(code)
}

// run calls f with an empty cluster in a bubble, and checks that nothing is
// left afterwards.
func run(t *testing.T, f func(t *testing.T, c *simnet.Cluster)) {
	t.Helper()
	runModel(t, tiny, f)
}

// runModel is run for another model than the tiny one.
func runModel(t *testing.T, m *simnet.Model, f func(t *testing.T, c *simnet.Cluster)) {
	t.Helper()
	bubble(t, m, func(t *testing.T, c *simnet.Cluster) {
		defer c.End()
		f(t, c)
	})
}

// bubble calls f with an empty cluster, which f ends.
func bubble(t *testing.T, m *simnet.Model, f func(t *testing.T, c *simnet.Cluster)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := simnet.New(t, m)
		if os.Getenv("SIMNET_LOG") != "" {
			c.Log(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})))
		}
		f(t, c)
	})
}

// tokens returns n ids that depend on seed.
func tokens(seed, n int) []inference.TokenID {
	ids := make([]inference.TokenID, n)
	for i := range ids {
		ids[i] = inference.TokenID((seed*131 + i*i*17 + i*7 + 3) % 263)
	}
	return ids
}

// answer is what a reader got of one request.
type answer struct {
	text   []string // by choice
	ids    [][]inference.TokenID
	finish []pipeline.Finish
	usage  *inference.Usage
	routes []pipeline.RouteInfo
	deltas []pipeline.Delta
	times  []time.Time // of the request and each delta
	err    error
}

// ask reads the whole answer to r; each, if not nil, sees every delta.
func ask(ctx context.Context, p *pipeline.DistributedPipeline, r pipeline.Request, each func(a *answer, d pipeline.Delta)) *answer {
	n := max(r.N, 1)
	a := &answer{times: []time.Time{time.Now()}, text: make([]string, n), ids: make([][]inference.TokenID, n), finish: make([]pipeline.Finish, n)}
	for d, err := range p.Generate(ctx, r) {
		if err != nil {
			a.err = err
			break
		}
		a.text[d.Choice] += d.Text
		for _, tok := range d.Tokens {
			a.ids[d.Choice] = append(a.ids[d.Choice], tok.ID)
		}
		if d.Finish != "" {
			a.finish[d.Choice] = d.Finish
		}
		if d.Usage != nil {
			a.usage = d.Usage
		}
		if d.Route != nil {
			a.routes = append(a.routes, *d.Route)
		}
		a.deltas = append(a.deltas, d)
		a.times = append(a.times, time.Now())
		if each != nil {
			each(a, d)
		}
	}
	return a
}

// gap is the longest time without a delta.
func (a *answer) gap() (longest time.Duration) {
	for i := 1; i < len(a.times); i++ {
		longest = max(longest, a.times[i].Sub(a.times[i-1]))
	}
	return longest
}

// epoch is that of the last route the reader was told.
func (a *answer) epoch() inference.Epoch { return a.routes[len(a.routes)-1].Epoch }

// want demands that choice i has exactly these tokens.
func (a *answer) want(t *testing.T, i int, ids []inference.TokenID) {
	t.Helper()
	if a.err != nil {
		t.Fatalf("after %d tokens: %v", len(a.ids[i]), a.err)
	}
	if !slices.Equal(a.ids[i], ids) {
		at := 0
		for at < len(ids) && at < len(a.ids[i]) && ids[at] == a.ids[i][at] {
			at++
		}
		t.Fatalf("choice %d has %d tokens, want %d; the first %d are equal\n got %v\nwant %v", i, len(a.ids[i]), len(ids), at, a.ids[i], ids)
	}
	if text := tiny.Tokenizer.Decode(ids); a.text[i] != text {
		t.Errorf("text %q, want %q", a.text[i], text)
	}
}
