package attention

import (
	"fmt"
	"math"
	"testing"

	inference "github.com/farlabs/inference"
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
		s[i] = make(Page, PageBytes(p.KV, p.KVHeads, p.HeadDim))
		for e := range s[i] {
			s[i][e] = 0xff
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

// exact computes row i, head h in float64 as softmax is defined, of a branch of
// what pages keep; magnitude is the weighted sum of |v|.
func (b branch) exact(p Params, i, h int) (o, magnitude []float64) {
	d, kv := p.HeadDim, h/(p.Heads/p.KVHeads)
	q := b.q.Row(i)[h*d : (h+1)*d]
	w, sum, top := make([]float64, i+1), 0.0, math.Inf(-1)
	for j := range w {
		if p.Window > 0 && j <= i-p.Window {
			w[j] = math.Inf(-1)
			continue
		}
		for x, v := range b.k.Row(j)[kv*d : (kv+1)*d] {
			w[j] += float64(q[x]) * float64(v)
		}
		w[j] *= float64(p.Scale)
		if c := float64(p.Softcap); c != 0 {
			w[j] = c * math.Tanh(w[j]/c)
		}
		if p.Slopes != nil {
			w[j] += float64(p.Slopes[h]) * float64(j)
		}
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

var slopes = []float32{0.5, 0.25, 0.125, 0.0625, 0.03125, 0.7, 0.3, 0.1, 0.01}

// shapes are of every number of queries that share keys, head sizes that are
// odd, and every behaviour, alone and together.
var shapes = []Params{
	{Heads: 1, KVHeads: 1, HeadDim: 1, Scale: 1},
	{Heads: 1, KVHeads: 1, HeadDim: 7, Scale: 0.3},
	{Heads: 3, KVHeads: 1, HeadDim: 16, Scale: 0.25},
	{Heads: 9, KVHeads: 3, HeadDim: 64, Scale: 0.125},
	{Heads: 4, KVHeads: 4, HeadDim: 24, Scale: 0.2, Window: 16},
	{Heads: 8, KVHeads: 2, HeadDim: 80, Scale: 0.11, Softcap: 2},
	{Heads: 4, KVHeads: 1, HeadDim: 128, Scale: 0.0884, Slopes: slopes[:4]},
	{Heads: 8, KVHeads: 1, HeadDim: 96, Scale: 0.1, Window: 300},
	{Heads: 5, KVHeads: 1, HeadDim: 48, Scale: 0.14, Window: 255, Softcap: 50},
	{Heads: 6, KVHeads: 1, HeadDim: 40, Scale: 0.16, Window: 1, Slopes: slopes[:6]},
	{Heads: 7, KVHeads: 1, HeadDim: 33, Scale: 0.17, Window: 3, Softcap: 30, Slopes: slopes[:7]},
	{Heads: 9, KVHeads: 1, HeadDim: 256, Scale: 0.0625},
	{Heads: 1, KVHeads: 1, HeadDim: 512, Scale: 0.04},
}

// each calls f for the shapes in every KV dtype, for a few where the race
// detector makes plain Go slow.
func each(f func(seed uint64, p Params)) {
	for s, p := range shapes {
		if raceEnabled && s > 2 {
			continue
		}
		for p.KV = inference.KVF16; p.KV <= inference.KVQ8; p.KV++ {
			f(uint64(s), p)
		}
	}
}

func TestCausalIsSoftmax(t *testing.T) {
	kerneltest.All(t, "attention", func(t *testing.T, impl string) {
		q := queue(t, 2)
		each(func(seed uint64, p Params) {
			b := newBranch(seed, p, 531)
			got := b.at(q, p, edges)
			b = b.kept(p)
			for i, at := range edges {
				for h := range p.Heads {
					want, size := b.exact(p, at, h)
					for x := range want {
						// Beside the sum of at+1 terms, a score's error (dot of HeadDim terms of
						// size up to about 5·Scale) is an error of the weight.
						k := 16*(at+1) + 16*16*p.HeadDim
						if !kerneltest.Near(t, got.Row(i)[h*p.HeadDim+x], want[x], size[x], tensor.F32, k) {
							t.Fatalf("%+v: position %d head %d dim %d", p, at, h, x)
						}
					}
				}
			}
		})
	})
}

func TestCausalIsTheDefinition(t *testing.T) {
	var want [][]float32 // the definition is slow
	each(func(seed uint64, p Params) {
		b := newBranch(20+seed, p, 531).kept(p)
		for _, at := range edges {
			want = append(want, definition(b, p, at))
		}
	})
	kerneltest.All(t, "attention", func(t *testing.T, impl string) {
		q, n := queue(t, 2), 0
		each(func(seed uint64, p Params) {
			got := newBranch(20+seed, p, 531).at(q, p, edges)
			for i, at := range edges {
				kerneltest.Same(t, fmt.Sprintf("%+v position %d", p, at), got.Row(i), want[n])
				n++
			}
		})
	})
}

// TestCausalIsInvariant holds the contract "same bits": neither the cutting of
// the prompt, nor later positions, nor the number of workers changes a result.
func TestCausalIsInvariant(t *testing.T) {
	kerneltest.All(t, "attention", func(t *testing.T, impl string) {
		for s, p := range []Params{
			{Heads: 1, KVHeads: 1, HeadDim: 7, Scale: 0.3, KV: inference.KVF32},
			{Heads: 6, KVHeads: 2, HeadDim: 16, Scale: 0.25, KV: inference.KVF16},
			{Heads: 8, KVHeads: 1, HeadDim: 32, Scale: 0.2, KV: inference.KVQ8, Softcap: 9},
			{Heads: 2, KVHeads: 1, HeadDim: 16, Scale: 0.2, KV: inference.KVF16, Window: 5, Slopes: slopes[:2]},
			{Heads: 1, KVHeads: 1, HeadDim: 16, Scale: 0.2, KV: inference.KVF16, Window: 260},
		} {
			if raceEnabled && s != 1 {
				continue
			}
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

// TestWorkersShareTheBlocksOfARow: a single row of a long past, over more
// blocks than one wave has.
func TestWorkersShareTheBlocksOfARow(t *testing.T) {
	p := Params{Heads: 2, KVHeads: 1, HeadDim: 16, Scale: 0.25, KV: inference.KVF16}
	for _, p.Window = range []int{0, 9000} {
		const n = 2*waveBlocks*blockSize + 777
		b := newBranch(70, p, n)
		rows := []int{n - 1}
		want := b.at(queue(t, 1), p, rows)
		for _, workers := range []int{2, 3, 7} {
			kerneltest.Same(t, fmt.Sprint(workers), b.at(queue(t, workers), p, rows).F32(), want.F32())
		}
	}
}

// TestSegmentsDoNotMix runs prompts and single steps of several branches in one
// call, in another order than their rows.
func TestSegmentsDoNotMix(t *testing.T) {
	kerneltest.All(t, "attention", func(t *testing.T, impl string) {
		p := Params{Heads: 4, KVHeads: 2, HeadDim: 16, Scale: 0.17, KV: inference.KVF16}
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

// TestPagesBeforeTheWindowMayBeGone: a cache may drop what no row will see.
func TestPagesBeforeTheWindowMayBeGone(t *testing.T) {
	kerneltest.All(t, "attention", func(t *testing.T, impl string) {
		p := Params{Heads: 3, KVHeads: 1, HeadDim: 16, Scale: 0.25, KV: inference.KVF16, Window: 100}
		q, b, pg := queue(t, 2), newBranch(71, p, 600), pages(p, 600)
		Store(q, b.k, b.v, p, []Segment{{N: 600, Pages: pg}})
		want, got := kerneltest.Zeros(4, 48), kerneltest.Zeros(4, 48)
		segs := []Segment{{N: 4, Start: 596, Pages: pg}}
		Causal(q, want, b.q.Slice(596, 600), p, segs)
		clear(pg[:(596-99)/PageSize])
		Causal(q, got, b.q.Slice(596, 600), p, segs)
		kerneltest.Same(t, "without them", got.F32(), want.F32())
	})
}

func TestExtremeScoresStayFinite(t *testing.T) {
	kerneltest.All(t, "attention", func(t *testing.T, impl string) {
		p := Params{Heads: 1, KVHeads: 1, HeadDim: 16, Scale: 1, KV: inference.KVF32}
		const n = 600
		b := newBranch(80, p, n)
		for i, v := range b.q.F32() {
			b.q.F32()[i] = v * 1e4
		}
		got := b.run(queue(t, 1), p, n)
		for _, i := range []int{0, 255, 256, n - 1} {
			want, _ := b.kept(p).exact(p, i, 0)
			for x, v := range got.Row(i) {
				if math.Abs(float64(v)-want[x]) > 0.02 {
					t.Errorf("row %d: %v, want %v", i, v, want[x])
				}
			}
		}
	})
}

// TestWhatIsNotANumberShows: a row that sees one gives none but its kind, and
// no other row suffers.
func TestWhatIsNotANumberShows(t *testing.T) {
	kerneltest.All(t, "attention", func(t *testing.T, impl string) {
		for _, bad := range []float32{float32(math.NaN()), math.Float32frombits(0x7f80_0001), math.Float32frombits(0xffff_ffff)} {
			for kv := inference.KVF16; kv <= inference.KVQ8; kv++ {
				p := Params{Heads: 2, KVHeads: 1, HeadDim: 16, Scale: 0.25, KV: kv}
				b := newBranch(81, p, 300)
				want := b.run(queue(t, 1), p, 300)
				b.k.Row(270)[3] = bad
				got := b.run(queue(t, 1), p, 300)
				kerneltest.Same(t, "rows before", got.Slice(0, 270).F32(), want.Slice(0, 270).F32())
				for _, v := range got.Slice(270, 300).F32() {
					if v == v {
						t.Fatalf("%s: %v where a key is %v", kv, v, bad)
					}
				}
			}
		}
	})
}

func TestCausalAllocatesNothing(t *testing.T) {
	kerneltest.All(t, "attention", func(t *testing.T, impl string) {
		p := Params{Heads: 4, KVHeads: 2, HeadDim: 16, Scale: 0.25, KV: inference.KVF16}
		q, b, pg := queue(t, 2), newBranch(90, p, 600), pages(p, 600)
		dst := kerneltest.Zeros(600, 4*16)
		prompt, step := []Segment{{N: 40, Pages: pg}}, []Segment{{N: 1, Start: 599, Pages: pg}}
		Store(q, b.k, b.v, p, []Segment{{N: 600, Pages: pg}})
		f := func() {
			Store(q, b.k, b.v, p, prompt)
			Causal(q, dst, b.q, p, prompt)
			Store(q, b.k, b.v, p, step)
			Causal(q, dst, b.q, p, step)
		}
		for range 20 {
			f()
		}
		if a := testing.AllocsPerRun(20, f); a != 0 {
			t.Errorf("%v allocations", a)
		}
	})
}

func TestShapesThatDoNotFitPanic(t *testing.T) {
	q, p := queue(t, 1), Params{Heads: 4, KVHeads: 2, HeadDim: 8, Scale: 1, KV: inference.KVF16}
	ok, kv := kerneltest.Zeros(3, 32), kerneltest.Zeros(3, 16)
	seg := func(row, n, start, pg int) []Segment { return []Segment{{row, n, start, pages(p, pg)}} }
	with := func(f func(p *Params)) Params { p := p; f(&p); return p }
	for i, f := range []func(){
		func() { Causal(q, ok, ok, with(func(p *Params) { p.Heads = 3 }), nil) },
		func() { Causal(q, ok, ok, with(func(p *Params) { p.KVHeads = 0 }), nil) },
		func() { Causal(q, ok, ok, with(func(p *Params) { p.HeadDim = 9 }), nil) },
		func() { Causal(q, ok, ok, with(func(p *Params) { p.KV = 0 }), nil) },
		func() { Causal(q, ok, ok, with(func(p *Params) { p.Window = -1 }), nil) },
		func() { Causal(q, ok, ok, with(func(p *Params) { p.Softcap = -1 }), nil) },
		func() { Causal(q, ok, ok, with(func(p *Params) { p.Slopes = slopes[:3] }), nil) },
		func() {
			wide := Params{Heads: 1, KVHeads: 1, HeadDim: MaxHeadDim + 1, Scale: 1, KV: inference.KVF16}
			Causal(q, kerneltest.Zeros(1, MaxHeadDim+1), kerneltest.Zeros(1, MaxHeadDim+1), wide, nil)
		},
		func() { Causal(q, kv, ok, p, nil) },
		func() { Causal(q, ok, ok, p, seg(0, 4, 0, 16)) },
		func() { Causal(q, ok, ok, p, seg(1, 3, 0, 16)) },
		func() { Causal(q, ok, ok, p, seg(-1, 3, 0, 16)) },
		func() { Causal(q, ok, ok, p, seg(0, 3, 14, 16)) },
		func() { Causal(q, ok, ok, p, []Segment{{0, 1, 0, []Page{make(Page, 5)}}}) },
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
