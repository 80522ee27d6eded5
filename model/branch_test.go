package model

import (
	"errors"
	"slices"
	"testing"

	inference "github.com/farlabs/inference"
	"github.com/farlabs/inference/kernels/tensor"
	"github.com/farlabs/inference/model/modeltest"
)

// fork returns a sequence of the first at positions, at every stage.
func (s *sequence) fork(at int) *sequence {
	f := &sequence{}
	for _, b := range s.branches {
		f.branches = append(f.branches, b.Fork(at))
	}
	return f
}

func (s *sequence) truncate(n int) {
	for _, b := range s.branches {
		b.Truncate(n)
	}
}

func sameBits(a, b tensor.Buffer) bool { return slices.Equal(a.F32(), b.F32()) }

func mustPass(t *testing.T, m *chain, parts ...part) tensor.Buffer {
	t.Helper()
	h, err := m.pass(parts...)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// TestForkAndRollbackEqualAFreshRun: branches that share pages, and a branch cut
// back and fed anew, give the bits of a branch that never did either.
func TestForkAndRollbackEqualAFreshRun(t *testing.T) {
	m := whole(t, modeltest.Small().Open(t), inference.WireBF16)
	prompt := make([]inference.TokenID, 41)
	for i := range prompt {
		prompt[i] = inference.TokenID(i * 5 % 262)
	}
	left, right := []inference.TokenID{9, 8, 7}, []inference.TokenID{100, 101, 102, 103}
	fresh := func(ids []inference.TokenID) tensor.Buffer {
		s := m.sequence()
		defer s.release()
		h := mustPass(t, m, part{s, ids})
		return h.Slice(h.Rows-1, h.Rows)
	}
	wantLeft, wantRight := fresh(append(slices.Clone(prompt[:37]), left...)), fresh(append(slices.Clone(prompt[:37]), right...))

	a := m.sequence()
	mustPass(t, m, part{a, prompt})
	b := a.fork(37) // inside a page
	a.truncate(37)
	h := mustPass(t, m, part{a, left}, part{b, right}) // both, in one pass
	if !sameBits(h.Slice(2, 3), wantLeft) || !sameBits(h.Slice(6, 7), wantRight) {
		t.Error("a forked branch differs from a fresh one")
	}
	a.truncate(30)
	h = mustPass(t, m, part{a, append(slices.Clone(prompt[30:37]), right...)})
	if !sameBits(h.Slice(h.Rows-1, h.Rows), wantRight) {
		t.Error("a branch rolled back and fed anew differs from a fresh one")
	}
	// Two segments of one branch in a pass follow each other.
	c := m.sequence()
	mustPass(t, m, part{c, prompt[:20]})
	st := m.stages[0]
	d := m.ends.Hidden()
	ids := append(slices.Clone(prompt[20:37]), right...)
	hidden := tensor.Of(make([]float32, len(ids)*d), len(ids), d)
	if err := m.ends.Embed(m.queue, hidden, ids, m.wire); err != nil {
		t.Fatal(err)
	}
	br := c.branches[0]
	if err := br.Grow(41); err != nil {
		t.Fatal(err)
	}
	p := Pass{Role: st.role, Wire: m.wire, Segments: []Segment{{br, 20, 5}, {br, 25, 16}}}
	if err := st.span.Forward(m.queue, hidden, p); err != nil {
		t.Fatal(err)
	}
	if br.Len() != 41 || !sameBits(hidden.Slice(20, 21), wantRight) {
		t.Error("two segments of a branch differ from one")
	}
	a.release()
	b.release()
	c.release()
	if st.cache.FreePages() != st.cache.TotalPages() {
		t.Errorf("%d pages leaked", st.cache.TotalPages()-st.cache.FreePages())
	}
}

// TestForwardRefusesWhatItWasNotPromised: errors, and nothing changed.
func TestForwardRefusesWhatItWasNotPromised(t *testing.T) {
	model := modeltest.Small()
	model.Context = 20
	c := model.Open(t)
	m, err := newChain(t, c, nil, inference.WireF32, exact, cut{blocks(1, 5), blocks(2, 4)})
	if err != nil {
		t.Fatal(err)
	}
	st := m.stages[0]
	other, err := st.span.NewCache(testBudget, inference.KVF32)
	if err != nil {
		t.Fatal(err)
	}
	twin, err := LoadSpan(c, blocks(1, 5))
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := twin.NewCache(testBudget, inference.KVF32)
	if err != nil {
		t.Fatal(err)
	}
	d := m.ends.Hidden()
	grown := func(c *Cache, role inference.BlockRange, n int) *Branch {
		b := c.NewBranch(role)
		if err := b.Grow(n); err != nil {
			t.Fatal(err)
		}
		return b
	}
	role := blocks(2, 4)
	released := grown(other, role, 4)
	released.Release()
	shared := grown(other, role, 4)
	run := func(p Pass, rows, cols int) error {
		return st.span.Forward(m.queue, tensor.Of(make([]float32, rows*cols), rows, cols), p)
	}
	if err := run(Pass{role, inference.WireF32, []Segment{{shared, 0, 3}}}, 3, d); err != nil {
		t.Fatal(err)
	}
	fork := shared.Fork(3)
	fresh := func() *Branch { return grown(st.cache, role, 32) }
	for _, x := range []struct {
		name string
		pass Pass
		rows int
		cols int
		want error
	}{
		{"role outside the span", Pass{blocks(4, 6), inference.WireF32, []Segment{{fresh(), 0, 1}}}, 1, d, inference.ErrInvalid},
		{"role other than the branch's", Pass{blocks(2, 3), inference.WireF32, []Segment{{fresh(), 0, 1}}}, 1, d, inference.ErrInvalid},
		{"int8", Pass{role, inference.WireInt8, []Segment{{fresh(), 0, 1}}}, 1, d, inference.ErrInvalid},
		{"fewer rows", Pass{role, inference.WireF32, []Segment{{fresh(), 0, 2}}}, 1, d, inference.ErrInvalid},
		{"other width", Pass{role, inference.WireF32, []Segment{{fresh(), 0, 1}}}, 1, d - 1, inference.ErrInvalid},
		{"gap", Pass{role, inference.WireF32, []Segment{{fresh(), 1, 1}}}, 1, d, inference.ErrInvalid},
		{"no rows", Pass{role, inference.WireF32, []Segment{{fresh(), 0, 0}}}, 0, d, inference.ErrInvalid},
		{"negative rows", Pass{role, inference.WireF32, []Segment{{fresh(), 0, 2}, {fresh(), 0, -1}}}, 1, d, inference.ErrInvalid},
		{"not grown", Pass{role, inference.WireF32, []Segment{{st.cache.NewBranch(role), 0, 1}}}, 1, d, inference.ErrInvalid},
		{"not grown since the fork", Pass{role, inference.WireF32, []Segment{{fork, 3, 1}}}, 1, d, inference.ErrInvalid},
		{"forked after it was grown", Pass{role, inference.WireF32, []Segment{{shared, 3, 1}}}, 1, d, inference.ErrInvalid},
		{"released", Pass{role, inference.WireF32, []Segment{{released, 0, 1}}}, 1, d, inference.ErrInvalid},
		{"no branch", Pass{role, inference.WireF32, []Segment{{nil, 0, 1}}}, 1, d, inference.ErrInvalid},
		{"another span's", Pass{role, inference.WireF32, []Segment{{grown(foreign, role, 1), 0, 1}}}, 1, d, inference.ErrInvalid},
		{"beyond the context", Pass{role, inference.WireF32, []Segment{{fresh(), 0, 21}}}, 21, d, ErrContext},
	} {
		if err := run(x.pass, x.rows, x.cols); !errors.Is(err, x.want) {
			t.Errorf("%s: %v, want %v", x.name, err, x.want)
		}
		for _, g := range x.pass.Segments {
			if g.Branch != nil && g.Branch.Len() != 0 && g.Branch != fork && g.Branch != shared {
				t.Errorf("%s: the branch's length became %d", x.name, g.Branch.Len())
			}
		}
	}
	if err := run(Pass{role, inference.WireF32, []Segment{{fresh(), 0, 20}}}, 20, d); err != nil {
		t.Errorf("as long as the context: %v", err)
	}
	if err := run(Pass{role, inference.WireF32, nil}, 0, d); err != nil {
		t.Errorf("an empty pass: %v", err)
	}
}
