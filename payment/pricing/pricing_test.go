package pricing

import (
	"errors"
	"math"
	"testing"

	"github.com/farlabs/inference"
	"pgregory.net/rapid"
)

func TestQuoteIsTheListPriceSpreadOverBlocks(t *testing.T) {
	q, err := Quote(0.30, 30)
	if err != nil {
		t.Fatal(err)
	}
	// 0.30 USD per 1M tokens = 3·10¹⁷ wei per 10⁶ tokens of 30 blocks.
	for _, l := range []inference.Line{inference.LinePrefill, inference.LineDecode, inference.LineDraft, inference.LineRecovery} {
		if q[l] != inference.WeiOf(10_000_000_000) {
			t.Errorf("%s: %s wei", l, q[l])
		}
	}
	if q[inference.LineCached] != inference.WeiOf(1_000_000_000) {
		t.Errorf("cached: %s wei", q[inference.LineCached])
	}
}

func TestChainNeverComesToMoreThanTheAskedPrice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		usd := rapid.Float64Range(0, 1000).Draw(t, "usd")
		blocks := rapid.IntRange(1, inference.MaxBlocks).Draw(t, "blocks")
		q, err := Quote(usd, blocks)
		if err != nil {
			t.Fatal(err)
		}
		var hops []Hop
		for left := blocks; left > 0; {
			n := rapid.IntRange(1, left).Draw(t, "span")
			hops = append(hops, Hop{q, n})
			left -= n
		}
		sum, ok := PerMillion(hops...)
		if !ok || math.Abs(ToUSD(sum)-usd) > 1e-6 {
			t.Fatalf("asked %v, came to %v", usd, ToUSD(sum))
		}
	})
}

func TestSumSeesEveryLine(t *testing.T) {
	q, err := Quote(1, 1)
	if err != nil {
		t.Fatal(err)
	}
	for l := range q {
		dear := q
		dear[l], _ = q[inference.LineDecode].Mul(10)
		if sum, ok := PerMillion(Hop{dear, 1}); !ok || math.Abs(ToUSD(sum)-10) > 1e-6 {
			t.Errorf("%s at ten times the price: %v USD", inference.Line(l), ToUSD(sum))
		}
	}
	top := inference.Quote{inference.LineDecode: {Hi: math.MaxUint64, Lo: math.MaxUint64}}
	if sum, ok := PerMillion(Hop{top, 1}, Hop{top, 1}); ok {
		t.Errorf("overflow: %s", sum)
	}
}

func TestPricesOutsideTheRangeAreRefused(t *testing.T) {
	for _, usd := range []float64{-1, math.NaN(), math.Inf(1), 2e9} {
		if _, err := Quote(usd, 1); !errors.Is(err, ErrPrice) {
			t.Errorf("%v USD: %v", usd, err)
		}
	}
	for _, blocks := range []int{0, -1, inference.MaxBlocks + 1} {
		if _, err := Quote(1, blocks); !errors.Is(err, ErrPrice) {
			t.Errorf("%d blocks: %v", blocks, err)
		}
	}
}

func TestBooksHoldThePublishedClasses(t *testing.T) {
	tests := []struct {
		book   Book
		params float64
		coding bool
		class  string
	}{
		{Far, 0.135, false, "3b-7b"}, {Far, 3, false, "3b-7b"}, {Far, 7, false, "3b-7b"},
		{Far, 8, false, "8b-70b"}, {Far, 70, false, "8b-70b"}, {Far, 72, false, "70b-180b"}, {Far, 405, false, "70b-180b"},
		{Far, 22, true, "coding"}, {Far, 236, true, "coding"},
		{Formation, 31.9, false, "below-32b"}, {Formation, 32, false, "32b-110b"},
		{Formation, 110, false, "110b-500b"}, {Formation, 500.1, true, "above-500b"},
	}
	for _, c := range tests {
		if got := c.book.Class(c.params, c.coding); got.Name != c.class {
			t.Errorf("%s: %vB is %s, want %s", c.book.Name, c.params, got.Name, c.class)
		}
	}
	for _, b := range Books() {
		classes := b.Sizes
		if b.Coding != nil {
			classes = append(classes[:len(classes):len(classes)], *b.Coding)
		}
		for _, c := range classes {
			if c.Default < c.Low || c.Default > c.High || c.Low <= 0 {
				t.Errorf("%s %s: %v outside %v–%v", b.Name, c.Name, c.Default, c.Low, c.High)
			}
			if got, err := b.ClassNamed(c.Name); err != nil || got != c {
				t.Errorf("%s: class %q not found: %v", b.Name, c.Name, err)
			}
		}
	}
	if _, err := Far.ClassNamed("huge"); !errors.Is(err, ErrPrice) {
		t.Errorf("unknown class: %v", err)
	}
}
