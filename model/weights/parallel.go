package weights

import (
	"context"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
)

// scratch is the memory of one goroutine that packs or checks: two pieces.
type scratch struct{ in, out []byte }

func (s *scratch) raw(n int64) []byte    { return grow(&s.in, n) }
func (s *scratch) packed(n int64) []byte { return grow(&s.out, n) }

func grow(b *[]byte, n int64) []byte {
	if int64(cap(*b)) < n {
		*b = alignedBytes(int(n))
	}
	return (*b)[:n]
}

// scratches keeps them between the groups of a model.
var scratches = sync.Pool{New: func() any { return new(scratch) }}

// parallel calls f for every index below n on several goroutines, in ascending
// order of their beginning, until one fails or ctx ends.
func parallel(ctx context.Context, workers, n int, f func(i int, s *scratch) error) error {
	var next atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	for range min(workers, n) {
		g.Go(func() error {
			s := scratches.Get().(*scratch)
			defer scratches.Put(s)
			for {
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				i := int(next.Add(1)) - 1
				if i >= n {
					return nil
				}
				if err := f(i, s); err != nil {
					return err
				}
			}
		})
	}
	return g.Wait()
}
