package node

import (
	"slices"
	"strings"
	"testing"

	"github.com/farlabs/inference"
)

func TestMemoryIsDividedBetweenWeightsAndKV(t *testing.T) {
	sizes := slices.Repeat([]int64{2 << 20}, 30)
	const page = 24 << 10
	p, err := planMemory(32<<20, 0, sizes, page, nil)
	if err != nil || p.Blocks != 12 || int64(p.Blocks)*2<<20+p.KV != 32<<20 {
		t.Errorf("auto: %+v, %v", p, err)
	}
	if p, err = planMemory(1<<30, 0, sizes, page, nil); err != nil || p.Blocks != 30 {
		t.Errorf("plenty: %+v, %v", p, err)
	}
	want := inference.BlockRange{Start: 10, End: 20}
	if p, err = planMemory(32<<20, 0, sizes, page, &want); err != nil || p.KV != 12<<20 {
		t.Errorf("10:20: %+v, %v", p, err)
	}
	if p, err = planMemory(32<<20, 5<<20, sizes, page, &want); err != nil || p.KV != 5<<20 {
		t.Errorf("10:20 with 5 MiB of KV: %+v, %v", p, err)
	}
}

func TestTooLittleMemoryNamesWhatIsNeeded(t *testing.T) {
	sizes := slices.Repeat([]int64{2 << 20}, 30)
	want := inference.BlockRange{Start: 0, End: 30}
	for _, w := range []*inference.BlockRange{nil, &want} {
		_, err := planMemory(1<<20, 0, sizes, 24<<10, w)
		if err == nil || !strings.Contains(err.Error(), "--memory allows 1.0 MiB") {
			t.Errorf("error %v", err)
		}
	}
}

func TestAWishForKVThatDoesNotFitIsNamed(t *testing.T) {
	_, err := planMemory(1<<30, 4<<30, slices.Repeat([]int64{2 << 20}, 30), 24<<10, nil)
	if err == nil || !strings.Contains(err.Error(), "4.0 GiB of KV") || !strings.Contains(err.Error(), "--kv-cache") {
		t.Errorf("error %v", err)
	}
}
