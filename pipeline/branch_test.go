package pipeline

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/kernels/device"
	"github.com/farlabs/inference/kernels/tensor"
	"github.com/farlabs/inference/pipeline/wire"
	"pgregory.net/rapid"
)

// plainEnds have four numbers a row and no weights.
type plainEnds struct{}

func (plainEnds) Hidden() int { return 4 }
func (plainEnds) Vocab() int  { return 8 }
func (plainEnds) Embed(*device.Queue, tensor.Buffer, []inference.TokenID, inference.WireDType) error {
	return nil
}
func (plainEnds) Head(*device.Queue, tensor.Buffer, tensor.Buffer) error { return nil }

func newTestSession(t testing.TB, o SessionOptions) *Session {
	t.Helper()
	p := New(Parts{Ends: plainEnds{}, Exchange: NewExchange(tensor.NewPool(1 << 20)), Context: 100, Blocks: 6})
	s, err := p.Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func ids(first, n int) []inference.TokenID {
	l := make([]inference.TokenID, n)
	for i := range l {
		l[i] = inference.TokenID(first + i)
	}
	return l
}

func TestStepsThatMakeNoSenseAreRefused(t *testing.T) {
	s := newTestSession(t, SessionOptions{MaxBranches: 2, MaxLength: 20})
	s.branches[0] = &branch{rows: make([]input, 5)}
	for name, c := range map[string]struct {
		ops    []wire.BranchOp
		groups []Group
		want   error
	}{
		"drop of no branch":       {ops: []wire.BranchOp{Drop(3)}, want: ErrInvalidRequest},
		"fork of no branch":       {ops: []wire.BranchOp{Fork(3, 0, 4)}, want: ErrInvalidRequest},
		"fork to a branch":        {ops: []wire.BranchOp{Fork(0, 0, 0)}, want: ErrInvalidRequest},
		"fork beyond the end":     {ops: []wire.BranchOp{Fork(0, 6, 1)}, want: ErrInvalidRequest},
		"too many branches":       {ops: []wire.BranchOp{Fork(0, 5, 1), Fork(0, 5, 2)}, want: ErrInvalidRequest},
		"rows of no branch":       {groups: []Group{{Branch: 1, IDs: ids(0, 1)}}, want: ErrInvalidRequest},
		"rows of a dropped one":   {ops: []wire.BranchOp{Drop(0)}, groups: []Group{{IDs: ids(0, 1)}}, want: ErrInvalidRequest},
		"two groups of a branch":  {groups: []Group{{IDs: ids(0, 1), Start: 5}, {IDs: ids(0, 1), Start: 5}}, want: ErrInvalidRequest},
		"no rows":                 {groups: []Group{{Start: 5}}, want: ErrInvalidRequest},
		"ids and hidden states":   {groups: []Group{{IDs: ids(0, 1), Hidden: make([]float32, 4)}}, want: ErrInvalidRequest},
		"half a row":              {groups: []Group{{Hidden: make([]float32, 6)}}, want: ErrInvalidRequest},
		"a gap":                   {groups: []Group{{IDs: ids(0, 1), Start: 6}}, want: ErrInvalidRequest},
		"a negative start":        {groups: []Group{{IDs: ids(0, 1), Start: -1}}, want: ErrInvalidRequest},
		"more than the session's": {groups: []Group{{IDs: ids(0, 16), Start: 5}}, want: ErrContextLength},
	} {
		if _, err := s.Step(context.Background(), c.ops, c.groups); !errors.Is(err, c.want) {
			t.Errorf("%s: error %v", name, err)
		}
		if len(s.branches) != 1 || s.Length(0) != 5 {
			t.Fatalf("%s: the session has changed", name)
		}
	}
	if s.Truncate(0, 6) == nil || s.Truncate(1, 0) == nil || s.Truncate(0, -1) == nil {
		t.Error("truncation to what is not there")
	}
}

// Branches share memory; nothing that one does may show in another.
func TestBranchesKeepTheirHistoryApart(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := newTestSession(t, SessionOptions{MaxBranches: 8})
		want := map[uint32][]inference.TokenID{0: nil}
		next := uint32(1)
		token := 0
		for range rapid.IntRange(1, 40).Draw(rt, "lines") {
			var live []uint32
			for id := range want {
				live = append(live, id)
			}
			slices.Sort(live)
			id := rapid.SampledFrom(live).Draw(rt, "branch")
			at := rapid.IntRange(0, len(want[id])).Draw(rt, "at")
			var ops []wire.BranchOp
			var groups []Group
			switch rapid.IntRange(0, 3).Draw(rt, "op") {
			case 0:
				if len(live) < 8 {
					ops = []wire.BranchOp{Fork(id, at, next)}
					want[next] = slices.Clone(want[id][:at])
					next++
				}
			case 1:
				if err := s.Truncate(id, at); err != nil {
					rt.Fatal(err)
				}
				want[id] = want[id][:at:at]
			case 2:
				at = len(want[id])
				fallthrough
			default:
				if at < 97 {
					token += 3
					groups = []Group{{Branch: id, Start: at, IDs: ids(token, 3)}}
					want[id] = append(want[id][:at:at], ids(token, 3)...)
				}
			}
			b, err := s.apply(ops, groups)
			if err != nil {
				rt.Fatal(err)
			}
			if rapid.Bool().Draw(rt, "done twice") { // as after a loss
				if b, err = s.apply(ops, groups); err != nil {
					rt.Fatal(err)
				}
			}
			s.branches = b
			for id, w := range want {
				if s.Length(id) != len(w) {
					rt.Fatalf("branch %d has %d positions, want %d", id, s.Length(id), len(w))
				}
				for i, in := range s.branches[id].rows {
					if in.id != w[i] {
						rt.Fatalf("branch %d, position %d: %d, want %d", id, i, in.id, w[i])
					}
				}
			}
		}
	})
}

func TestHiddenStatesAreCopied(t *testing.T) {
	s := newTestSession(t, SessionOptions{})
	x := []float32{1, 2, 3, 4, 5, 6, 7, 8}
	next, err := s.apply(nil, []Group{{Hidden: x}})
	if err != nil {
		t.Fatal(err)
	}
	x[4] = 0
	if rows := next[0].rows; len(rows) != 2 || rows[1].hidden[0] != 5 {
		t.Errorf("rows %v", rows)
	}
}

func TestRestoringNeedsOnlyWhatTheStepBuildsOn(t *testing.T) {
	s := newTestSession(t, SessionOptions{})
	s.branches = map[uint32]*branch{0: {rows: make([]input, 10)}, 1: {rows: make([]input, 7)}}
	groups := []Group{{Branch: 0, Start: 4, IDs: ids(0, 2)}}
	if n := s.needed(nil, groups); n[0] != 4 || n[1] != 7 {
		t.Errorf("needed %v", n)
	}
	if n := s.needed([]wire.BranchOp{Fork(0, 9, 2)}, groups); n[0] != 10 || n[1] != 7 {
		t.Errorf("needed with a fork %v", n)
	}
	s.need = map[uint32]int{0: 4, 1: 0}
	held := func(l ...wire.BranchLength) *hop { return &hop{held: l} }
	for i, c := range []struct {
		hops []*hop
		want int
	}{
		{[]*hop{held(wire.BranchLength{Branch: 0, Length: 4}, wire.BranchLength{Branch: 1})}, 0},
		{[]*hop{held(wire.BranchLength{Branch: 0, Length: 9}, wire.BranchLength{Branch: 1, Length: 5})}, 0},
		{[]*hop{held(wire.BranchLength{Branch: 0, Length: 3}, wire.BranchLength{Branch: 1})}, 1},
		{[]*hop{held(wire.BranchLength{Branch: 0, Length: 4})}, 1}, // an empty branch has to be there too
		{[]*hop{held(), held(wire.BranchLength{Branch: 0, Length: 4}, wire.BranchLength{Branch: 1})}, 1},
	} {
		s.hops = c.hops
		if got := s.short(0); got != c.want {
			t.Errorf("case %d: %d hops to restore, want %d", i, got, c.want)
		}
	}
}
