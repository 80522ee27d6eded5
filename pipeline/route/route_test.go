package route

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/farlabs/inference"
	"pgregory.net/rapid"
)

func offer(peer string, start, end int, decodeMS float64) inference.Offer {
	o := inference.Offer{Score: 0.8, RTT: 2 * time.Millisecond}
	o.Record = inference.NodeRecord{
		Peer: inference.PeerID(peer), Blocks: inference.BlockRange{Start: start, End: end}, Total: 30,
		State: inference.StateServing, Class: "c", Rates: inference.Rates{Decode: decodeMS, Prefill: decodeMS / 4},
	}
	for i := range o.Record.Quote {
		o.Record.Quote[i] = inference.WeiOf(100)
	}
	return o
}

var whole = Need{Blocks: inference.BlockRange{Start: 0, End: 30}, Decode: 100, Prefill: 50}

// check demands that the route covers the need without gap or overlap, with
// roles inside spans and no peer twice.
func check(t interface{ Fatalf(string, ...any) }, r Route, need Need) {
	at := need.Blocks.Start
	seen := map[inference.PeerID]bool{}
	for _, h := range r.Hops {
		if h.Blocks.Start != at || !h.Offer.Record.Blocks.Contains(h.Blocks) || seen[h.Peer()] {
			t.Fatalf("bad route %s", r)
		}
		seen[h.Peer()] = true
		at = h.Blocks.End
	}
	if at != need.Blocks.End {
		t.Fatalf("route %s ends at %d", r, at)
	}
}

func TestPlanJoinsSpans(t *testing.T) {
	r, err := Plan([]inference.Offer{offer("b", 10, 20, 1), offer("a", 0, 10, 1), offer("c", 20, 30, 1)}, whole)
	if err != nil {
		t.Fatal(err)
	}
	check(t, r, whole)
	if r.String() != "a 0:10 → b 10:20 → c 20:30" {
		t.Errorf("route %s", r)
	}
	if want := inference.WeiOf(3000); r.Price != want {
		t.Errorf("price %s, want %s", r.Price, want)
	}
}

func TestPlanGivesPartOfASpan(t *testing.T) {
	r, err := Plan([]inference.Offer{offer("slow", 0, 30, 5), offer("fast", 5, 30, 0.1)}, whole)
	if err != nil {
		t.Fatal(err)
	}
	check(t, r, whole)
	if r.String() != "slow 0:5 → fast 5:30" {
		t.Errorf("route %s", r)
	}
}

func TestPlanTakesOneHopWhereHopsCostMore(t *testing.T) {
	far := []inference.Offer{offer("a", 0, 15, 1), offer("b", 15, 30, 1), offer("all", 0, 30, 1)}
	for i := range far {
		far[i].RTT = 200 * time.Millisecond
	}
	r, err := Plan(far, whole)
	if err != nil {
		t.Fatal(err)
	}
	if r.String() != "all 0:30" {
		t.Errorf("route %s", r)
	}
}

func TestPlanBelievesItsOwnMeasurements(t *testing.T) {
	slow := offer("liar", 0, 30, 0.1)
	slow.Observed = inference.Rates{Decode: 3, Prefill: 1}
	r, err := Plan([]inference.Offer{slow, offer("honest", 0, 30, 1)}, whole)
	if err != nil {
		t.Fatal(err)
	}
	if r.String() != "honest 0:30" {
		t.Errorf("route %s", r)
	}
}

func TestPlanAvoidsQueueAndPoorRating(t *testing.T) {
	busy, poor := offer("busy", 0, 30, 1), offer("poor", 0, 30, 1)
	busy.Load = &inference.Load{Queue: 20}
	poor.Score = 0.3
	r, err := Plan([]inference.Offer{busy, poor, offer("good", 0, 30, 1.2)}, whole)
	if err != nil {
		t.Fatal(err)
	}
	if r.String() != "good 0:30" {
		t.Errorf("route %s", r)
	}
}

func TestPlanSpreadsSessionsOverEqualNodes(t *testing.T) {
	count := map[inference.PeerID]int{}
	for salt := range uint64(200) {
		need := whole
		need.Salt = salt
		r, err := Plan([]inference.Offer{offer("x", 0, 30, 1), offer("y", 0, 30, 1)}, need)
		if err != nil {
			t.Fatal(err)
		}
		count[r.Hops[0].Peer()]++
	}
	if count["x"] < 60 || count["y"] < 60 {
		t.Errorf("sessions by peer: %v", count)
	}
}

func TestPlanNeverMixesClassesOrDigests(t *testing.T) {
	other := offer("b", 10, 30, 1)
	other.Record.Class = "d"
	_, err := Plan([]inference.Offer{offer("a", 0, 10, 1), other}, whole)
	var no *NoRouteError
	if !errors.As(err, &no) {
		t.Fatalf("error %v, want NoRouteError", err)
	}
	other = offer("b", 10, 30, 1)
	other.Record.Digest[0] = 1
	_, err = Plan([]inference.Offer{offer("a", 0, 10, 1), other}, whole)
	if !errors.As(err, &no) || fmt.Sprint(no.Missing) != "[10:30]" {
		t.Fatalf("error %v, want blocks 10:30 missing", err)
	}
}

func TestPlanLeavesOutWhoCannotServe(t *testing.T) {
	for what, spoil := range map[string]func(*inference.Offer, *Need){
		"another class":  func(o *inference.Offer, _ *Need) { o.Record.Class = "other" },
		"another digest": func(o *inference.Offer, _ *Need) { o.Record.Digest[0]++ },
		"to be avoided":  func(_ *inference.Offer, n *Need) { n.Avoid = map[inference.PeerID]bool{"fast": true} },
		"joining":        func(o *inference.Offer, _ *Need) { o.Record.State = inference.StateJoining },
		"draining":       func(o *inference.Offer, _ *Need) { o.Record.State = inference.StateDraining },
		"gone":           func(o *inference.Offer, _ *Need) { o.Record.State = inference.StateGone },
	} {
		fast, need := offer("fast", 0, 30, 0.01), whole
		need.Class = "c"
		spoil(&fast, &need)
		r, err := Plan([]inference.Offer{fast, offer("slow", 0, 30, 5)}, need)
		if err != nil || r.String() != "slow 0:30" {
			t.Errorf("%s: route %s, %v", what, r, err)
		}
	}
}

func TestPlanKeepsTheCeiling(t *testing.T) {
	dear, cheap := offer("dear", 0, 30, 0.5), offer("cheap", 0, 30, 2)
	for i := range dear.Record.Quote {
		dear.Record.Quote[i] = inference.WeiOf(1000)
	}
	need := whole
	r, _ := Plan([]inference.Offer{dear, cheap}, need)
	if r.String() != "dear 0:30" {
		t.Fatalf("without a ceiling: %s", r)
	}
	need.Ceiling = inference.WeiOf(5000)
	r, err := Plan([]inference.Offer{dear, cheap}, need)
	if err != nil || r.String() != "cheap 0:30" {
		t.Fatalf("with a ceiling: %s, %v", r, err)
	}
	need.Ceiling = inference.WeiOf(10)
	_, err = Plan([]inference.Offer{dear, cheap}, need)
	var c *CeilingError
	if !errors.As(err, &c) || c.Cheapest != inference.WeiOf(3000) {
		t.Fatalf("error %v, want CeilingError at 3000", err)
	}
}

func TestPlanAlwaysCoversOrNamesTheGap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var offers []inference.Offer
		covered := make([]bool, 30)
		for i := range rapid.IntRange(0, 12).Draw(t, "n") {
			a := rapid.IntRange(0, 29).Draw(t, "start")
			b := rapid.IntRange(a+1, 30).Draw(t, "end")
			o := offer(fmt.Sprint("p", i), a, b, rapid.Float64Range(0.01, 10).Draw(t, "ms"))
			o.RTT = time.Duration(rapid.IntRange(0, 300).Draw(t, "rtt")) * time.Millisecond
			offers = append(offers, o)
			for x := a; x < b; x++ {
				covered[x] = true
			}
		}
		all := true
		for _, c := range covered {
			all = all && c
		}
		need := whole
		need.Salt = rapid.Uint64().Draw(t, "salt")
		r, err := Plan(offers, need)
		if all != (err == nil) {
			t.Fatalf("covered %v, error %v", all, err)
		}
		if err == nil {
			check(t, r, need)
		}
	})
}
