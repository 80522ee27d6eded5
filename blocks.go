package inference

import (
	"fmt"
	"strconv"
	"strings"
)

// MaxBlocks bounds the blocks of any model; Llama 3.1 405B has 126.
const MaxBlocks = 1024

// BlockRange is the half-open range [Start, End) of a model's transformer
// blocks, written "10:20".
type BlockRange struct {
	Start int `json:"start"`
	End   int `json:"end"`
}

// ParseBlockRange reads "a:b" with 0 ≤ a < b ≤ MaxBlocks.
func ParseBlockRange(s string) (BlockRange, error) {
	a, b, ok := strings.Cut(s, ":")
	start, err1 := strconv.Atoi(a)
	end, err2 := strconv.Atoi(b)
	if !ok || err1 != nil || err2 != nil {
		return BlockRange{}, fmt.Errorf("blocks %q: want first:end, such as 10:20", s)
	}
	r := BlockRange{start, end}
	return r, r.Validate()
}

// String returns "start:end".
func (r BlockRange) String() string { return strconv.Itoa(r.Start) + ":" + strconv.Itoa(r.End) }

// Len returns the number of blocks.
func (r BlockRange) Len() int { return r.End - r.Start }

// Contains reports whether s lies within r.
func (r BlockRange) Contains(s BlockRange) bool { return r.Start <= s.Start && s.End <= r.End }

// Overlaps reports whether r and s share a block.
func (r BlockRange) Overlaps(s BlockRange) bool { return r.Start < s.End && s.Start < r.End }

// Validate reports whether r holds at least one block and is within bounds.
func (r BlockRange) Validate() error {
	if r.Start < 0 || r.End <= r.Start || r.End > MaxBlocks {
		return fmt.Errorf("blocks %d:%d: want 0 ≤ first < end ≤ %d: %w", r.Start, r.End, MaxBlocks, ErrInvalid)
	}
	return nil
}
