package pipeline

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/kernels/device"
	"github.com/farlabs/inference/kernels/tensor"
)

// countingEnds has a head of three logits per row, the row's first number
// times 1, 2 and 3, and counts its calls.
type countingEnds struct {
	calls, rows atomic.Int64
	fail        error
}

func (*countingEnds) Hidden() int { return 2 }
func (*countingEnds) Vocab() int  { return 3 }
func (*countingEnds) Embed(*device.Queue, tensor.Buffer, []inference.TokenID, inference.WireDType) error {
	return nil
}

func (e *countingEnds) Head(_ *device.Queue, dst, hidden tensor.Buffer) error {
	e.calls.Add(1)
	e.rows.Add(int64(hidden.Rows))
	for i := range hidden.Rows {
		for k := range 3 {
			dst.Row(i)[k] = hidden.Row(i)[0] * float32(k+1)
		}
	}
	return e.fail
}

func TestHeadsThatMeetRunTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := new(countingEnds)
		h := &heads{ends: e, queue: device.NewQueue(1)}
		defer h.queue.Close()
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				x := float32(i + 1)
				rows := slices.Repeat([]float32{x, 0}, i%3+1)
				got, err := h.run(rows, nil, true)
				if want := slices.Repeat([]float32{x, 2 * x, 3 * x}, i%3+1); err != nil || !slices.Equal(got, want) {
					t.Errorf("call %d: %v, %v; want %v", i, got, err, want)
				}
			})
		}
		wg.Wait()
		if c, r := e.calls.Load(), e.rows.Load(); c != 1 || r != 15 {
			t.Errorf("%d calls of %d rows, want one of 15", c, r)
		}
		if got, err := h.run([]float32{5, 0}, nil, false); err != nil || got[2] != 15 {
			t.Errorf("a call of its own: %v, %v", got, err)
		}
	})
}

func TestHeadsKeepTheirBoundAndHandOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := new(countingEnds)
		h := &heads{ends: e, queue: device.NewQueue(1)}
		defer h.queue.Close()
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() {
				if got, err := h.run(make([]float32, 2*30), nil, true); err != nil || len(got) != 90 {
					t.Errorf("%d logits, %v", len(got), err)
				}
			})
		}
		wg.Wait()
		if c := e.calls.Load(); c != 3 {
			t.Errorf("%d calls of at most %d rows for 5 × 30 rows, want 3", c, headRows)
		}
		e.fail = errors.New("broken")
		for range 3 {
			wg.Go(func() {
				if _, err := h.run(make([]float32, 2), nil, true); !errors.Is(err, e.fail) {
					t.Errorf("error %v", err)
				}
			})
		}
		wg.Wait()
		if h.busy || len(h.waiting) != 0 {
			t.Error("the head is still taken")
		}
	})
}

func TestHeadUsesTheRoomItIsGiven(t *testing.T) {
	h := &heads{ends: new(countingEnds), queue: device.NewQueue(1)}
	defer h.queue.Close()
	for _, c := range []struct {
		room   int
		reused bool
	}{{0, false}, {5, false}, {6, true}, {100, true}} {
		room := make([]float32, c.room)
		got, err := h.run([]float32{5, 0, 7, 0}, room, false)
		if err != nil || !slices.Equal(got, []float32{5, 10, 15, 7, 14, 21}) {
			t.Fatalf("room %d: %v, %v", c.room, got, err)
		}
		if reused := c.room > 0 && &got[0] == &room[0]; reused != c.reused {
			t.Errorf("room %d: reused %v", c.room, reused)
		}
	}
}
