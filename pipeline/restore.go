package pipeline

import (
	"context"
	"maps"
	"slices"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/pipeline/wire"
)

// needed returns how many positions of each branch have to be there before ops
// and groups: of a branch that a group takes back to its start, those below it.
func (s *Session) needed(ops []wire.BranchOp, groups []Group) map[uint32]int {
	need := make(map[uint32]int, len(s.branches))
	for id, b := range s.branches {
		need[id] = len(b.rows)
	}
	for _, g := range groups {
		if n, ok := need[g.Branch]; ok && len(ops) == 0 {
			need[g.Branch] = min(n, g.Start)
		}
	}
	return need
}

// rewinds reports whether a group begins before the end of its branch, whose
// KV it writes over.
func (s *Session) rewinds(groups []Group) bool {
	for _, g := range groups {
		if b := s.branches[g.Branch]; b != nil && g.Start < len(b.rows) {
			return true
		}
	}
	return false
}

// short returns how many hops, from the first, have to be restored so that
// every hop after holds all positions that are needed: at least restore.
func (s *Session) short(restore int) int {
	for i := len(s.hops) - 1; i >= restore; i-- {
		held := map[uint32]int{}
		for _, l := range s.hops[i].held {
			held[l.Branch] = int(l.Length) + 1 // 0: no such branch
		}
		for id, n := range s.need {
			if held[id] <= n {
				return i + 1
			}
		}
	}
	return restore
}

// restore computes what is needed of every branch again up to hop emitAt,
// which fills its KV and passes nothing on. Branches that share a beginning
// are forked from the one that shares most of it.
func (s *Session) restore(ctx context.Context, emitAt int) error {
	ids := slices.Sorted(maps.Keys(s.branches))
	rows := map[uint32][]input{}
	var steps []*planned
	for n, id := range ids {
		rows[id] = s.branches[id].rows[:s.need[id]]
		start := 0
		var ops []wire.BranchOp
		switch {
		case id == 0:
		case n == 0:
			// A stage opens a session with branch 0; here it was dropped. It
			// makes room at once for the others.
			ops = []wire.BranchOp{Fork(0, 0, id), Drop(0)}
		default:
			from := ids[0]
			for _, other := range ids[:n] {
				if k := common(rows[id], rows[other]); k > start {
					from, start = other, k
				}
			}
			ops = []wire.BranchOp{Fork(from, start, id)}
		}
		var groups []wire.Row
		if n := len(rows[id]); n > start {
			groups = []wire.Row{{
				Branch: id, Start: uint32(start), N: uint32(n - start), EmitFrom: uint32(n),
				Extent: uint32(n), Want: wire.WantNone, Line: inference.LineRecovery,
			}}
		}
		for _, p := range s.cut(ops, groups, rows[id][start:]) {
			p.fill, p.emitAt = true, uint8(emitAt)
			steps = append(steps, p)
		}
	}
	return s.run(ctx, steps)
}
