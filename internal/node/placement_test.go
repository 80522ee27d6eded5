package node

import (
	"slices"
	"testing"

	"github.com/farlabs/inference"
	"pgregory.net/rapid"
)

func record(peer string, state inference.NodeState, start, end int, ms float64) inference.NodeRecord {
	return inference.NodeRecord{
		Peer: inference.PeerID(peer), State: state,
		Blocks: inference.BlockRange{Start: start, End: end}, Rates: inference.Rates{Decode: ms},
	}
}

func TestPlaceFillsTheGap(t *testing.T) {
	have := []inference.NodeRecord{record("a", inference.StateServing, 0, 10, 1), record("b", inference.StateServing, 20, 30, 1)}
	if got := place(have, 30, 10); got != (inference.BlockRange{Start: 10, End: 20}) {
		t.Errorf("placed at %s", got)
	}
}

func TestPlaceHelpsTheSlowestStretch(t *testing.T) {
	have := []inference.NodeRecord{record("a", inference.StateServing, 0, 15, 0.1), record("b", inference.StateServing, 15, 30, 5)}
	if got := place(have, 30, 15); got != (inference.BlockRange{Start: 15, End: 30}) {
		t.Errorf("placed at %s", got)
	}
}

func TestPlaceIgnoresThoseThatLeave(t *testing.T) {
	have := []inference.NodeRecord{record("a", inference.StateDraining, 0, 10, 1), record("b", inference.StateServing, 10, 30, 1)}
	if got := place(have, 30, 10); got != (inference.BlockRange{Start: 0, End: 10}) {
		t.Errorf("placed at %s", got)
	}
}

// TestSimultaneousStartsCoverTheModel plays the picking of nodes that know one
// another's intents: whatever their sizes, if they could cover the model one
// after the other, they do so at once.
func TestSimultaneousStartsCoverTheModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sizes := rapid.SliceOfN(rapid.IntRange(10, 14), 3, 6).Draw(t, "blocks")
		picks := make([]inference.NodeRecord, len(sizes))
		for i, n := range sizes {
			picks[i] = record(string(rune('a'+i)), inference.StateJoining, 0, n, 0)
		}
		for range len(sizes) + 1 {
			i := rapid.IntRange(0, len(sizes)-1).Draw(t, "who")
			picks[i].Blocks = place(binding(picks, picks[i].Peer), 30, sizes[i])
		}
		for range sizes { // all look once more at the same moment, until nothing moves
			seen := slices.Clone(picks)
			for i := range picks {
				picks[i].Blocks = place(binding(seen, picks[i].Peer), 30, sizes[i])
			}
		}
		covered := make([]bool, 30)
		for _, p := range picks {
			for b := p.Blocks.Start; b < p.Blocks.End; b++ {
				covered[b] = true
			}
		}
		for b, c := range covered {
			if !c {
				t.Fatalf("block %d is covered by none of %v", b, picks)
			}
		}
	})
}
