package model

import (
	"bufio"
	"os"
	"strconv"
	"strings"
	"testing"

	inference "github.com/farlabs/inference"
	"github.com/farlabs/inference/kernels/device"
	"github.com/farlabs/inference/kernels/tensor"
)

// TestOnlyTheSpansPagesAreResident runs blocks 10:20 of SmolLM2, packed now and
// found packed, and asks the system which pages of files the process has mapped
// in: of the model file at most 1% of the span, of the packed ones at most 5%
// more than the span's weights.
func TestOnlyTheSpansPagesAreResident(t *testing.T) {
	cache := t.TempDir()
	for range 2 {
		residentSpan(t, cache)
	}
}

func residentSpan(t *testing.T, dir string) {
	c, _ := openSmolLM2(t)
	span, err := Source{Checkpoint: c, Cache: dir}.Span(t.Context(), blocks(10, 20))
	if err != nil {
		t.Fatal(err)
	}
	cache, err := span.NewCache(testBudget, inference.KVF32)
	if err != nil {
		t.Fatal(err)
	}
	b := cache.NewBranch(span.Blocks())
	if err := b.Grow(2); err != nil {
		t.Fatal(err)
	}
	q := device.NewQueue(2)
	defer q.Close()
	hidden := tensor.Of(make([]float32, 2*span.Hidden()), 2, span.Hidden())
	for i := range hidden.F32() {
		hidden.F32()[i] = float32(i%7) - 3
	}
	if err := span.Forward(q, hidden, Pass{span.Blocks(), inference.WireF32, []Segment{{b, 0, 2}}}); err != nil {
		t.Fatal(err)
	}
	source, packed, want := residentBytes(t, c.Path()), residentBytes(t, dir), span.WeightBytes()
	t.Logf("%d KiB resident of the model file, %d KiB of the packed ones, %d KiB in the span", source>>10, packed>>10, want>>10)
	if source > want/100 {
		t.Errorf("%d bytes of the model file are resident", source)
	}
	if float64(packed) < 0.95*float64(want) || float64(packed) > 1.05*float64(want) {
		t.Errorf("%d bytes of packed files are resident, the span has %d", packed, want)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}

// residentBytes sums Rss over the mappings of a file, or of the files in a folder.
func residentBytes(t *testing.T, path string) (n int64) {
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	ours := false
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		switch {
		case len(fields) >= 5 && strings.Contains(fields[0], "-"):
			ours = len(fields) >= 6 && strings.HasPrefix(fields[len(fields)-1], path)
		case ours && len(fields) == 3 && fields[0] == "Rss:":
			kib, err := strconv.ParseInt(fields[1], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			n += kib << 10
		}
	}
	return n
}
