package node

import (
	"fmt"

	"github.com/farlabs/inference"
)

// minPages is the least KV that a hosted block gets: 16 pages of 16 positions.
const minPages = 16

// memoryPlan is how a node divides what it may take.
type memoryPlan struct {
	Blocks int   // that fit; when the range is given, its length
	KV     int64 // bytes for KV pages
}

// planMemory divides memory bytes between weights and KV. blockBytes are the
// weights of each block of the model; kv is the wish for KV, 0 for a quarter of
// memory; pageBytes is one KV page of one block. want is the range to host, or
// nil for as many blocks as fit.
func planMemory(memory, kv int64, blockBytes []int64, pageBytes int64, want *inference.BlockRange) (memoryPlan, error) {
	least := func(blocks int) int64 { return int64(blocks) * minPages * pageBytes }
	if want != nil {
		var w int64
		for _, b := range blockBytes[want.Start:want.End] {
			w += b
		}
		if kv == 0 {
			kv = max(memory-w, 0)
		}
		if w+max(kv, least(want.Len())) > memory || kv < least(want.Len()) {
			return memoryPlan{}, fmt.Errorf("blocks %s need %s of weights and %s of KV, but --memory allows %s: host fewer blocks, ask for less --kv-cache, or allow more",
				want, Bytes(w), Bytes(max(kv, least(want.Len()))), Bytes(memory))
		}
		return memoryPlan{Blocks: want.Len(), KV: kv}, nil
	}
	largest := int64(0)
	for _, b := range blockBytes {
		largest = max(largest, b)
	}
	wish := kv
	if wish == 0 {
		wish = memory / 4
	}
	n := 0
	for n < len(blockBytes) && int64(n+1)*largest+max(wish, least(n+1)) <= memory {
		n++
	}
	if n == 0 {
		less := ""
		if kv > least(1) {
			less = ", or ask for less --kv-cache"
		}
		return memoryPlan{}, fmt.Errorf("one block needs %s of weights and %s of KV, but --memory allows %s: allow more%s", Bytes(largest), Bytes(max(wish, least(1))), Bytes(memory), less)
	}
	if kv == 0 {
		kv = memory - int64(n)*largest
	}
	return memoryPlan{Blocks: n, KV: kv}, nil
}

// Bytes formats a size for people: "21.1 MiB".
func Bytes(n int64) string {
	switch {
	case n >= 10<<30:
		return fmt.Sprintf("%.0f GiB", float64(n)/(1<<30))
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%d B", n)
}
