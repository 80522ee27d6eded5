package route

import (
	"errors"
	"testing"

	"github.com/farlabs/inference"
)

// roomy is an offer whose KV cache holds so many pages.
func roomy(peer string, start, end int, decodeMS float64, pages int) inference.Offer {
	o := offer(peer, start, end, decodeMS)
	o.Pages = pages
	return o
}

func need(pages, least int) Need {
	return Need{Blocks: inference.BlockRange{Start: 0, End: 30}, Pages: pages, Least: least}
}

func TestPlanPrefersNodesWithRoomForTheSession(t *testing.T) {
	fast, slow := roomy("fast", 0, 30, 1, 300), roomy("slow", 0, 30, 4, 3000)
	unknown := offer("mute", 0, 30, 2)
	for _, c := range []struct {
		what         string
		pages, least int
		offers       []inference.Offer
		want         string
	}{
		{"both have room", 10, 2, []inference.Offer{fast, slow}, "fast 0:30"},
		{"one has", 11, 2, []inference.Offer{fast, slow}, "slow 0:3 → fast 3:30"},
		{"one does not tell", 600, 2, []inference.Offer{fast, unknown}, "mute 0:30"},
		{"only for a beginning", 4000, 2, []inference.Offer{fast, slow}, "fast 0:4 → slow 4:30"}, // of 62 pages a block
		{"only for a beginning, with the one that is left", 4000, 2, []inference.Offer{fast}, "fast 0:30"},
		{"nobody asks", 0, 0, []inference.Offer{fast, slow}, "fast 0:30"},
	} {
		r, err := Plan(c.offers, need(c.pages, c.least))
		if err != nil || r.String() != c.want {
			t.Errorf("%s: %s, %v, want %s", c.what, r.String(), err, c.want)
		}
	}
}

// What is too much for one node fits two that share the blocks.
func TestPlanSplitsBlocksAmongNodesThatAreTooSmall(t *testing.T) {
	a, b := roomy("a", 0, 30, 1, 300), roomy("b", 0, 30, 2, 200)
	r, err := Plan([]inference.Offer{a, b}, need(16, 16))
	if err != nil || len(r.Hops) != 2 {
		t.Fatalf("%s, %v", r.String(), err)
	}
	for _, h := range r.Hops {
		if h.Blocks.Len()*16 > h.Offer.Pages {
			t.Errorf("%s has no room", r.String())
		}
	}
}

func TestPlanTellsHowMuchRoomThereIs(t *testing.T) {
	offers := []inference.Offer{roomy("a", 0, 10, 1, 300), roomy("b", 10, 30, 1, 260), offer("c", 0, 10, 1)}
	_, err := Plan(offers, need(14, 14))
	var small *RoomError
	if !errors.As(err, &small) || small.Pages != 14 || small.Most != 13 || small.Nodes != 3 {
		t.Errorf("%v: %+v", err, small)
	}
	// Blocks that nobody has are missing, whatever the room.
	var none *NoRouteError
	if _, err := Plan(offers[:1], need(14, 14)); !errors.As(err, &none) {
		t.Errorf("%v", err)
	}
	// Too dear is too dear, with room or without.
	n := need(13, 13)
	n.Ceiling = inference.WeiOf(1)
	for i := range offers {
		offers[i].Record.Quote[inference.LineDecode] = inference.WeiOf(1)
	}
	var ceiling *CeilingError
	if _, err := Plan(offers, n); !errors.As(err, &ceiling) || ceiling.Cheapest != inference.WeiOf(3000) {
		t.Errorf("%v", err)
	}
}

func TestPlanPrefersNodesWithPagesFree(t *testing.T) {
	a, b := roomy("a", 0, 30, 1, 3000), roomy("b", 0, 30, 2, 3000)
	a.Load = &inference.Load{FreePages: 100}
	if r, err := Plan([]inference.Offer{a, b}, need(20, 5)); err != nil || r.String() != "a 0:5 → b 5:30" {
		t.Errorf("%s, %v", r.String(), err)
	}
	// Where nobody has pages free, those with a cache that is large enough are asked.
	b.Load = a.Load
	if r, err := Plan([]inference.Offer{a, b}, need(20, 5)); err != nil || len(r.Hops) == 0 {
		t.Errorf("%s, %v", r.String(), err)
	}
}
