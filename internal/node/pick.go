package node

import (
	"context"
	"fmt"
	"time"

	"github.com/farlabs/inference"
)

// How long a pick must stand unchallenged before the weights are loaded: news
// of another node's intent takes well under a second to everybody.
const (
	settle    = 1200 * time.Millisecond
	lookAgain = 50 * time.Millisecond
)

// pick decides which blocks to host and tells the network of the intent before
// anything is loaded. Of nodes that pick at once, each yields to those with a
// lower peer id and picks again, until its pick has stood for a while.
func (n *Node) pick(ctx context.Context, blocks int) (inference.BlockRange, string, error) {
	announce := func(r inference.BlockRange) error {
		n.record.Blocks = r
		if err := n.net.Announce(ctx, &n.record); err != nil {
			return fmt.Errorf("announce: %w", err)
		}
		return nil
	}
	if r := n.cfg.Blocks; r != nil {
		return *r, "as told by --blocks", announce(*r)
	}
	choose := func() inference.BlockRange {
		return place(binding(n.net.Records(n.model.Digest()), n.net.ID()), n.spec.Layers, blocks)
	}
	pick := choose()
	if err := announce(pick); err != nil {
		return pick, "", err
	}
	for stands := time.Now(); time.Since(stands) < settle; {
		select {
		case <-time.After(lookAgain):
		case <-ctx.Done():
			return pick, "", context.Cause(ctx)
		}
		if next := choose(); next != pick {
			pick, stands = next, time.Now()
			if err := announce(pick); err != nil {
				return pick, "", err
			}
		}
	}
	return pick, n.reason(pick), nil
}

// reason says in a few words why a range was picked.
func (n *Node) reason(pick inference.BlockRange) string {
	if pick.Len() == n.spec.Layers {
		return "the whole model fits"
	}
	for _, r := range n.net.Records(n.model.Digest()) {
		if r.State == inference.StateServing && r.Blocks.Overlaps(pick) {
			return "where the network is weakest"
		}
	}
	return "served by nobody yet"
}
