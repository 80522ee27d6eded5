package pipeline

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/farlabs/inference/kernels/device"
	"github.com/farlabs/inference/kernels/tensor"
)

const (
	// headRows bounds the rows that run over the head together.
	headRows = 64
	// headJoin is how long a call waits for others where several sessions are
	// open: the outputs of one forward pass arrive within it.
	headJoin = 200 * time.Microsecond
)

// heads joins calls of the head that meet. The head is a sixth of SmolLM2, and
// rows that share its weights cost half of what they cost alone; results do not
// depend on the company. One call leads: it runs itself and those that wait,
// then hands over to the next.
type heads struct {
	ends  Ends
	queue *device.Queue

	mu      sync.Mutex
	busy    bool
	waiting []*headCall
}

// headCall is one session's rows.
type headCall struct {
	hidden, logits []float32
	room           []float32 // for logits; may be too short
	err            error
	// turn says true when logits or err are there, false when the call has to
	// lead.
	turn chan bool
}

// run returns the logits [n, V] of hidden [n, d], which it borrows: in room,
// where that is large enough and nobody joins, else in memory of their own. join
// says that others may come at the same time.
func (h *heads) run(hidden, room []float32, join bool) ([]float32, error) {
	c := &headCall{hidden: hidden, room: room, turn: make(chan bool, 1)}
	h.mu.Lock()
	h.waiting = append(h.waiting, c)
	lead := !h.busy
	h.busy = true
	h.mu.Unlock()
	if lead && join {
		time.Sleep(headJoin)
	}
	if !lead && <-c.turn {
		return c.logits, c.err
	}
	h.lead(c)
	return c.logits, c.err
}

// lead runs c and what else waits, as far as it fits, and hands over.
func (h *heads) lead(c *headCall) {
	h.mu.Lock()
	batch, rows := []*headCall{c}, len(c.hidden)
	h.waiting = slices.DeleteFunc(h.waiting, func(o *headCall) bool {
		if o == c {
			return true
		}
		if rows+len(o.hidden) > headRows*h.ends.Hidden() {
			return false
		}
		rows += len(o.hidden)
		batch = append(batch, o)
		return true
	})
	h.mu.Unlock()
	// A panic is the caller's; those that wait must not wait for ever.
	finished := false
	defer func() {
		for _, o := range batch[1:] {
			if !finished {
				o.err = fmt.Errorf("head: the call that led failed")
			}
			o.turn <- true
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		if len(h.waiting) > 0 {
			h.waiting[0].turn <- false
			return
		}
		h.busy = false
	}()
	h.compute(batch)
	finished = true
}

func (h *heads) compute(batch []*headCall) {
	d, v := h.ends.Hidden(), h.ends.Vocab()
	hidden := batch[0].hidden
	if len(batch) > 1 {
		hidden = nil
		for _, c := range batch {
			hidden = append(hidden, c.hidden...)
		}
	}
	n := len(hidden) / d
	logits := batch[0].room
	if len(batch) > 1 || cap(logits) < n*v {
		logits = make([]float32, n*v)
	}
	logits = logits[:n*v]
	err := h.ends.Head(h.queue, tensor.Of(logits, n, v), tensor.Of(hidden, n, d))
	if err == nil {
		err = h.queue.Wait()
	}
	for _, c := range batch {
		if err != nil {
			c.err = fmt.Errorf("head: %w", err)
			continue
		}
		k := len(c.hidden) / d * v
		c.logits, logits = logits[:k:k], logits[k:]
	}
}
