package node

import (
	"fmt"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/kernels/device"
	"github.com/farlabs/inference/kernels/tensor"
	"github.com/farlabs/inference/model"
)

// measure times the span on this machine: passes of one row, and one pass of
// many, until each has had about a quarter of a second.
func measure(q *device.Queue, span *model.Span, cache *model.Cache) (inference.Rates, error) {
	const rows = 64
	var rates inference.Rates
	branch := cache.NewBranch(span.Blocks())
	defer branch.Release()
	hidden := tensor.Of(make([]float32, rows*span.Hidden()), rows, span.Hidden())
	run := func(n int) (time.Duration, error) {
		branch.Truncate(0)
		if err := branch.Grow(n); err != nil {
			return 0, err
		}
		for i, x := 0, hidden.F32(); i < len(x); i++ {
			x[i] = float32(i%13-6) / 8 // anything that is not zero
		}
		begin := time.Now()
		err := span.Forward(q, hidden.Slice(0, n), model.Pass{
			Role: span.Blocks(), Wire: inference.WireBF16,
			Segments: []model.Segment{{Branch: branch, Start: 0, N: n}},
		})
		if err == nil {
			err = q.Wait()
		}
		return time.Since(begin), err
	}
	best := func(n int) (float64, error) {
		fastest := time.Duration(0)
		for begin := time.Now(); fastest == 0 || time.Since(begin) < 250*time.Millisecond; {
			d, err := run(n)
			if err != nil {
				return 0, fmt.Errorf("measure: %w", err)
			}
			if fastest == 0 || d < fastest {
				fastest = d
			}
		}
		return float64(fastest) / 1e6 / float64(n*span.Blocks().Len()), nil
	}
	var err error
	if rates.Decode, err = best(1); err != nil {
		return rates, err
	}
	many := min(rows, minPages*model.PagePositions)
	rates.Prefill, err = best(many)
	return rates, err
}
