package pipeline

import (
	"fmt"
	"slices"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/pipeline/wire"
)

// Group is consecutive positions of one branch that a step computes.
type Group struct {
	Branch uint32
	// Start is the first position; one below the branch's length forgets what
	// is there from Start on.
	Start int
	// IDs are the tokens at the positions; or Hidden, [n, d], stands in their place.
	IDs    []inference.TokenID
	Hidden []float32
	Want   wire.Want
	Line   inference.Line
}

// Hidden is what the last hop returned for a group: rows [n, d] of the
// positions from Start on.
type Hidden struct {
	Branch uint32
	Start  int
	Data   []float32
}

// input is what stands at one position of a branch.
type input struct {
	id     inference.TokenID
	hidden []float32 // not nil: in place of id
}

func (a input) equal(b input) bool { return a.id == b.id && slices.Equal(a.hidden, b.hidden) }

// branch is the history from which its KV can be computed again. Branches may
// share the memory of rows: what lies behind a branch's last row belongs to the
// one branch whose rows have the capacity for it.
type branch struct{ rows []input }

// Fork returns the operation that makes branch to from the first at positions
// of branch from.
func Fork(from uint32, at int, to uint32) wire.BranchOp {
	return wire.BranchOp{From: from, At: uint32(at), To: to}
}

// Drop returns the operation that ends a branch.
func Drop(branch uint32) wire.BranchOp { return wire.BranchOp{Drop: true, From: branch} }

// apply returns the branches as they will be after ops and groups, or says
// what is wrong with them; s.branches stays as it is.
func (s *Session) apply(ops []wire.BranchOp, groups []Group) (map[uint32]*branch, error) {
	next := make(map[uint32]*branch, len(s.branches)+1)
	for id, b := range s.branches {
		next[id] = b
	}
	for _, o := range ops {
		b := next[o.From]
		switch {
		case b == nil:
			return nil, fmt.Errorf("branch %d does not exist: %w", o.From, ErrInvalidRequest)
		case o.Drop:
			delete(next, o.From)
		case next[o.To] != nil:
			return nil, fmt.Errorf("fork to branch %d, which exists: %w", o.To, ErrInvalidRequest)
		case int(o.At) > len(b.rows):
			return nil, fmt.Errorf("fork of branch %d at %d, it has %d positions: %w", o.From, o.At, len(b.rows), ErrInvalidRequest)
		case len(next) >= s.opts.MaxBranches:
			return nil, fmt.Errorf("more than %d branches: %w", s.opts.MaxBranches, ErrInvalidRequest)
		default:
			next[o.To] = &branch{rows: b.rows[:o.At:o.At]}
		}
	}
	d := s.p.parts.Ends.Hidden()
	seen := map[uint32]bool{}
	for _, g := range groups {
		b, n := next[g.Branch], len(g.IDs)
		if g.Hidden != nil {
			n = len(g.Hidden) / d
		}
		switch {
		case b == nil:
			return nil, fmt.Errorf("branch %d does not exist: %w", g.Branch, ErrInvalidRequest)
		case seen[g.Branch]:
			return nil, fmt.Errorf("two groups of branch %d in one step: %w", g.Branch, ErrInvalidRequest)
		case n == 0 || g.Hidden != nil && (len(g.IDs) > 0 || len(g.Hidden)%d != 0):
			return nil, fmt.Errorf("branch %d: want ids or whole hidden rows: %w", g.Branch, ErrInvalidRequest)
		case g.Start < 0 || g.Start > len(b.rows):
			return nil, fmt.Errorf("branch %d: start %d, it has %d positions: %w", g.Branch, g.Start, len(b.rows), ErrInvalidRequest)
		case g.Start+n > s.opts.MaxLength:
			return nil, fmt.Errorf("branch %d: %d positions of at most %d: %w", g.Branch, g.Start+n, s.opts.MaxLength, ErrContextLength)
		}
		seen[g.Branch] = true
		rows := b.rows
		if g.Start < len(rows) {
			rows = rows[:g.Start:g.Start] // what follows may be another branch's, too
		}
		next[g.Branch] = &branch{rows: append(rows, g.inputs(d)...)}
	}
	return next, nil
}

func (g *Group) inputs(d int) []input {
	if g.Hidden != nil {
		in := make([]input, len(g.Hidden)/d)
		for i := range in {
			in[i].hidden = slices.Clone(g.Hidden[i*d : (i+1)*d])
		}
		return in
	}
	in := make([]input, len(g.IDs))
	for i, id := range g.IDs {
		in[i].id = id
	}
	return in
}

// common returns how many first positions a and b share.
func common(a, b []input) int {
	n := 0
	for n < len(a) && n < len(b) && a[n].equal(b[n]) {
		n++
	}
	return n
}
