package node

import (
	"slices"

	"github.com/farlabs/inference"
)

// unknownRate stands for a node that has not measured itself, ms per token·block.
const unknownRate = 1.0

// place returns the n consecutive blocks of total that need a node most: the
// window whose blocks, sorted from the least served up, are the least served
// of all windows; the first such window where several are. The rule is that of
// Petals' choose_best_blocks (Borzunov et al. 2023, §3.2), with blocks nobody
// serves counting most of all.
func place(records []inference.NodeRecord, total, n int) inference.BlockRange {
	n = min(n, total)
	served := make([]float64, total) // tokens per ms
	for _, r := range records {
		if r.State != inference.StateServing && r.State != inference.StateJoining {
			continue
		}
		ms := r.Rates.Decode
		if ms <= 0 {
			ms = unknownRate
		}
		for b := max(r.Blocks.Start, 0); b < min(r.Blocks.End, total); b++ {
			served[b] += 1 / ms
		}
	}
	best, bestWindow := 0, []float64(nil)
	for start := 0; start+n <= total; start++ {
		w := slices.Clone(served[start : start+n])
		slices.Sort(w)
		if bestWindow == nil || slices.Compare(w, bestWindow) < 0 {
			best, bestWindow = start, w
		}
	}
	return inference.BlockRange{Start: best, End: best + n}
}

// binding returns the records that a joining node has to take as given: all
// that serve, and of those that are joining too only the ones with a lower
// peer id. So of several that pick at once each yields to the lower ids, and
// all arrive at the picks that they would have made one after the other.
func binding(records []inference.NodeRecord, self inference.PeerID) []inference.NodeRecord {
	var given []inference.NodeRecord
	for _, r := range records {
		if r.Peer != self && (r.State == inference.StateServing || r.State == inference.StateJoining && r.Peer < self) {
			given = append(given, r)
		}
	}
	return given
}
