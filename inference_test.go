package inference

import (
	"encoding/json"
	"errors"
	"math/big"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func wei(t *rapid.T, name string) Wei {
	return Wei{rapid.Uint64().Draw(t, name+" high"), rapid.Uint64().Draw(t, name+" low")}
}

func TestWeiCalculatesLikeBigIntegers(t *testing.T) {
	limit := new(big.Int).Lsh(big.NewInt(1), 128)
	rapid.Check(t, func(t *rapid.T) {
		a, b, n := wei(t, "a"), wei(t, "b"), rapid.Uint64().Draw(t, "n")
		check := func(op string, got Wei, ok bool, want *big.Int) {
			fits := want.Sign() >= 0 && want.Cmp(limit) < 0
			if ok != fits || ok && got.Big().Cmp(want) != 0 {
				t.Fatalf("%s: %s, %v; want %s", op, got, ok, want)
			}
		}
		sum, ok := a.Add(b)
		check("add", sum, ok, new(big.Int).Add(a.Big(), b.Big()))
		diff, ok := a.Sub(b)
		check("sub", diff, ok, new(big.Int).Sub(a.Big(), b.Big()))
		product, ok := a.Mul(n)
		check("mul", product, ok, new(big.Int).Mul(a.Big(), new(big.Int).SetUint64(n)))
		if got, want := a.Cmp(b), a.Big().Cmp(b.Big()); got != want {
			t.Fatalf("cmp %d, want %d", got, want)
		}
		text, _ := a.MarshalText()
		var back Wei
		if err := back.UnmarshalText(text); err != nil || back != a {
			t.Fatalf("%s reads back as %s, %v", text, back, err)
		}
	})
}

func TestWeiRefusesWhatIsNotAnAmount(t *testing.T) {
	for _, text := range []string{"", "-1", "1.5", "0x10", "340282366920938463463374607431768211456"} {
		var w Wei
		if err := w.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q was read as %s", text, w)
		}
	}
}

func TestQuoteCostIsTheSumOfItsLines(t *testing.T) {
	q := Quote{WeiOf(1), WeiOf(10), WeiOf(100), WeiOf(1000), WeiOf(10000)}
	cost, ok := q.Cost(Units{1, 2, 3, 4, 5})
	if !ok || cost != WeiOf(54321) {
		t.Errorf("cost %s, %v", cost, ok)
	}
	if q.Dearest() != WeiOf(10000) {
		t.Errorf("dearest %s", q.Dearest())
	}
	if _, ok := (Quote{{Hi: 1 << 63}}).Cost(Units{2}); ok {
		t.Error("a cost above 128 bits was taken")
	}
}

func TestNamesReadBackAsWritten(t *testing.T) {
	for _, text := range []string{"0:1", "10:20", "0:1024"} {
		r, err := ParseBlockRange(text)
		if err != nil || r.String() != text {
			t.Errorf("%q reads as %s, %v", text, r, err)
		}
	}
	for _, text := range []string{"", "5", "5:5", "6:5", "-1:5", "0:1025", "a:b", "1:2:3"} {
		if r, err := ParseBlockRange(text); err == nil {
			t.Errorf("%q was read as %s", text, r)
		}
	}
	d := Digest{1, 2, 3, 31: 0xff}
	var back Digest
	if b, err := json.Marshal(d); err != nil || json.Unmarshal(b, &back) != nil || back != d {
		t.Errorf("digest %s reads back as %s", d, back)
	}
	a, err := ParseAddress("0x00112233445566778899aabbccddeeff00112233")
	if err != nil || a.String() != "0x00112233445566778899aabbccddeeff00112233" {
		t.Errorf("address %s, %v", a, err)
	}
	for _, bad := range []string{"", "0x", "0x0011", strings.Repeat("z", 40)} {
		if _, err := ParseAddress(bad); err == nil {
			t.Errorf("address %q was taken", bad)
		}
	}
	for _, id := range []ModelID{"smollm2-135m-instruct:q4_1", "a/b.c"} {
		if err := id.Validate(); err != nil {
			t.Error(err)
		}
	}
	for _, id := range []ModelID{"", "A", "a:b:c", "a b", ModelID(strings.Repeat("a", 129))} {
		if id.Validate() == nil {
			t.Errorf("model id %q was taken", string(id))
		}
	}
	if id, variant := ModelID("m:q4_1").Split(); id != "m" || variant != "q4_1" {
		t.Errorf("split into %q and %q", id, variant)
	}
}

func TestNodeRecordKeepsItsLimits(t *testing.T) {
	good := func() NodeRecord {
		return NodeRecord{Peer: "p", Model: "m", Blocks: BlockRange{0, 10}, Total: 30, State: StateServing}
	}
	r := good()
	if err := r.Validate(); err != nil {
		t.Fatal(err)
	}
	for what, spoil := range map[string]func(*NodeRecord){
		"no peer":                      func(r *NodeRecord) { r.Peer = "" },
		"many addresses":               func(r *NodeRecord) { r.Addrs = make([]string, 33) },
		"a long address":               func(r *NodeRecord) { r.Addrs = []string{strings.Repeat("a", 257)} },
		"a long name":                  func(r *NodeRecord) { r.Name = strings.Repeat("a", MaxName+1) },
		"a name that moves the cursor": func(r *NodeRecord) { r.Name = "otter\x1b[2J" },
		"a name of two lines":          func(r *NodeRecord) { r.Name = "otter\nbadger" },
		"a name of no text":            func(r *NodeRecord) { r.Name = "\xff" },
		"no model":                     func(r *NodeRecord) { r.Model = "" },
		"empty blocks":                 func(r *NodeRecord) { r.Blocks.End = 0 },
		"blocks too many":              func(r *NodeRecord) { r.Total = 9 },
		"unknown state":                func(r *NodeRecord) { r.State = "resting" },
		"many round trips": func(r *NodeRecord) {
			r.RTTs = map[PeerID]float64{}
			for i := range 17 {
				r.RTTs[PeerID(rune('a'+i))] = 1
			}
		},
	} {
		r := good()
		spoil(&r)
		if err := r.Validate(); err == nil {
			t.Errorf("%s was taken", what)
		}
	}
	r = good()
	r.State = "resting"
	if err := r.Validate(); !errors.Is(err, ErrInvalid) {
		t.Errorf("error %v is not ErrInvalid", err)
	}
}
