package pipeline

import (
	"slices"
	"testing"

	"github.com/farlabs/inference"
)

func TestNetworkNamesWhatNobodyServes(t *testing.T) {
	var n NetworkInfo
	add := func(digest byte, start, end int, state inference.NodeState) {
		n.add(inference.NodeRecord{Model: "m", Digest: inference.Digest{digest}, Blocks: inference.BlockRange{Start: start, End: end}, Total: 10, State: state})
	}
	add(1, 0, 4, inference.StateServing)
	add(1, 2, 5, inference.StateServing)
	add(1, 5, 8, inference.StateJoining)
	add(1, 8, 9, inference.StateServing)
	add(2, 0, 10, inference.StateDraining)
	for i := range n.Models {
		n.Models[i].gaps()
	}
	if m := n.Models[0]; m.Nodes != 3 || !slices.Equal(m.Coverage, []int{1, 1, 2, 2, 1, 0, 0, 0, 1, 0}) || !slices.Equal(m.Missing, []string{"5:8", "9:10"}) {
		t.Errorf("%+v", m)
	}
	if m := n.Models[1]; m.Nodes != 0 || !slices.Equal(m.Missing, []string{"0:10"}) {
		t.Errorf("%+v", m)
	}
}
