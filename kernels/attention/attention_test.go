package attention

import (
	"fmt"
	"math"
	"testing"

	"github.com/farlabs/inference/kernels/device"
	"github.com/farlabs/inference/kernels/kerneltest"
	"github.com/farlabs/inference/kernels/tensor"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func queue(t testing.TB, workers int) *device.Queue {
	q := device.NewQueue(workers)
	t.Cleanup(q.Close)
	return q
}

// pages returns pages for n positions, full of NaN: no page may be read where
// nothing was stored.
func pages(p Params, n int) []Page {
	s := make([]Page, (n+PageSize-1)/PageSize)
	for i := range s {
		size := p.KVHeads * PageSize * p.HeadDim
		s[i] = Page{make([]float32, size), make([]float32, size)}
		for e := range size {
			s[i].K[e], s[i].V[e] = float32(math.NaN()), float32(math.NaN())
		}
	}
	return s
}

// branch is a run of positions with random queries, keys and values.
type branch struct{ q, k, v tensor.Buffer }

func newBranch(seed uint64, p Params, n int) branch {
	r := kerneltest.Rand(seed)
	return branch{
		kerneltest.Buffer(r, n, p.Heads*p.HeadDim),
		kerneltest.Buffer(r, n, p.KVHeads*p.HeadDim),
		kerneltest.Buffer(r, n, p.KVHeads*p.HeadDim),
	}
}

// run takes a branch through the ops chunk positions at a time.
func (b branch) run(q *device.Queue, p Params, chunk int) tensor.Buffer {
	n := b.q.Rows
	dst, pg := kerneltest.Zeros(n, b.q.Cols), pages(p, n)
	for lo := 0; lo < n; lo += chunk {
		hi := min(lo+chunk, n)
		segs := []Segment{{N: hi - lo, Start: lo, Pages: pg}}
		Store(q, b.k.Slice(lo, hi), b.v.Slice(lo, hi), p, segs)
		Causal(q, dst.Slice(lo, hi), b.q.Slice(lo, hi), p, segs)
	}
	return dst
}

// at computes the given positions of a branch, each as a segment of its own.
func (b branch) at(q *device.Queue, p Params, positions []int) tensor.Buffer {
	n := b.q.Rows
	pg := pages(p, n)
	Store(q, b.k, b.v, p, []Segment{{N: n, Pages: pg}})
	query := kerneltest.Zeros(len(positions), b.q.Cols)
	var segs []Segment
	for i, at := range positions {
		copy(query.Row(i), b.q.Row(at))
		segs = append(segs, Segment{Row: i, N: 1, Start: at, Pages: pg})
	}
	Causal(q, query, query, p, segs)
	return query
}

// edges are positions around the ends of pages and blocks.
var edges = []int{0, 1, 14, 15, 16, 17, 100, 255, 256, 257, 511, 512, 530}

// exact computes row i, head h in float64 as softmax is defined; magnitude is
// the weighted sum of |v|.
func (b branch) exact(p Params, i, h int) (o, magnitude []float64) {
	d, kv := p.HeadDim, h/(p.Heads/p.KVHeads)
	q := b.q.Row(i)[h*d : (h+1)*d]
	w, sum, top := make([]float64, i+1), 0.0, math.Inf(-1)
	for j := range w {
		for x, v := range b.k.Row(j)[kv*d : (kv+1)*d] {
			w[j] += float64(q[x]) * float64(v)
		}
		w[j] *= float64(p.Scale)
		top = max(top, w[j])
	}
	for j := range w {
		w[j] = math.Exp(w[j] - top)
		sum += w[j]
	}
	o, magnitude = make([]float64, d), make([]float64, d)
	for j := range w {
		for x, v := range b.v.Row(j)[kv*d : (kv+1)*d] {
			o[x] += w[j] / sum * float64(v)
			magnitude[x] += w[j] / sum * math.Abs(float64(v))
		}
	}
	return o, magnitude
}

var shapes = []Params{
	{1, 1, 1, 1},
	{1, 1, 7, 0.3},
	{3, 1, 16, 0.25},
	{9, 3, 64, 0.125},
	{4, 4, 24, 0.2},
	{8, 2, 80, 0.11},
	{4, 1, 128, 0.0884},
}

func TestCausalIsSoftmax(t *testing.T) {
	kerneltest.All(t, "attention", func(t *testing.T, impl string) {
		q := queue(t, 2)
		for s, p := range shapes {
			b := newBranch(uint64(s), p, 531)
			got := b.at(q, p, edges)
			for i, at := range edges {
				for h := range p.Heads {
					want, size := b.exact(p, at, h)
					for x := range want {
						// Beside the sum of at+1 terms, a score's error (dot of HeadDim terms of
						// size up to about 5·Scale) is an error of the weight.
						k := at + 1 + 16*16*p.HeadDim
						if !kerneltest.Near(t, got.Row(i)[h*p.HeadDim+x], want[x], size[x], tensor.F32, k) {
							t.Fatalf("%+v: position %d head %d dim %d", p, at, h, x)
						}
					}
				}
			}
		}
	})
}

func TestCausalIsTheDefinition(t *testing.T) {
	kerneltest.All(t, "attention", func(t *testing.T, impl string) {
		q := queue(t, 2)
		for s, p := range shapes {
			b := newBranch(uint64(20+s), p, 531)
			got := b.at(q, p, edges)
			for i, at := range edges {
				kerneltest.Same(t, fmt.Sprintf("%+v position %d", p, at), got.Row(i), definition(b, p, at))
			}
		}
	})
}

// TestCausalIsInvariant holds the contract "same bits": neither the cutting of
// the prompt, nor later positions, nor the number of workers changes a result.
func TestCausalIsInvariant(t *testing.T) {
	kerneltest.All(t, "attention", func(t *testing.T, impl string) {
		for s, p := range []Params{{1, 1, 7, 0.3}, {6, 2, 16, 0.25}} {
			const n = 275
			b := newBranch(uint64(40+s), p, n)
			want := b.run(queue(t, 1), p, n)
			for _, c := range []struct{ workers, chunk int }{{1, 1}, {1, 16}, {1, 33}, {2, n}, {2, 16}, {5, n}, {5, 33}} {
				got := b.run(queue(t, c.workers), p, c.chunk)
				kerneltest.Same(t, fmt.Sprintf("%+v, %+v", p, c), got.F32(), want.F32())
			}
			if empty := newBranch(1, p, 0).run(queue(t, 1), p, 1); len(empty.F32()) != 0 {
				t.Error("rows out of none")
			}
		}
	})
}

// TestSegmentsDoNotMix runs prompts and single steps of several branches in one
// call, in another order than their rows.
func TestSegmentsDoNotMix(t *testing.T) {
	kerneltest.All(t, "attention", func(t *testing.T, impl string) {
		p := Params{4, 2, 16, 0.17}
		q := queue(t, 3)
		lengths, starts := []int{40, 1, 0, 7, 290}, []int{0, 299, 5, 14, 2}
		rows := 3 // of nobody, before the first
		for _, n := range lengths {
			rows += n
		}
		query, k, v := kerneltest.Zeros(rows, 4*16), kerneltest.Zeros(rows, 2*16), kerneltest.Zeros(rows, 2*16)
		dst := kerneltest.Zeros(rows, 4*16)
		dst.F32()[0] = 42
		var segs []Segment
		var want []tensor.Buffer
		at := 3
		for i, n := range lengths {
			end := starts[i] + n
			b := newBranch(uint64(60+i), p, end)
			want = append(want, b.run(q, p, max(end, 1)).Slice(starts[i], end))
			s := Segment{Row: at, N: n, Start: starts[i], Pages: pages(p, end)}
			Store(q, b.k.Slice(0, starts[i]), b.v.Slice(0, starts[i]), p, []Segment{{N: starts[i], Pages: s.Pages}})
			copy(query.Slice(at, at+n).F32(), b.q.Slice(starts[i], end).F32())
			copy(k.Slice(at, at+n).F32(), b.k.Slice(starts[i], end).F32())
			copy(v.Slice(at, at+n).F32(), b.v.Slice(starts[i], end).F32())
			segs, at = append(segs, s), at+n
		}
		order := []int{3, 0, 2, 4, 1}
		shuffled := make([]Segment, len(order))
		for i, o := range order {
			shuffled[i] = segs[o]
		}
		Store(q, k, v, p, shuffled)
		Causal(q, dst, query, p, shuffled)
		for i, s := range segs {
			kerneltest.Same(t, fmt.Sprintf("segment %d", i), dst.Slice(s.Row, s.Row+s.N).F32(), want[i].F32())
		}
		if dst.F32()[0] != 42 {
			t.Error("a row of no segment was written")
		}
		Causal(q, query, query, p, shuffled)
		kerneltest.Same(t, "in place", query.Slice(3, rows).F32(), dst.Slice(3, rows).F32())
	})
}

func TestExtremeScoresStayFinite(t *testing.T) {
	p := Params{1, 1, 16, 1}
	const n = 600
	b := newBranch(80, p, n)
	for i, v := range b.q.F32() {
		b.q.F32()[i] = v * 1e4
	}
	got := b.run(queue(t, 1), p, n)
	for _, i := range []int{0, 255, 256, n - 1} {
		want, _ := b.exact(p, i, 0)
		for x, v := range got.Row(i) {
			if math.Abs(float64(v)-want[x]) > 0.02 {
				t.Errorf("row %d: %v, want %v", i, v, want[x])
			}
		}
	}
}

func TestCausalAllocatesNothing(t *testing.T) {
	p := Params{4, 2, 16, 0.25}
	q, b, pg := queue(t, 2), newBranch(90, p, 40), pages(p, 40)
	dst := kerneltest.Zeros(40, 4*16)
	segs := []Segment{{N: 40, Pages: pg}}
	for range 50 {
		Store(q, b.k, b.v, p, segs)
		Causal(q, dst, b.q, p, segs)
	}
	if a := testing.AllocsPerRun(50, func() { Store(q, b.k, b.v, p, segs); Causal(q, dst, b.q, p, segs) }); a != 0 {
		t.Errorf("%v allocations", a)
	}
}

func TestShapesThatDoNotFitPanic(t *testing.T) {
	q, p := queue(t, 1), Params{4, 2, 8, 1}
	ok, kv := kerneltest.Zeros(3, 32), kerneltest.Zeros(3, 16)
	seg := func(row, n, start, pg int) []Segment { return []Segment{{row, n, start, pages(p, pg)}} }
	for i, f := range []func(){
		func() { Causal(q, ok, ok, Params{3, 2, 8, 1}, nil) },
		func() { Causal(q, ok, ok, Params{4, 0, 8, 1}, nil) },
		func() { Causal(q, ok, ok, Params{4, 2, 9, 1}, nil) },
		func() { Causal(q, kv, ok, p, nil) },
		func() { Causal(q, ok, ok, p, seg(0, 4, 0, 16)) },
		func() { Causal(q, ok, ok, p, seg(1, 3, 0, 16)) },
		func() { Causal(q, ok, ok, p, seg(-1, 3, 0, 16)) },
		func() { Causal(q, ok, ok, p, seg(0, 3, 14, 16)) },
		func() { Causal(q, ok, ok, p, []Segment{{0, 1, 0, []Page{{make([]float32, 5), nil}}}}) },
		func() { Store(q, ok, kv, p, nil) },
		func() { Store(q, kv, kv, p, seg(0, 3, -1, 16)) },
		func() { Store(q, kv, kerneltest.Zeros(2, 16), p, seg(0, 3, 0, 16)) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("case %d: no panic", i)
				}
			}()
			f()
		}()
	}
}

func BenchmarkCausal(b *testing.B) {
	p := Params{9, 3, 64, 0.125}
	for _, c := range []struct{ start, n int }{{128, 1}, {2047, 1}, {0, 512}, {1536, 512}} {
		b.Run(fmt.Sprintf("start=%d/n=%d", c.start, c.n), func(b *testing.B) {
			q := queue(b, 0)
			end := c.start + c.n
			br := newBranch(1, p, end)
			pg := pages(p, end)
			Store(q, br.k, br.v, p, []Segment{{N: end, Pages: pg}})
			segs := []Segment{{N: c.n, Start: c.start, Pages: pg}}
			query, dst := br.q.Slice(c.start, end), kerneltest.Zeros(c.n, 9*64)
			for b.Loop() {
				Causal(q, dst, query, p, segs)
			}
			macs := 0
			for i := range c.n {
				macs += (c.start + i + 1) * p.Heads * p.HeadDim * 2
			}
			b.ReportMetric(b.Elapsed().Seconds()*1e9/float64(b.N)/float64(macs), "ns/MAC")
		})
	}
}
