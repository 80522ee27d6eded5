package tokenizer

import (
	"hash/maphash"
	"strings"
	"sync/atomic"

	"github.com/farlabs/inference"
)

// The cache remembers the ids of words. A word has one slot, and the newest
// word of a slot stays, so the memory is bounded by cacheSlots times a word of
// maxCachedWord bytes and its ids (at most one a byte): under 4 MB, and a
// fraction of it in practice.
const (
	cacheSlots    = 1 << 13
	maxCachedWord = 48
)

// cacheEntry is immutable.
type cacheEntry struct {
	word string
	ids  []inference.TokenID
}

// wordCache maps words to ids without locks.
type wordCache struct {
	seed  maphash.Seed
	slots []atomic.Pointer[cacheEntry]
}

func newWordCache() wordCache {
	return wordCache{seed: maphash.MakeSeed(), slots: make([]atomic.Pointer[cacheEntry], cacheSlots)}
}

func (c *wordCache) slot(word string) *atomic.Pointer[cacheEntry] {
	return &c.slots[maphash.String(c.seed, word)%uint64(len(c.slots))]
}

// get returns ids that the caller must not change.
func (c *wordCache) get(word string) ([]inference.TokenID, bool) {
	if len(word) > maxCachedWord {
		return nil, false
	}
	if e := c.slot(word).Load(); e != nil && e.word == word {
		return e.ids, true
	}
	return nil, false
}

// put copies both arguments, so that no prompt is kept alive by its words.
func (c *wordCache) put(word string, ids []inference.TokenID) {
	if len(word) > maxCachedWord {
		return
	}
	c.slot(word).Store(&cacheEntry{word: strings.Clone(word), ids: append([]inference.TokenID(nil), ids...)})
}
