package rating

import (
	"math"
	"testing"

	"github.com/farlabs/inference"
	"pgregory.net/rapid"
)

func near(x, y float64) bool { return math.Abs(x-y) < 1e-9 }

func TestBaseIsTheWeightedSum(t *testing.T) {
	tests := []struct {
		t    Terms
		want float64
	}{
		{Terms{1, 1, 1, 1}, 1},
		{Terms{0, 0, 0, 0}, 0},
		{Terms{1, 0, 0, 0}, 0.4}, {Terms{0, 1, 0, 0}, 0.3}, {Terms{0, 0, 1, 0}, 0.2}, {Terms{0, 0, 0, 1}, 0.1},
		{Terms{Unmeasured, Unmeasured, Unmeasured, Unmeasured}, 0.8},
		{Terms{7, -3, math.NaN(), math.Inf(1)}, 0.4 + 0.16 + 0.1},
	}
	for _, c := range tests {
		if got := c.t.Base(); !near(got, c.want) {
			t.Errorf("%+v: %v, want %v", c.t, got, c.want)
		}
	}
}

func TestAdjustmentAndPayFollowTheFormula(t *testing.T) {
	tests := []struct {
		base, adj float64
		pay       uint64 // of 1,000,000 wei
	}{
		{0.8, 0, 1_000_000}, {1, 0.10, 1_100_000}, {0.9, 0.05, 1_050_000},
		{0.7, -0.05, 950_000}, {0.6, -0.10, 900_000}, {0.1, -0.10, 900_000}, {math.NaN(), 0, 1_000_000},
	}
	for _, c := range tests {
		if got := Adjustment(c.base); !near(got, c.adj) {
			t.Errorf("base %v: adjustment %v, want %v", c.base, got, c.adj)
		}
		if got := Pay(inference.WeiOf(1_000_000), Adjustment(c.base)); got != inference.WeiOf(c.pay) {
			t.Errorf("base %v: pay %s, want %d", c.base, got, c.pay)
		}
	}
	top := inference.Wei{Hi: math.MaxUint64, Lo: math.MaxUint64}
	if got := Pay(top, 0.10); got != top {
		t.Errorf("pay beyond 128 bits: %s", got)
	}
	if got := Pay(inference.WeiOf(1000), 5); got != inference.WeiOf(1100) {
		t.Errorf("an adjustment of 5: %s", got)
	}
}

func TestSpeedIsMedianOverOwn(t *testing.T) {
	tests := []struct {
		own  float64
		all  []float64
		want float64
	}{
		{2, []float64{1, 2, 4}, 1}, {4, []float64{1, 2, 4}, 0.5}, {1, []float64{1, 2, 4}, 1},
		{3, []float64{1, 3}, 2.0 / 3}, {1, []float64{1, 3}, 1},
		{2, []float64{2}, Unmeasured}, {0, []float64{1, 2}, Unmeasured}, {2, nil, Unmeasured},
		{3, []float64{0, 3, 0}, Unmeasured}, {4, []float64{0, 2, 0, 4}, 0.75},
	}
	for _, c := range tests {
		if got := Speed(c.own, c.all); !near(got, c.want) {
			t.Errorf("own %v of %v: %v, want %v", c.own, c.all, got, c.want)
		}
	}
}

func TestScoresStayInTheirRange(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := func(name string) float64 { return rapid.Float64().Draw(t, name) }
		base := Terms{x("uptime"), x("speed"), x("accuracy"), x("satisfaction")}.Base()
		if !(base >= 0 && base <= 1+1e-9) {
			t.Fatalf("base %v", base)
		}
		if adj := Adjustment(base); adj < -0.10 || adj > 0.10 {
			t.Fatalf("adjustment %v", adj)
		}
		all := rapid.SliceOf(rapid.Float64Range(-1, 1e6)).Draw(t, "all")
		if s := Speed(x("own"), all); !(s >= 0 && s <= 1) {
			t.Fatalf("speed %v", s)
		}
	})
}
