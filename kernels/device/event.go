package device

import (
	"sync/atomic"
	"time"
)

// spin is how long a goroutine watches an event before it goes to sleep. The
// gaps between the ops of one forward pass are shorter; waking a thread takes
// about as long.
const spin = 50 * time.Microsecond

// event counts signals. A waiter names the count it has seen.
type event struct {
	count    uint32 // atomic; the word that sleepers sleep on
	sleepers atomic.Int32
	bed      bed // how to sleep, by operating system
}

// now returns the count.
func (e *event) now() uint32 { return atomic.LoadUint32(&e.count) }

// signal raises the count and wakes at least min(n, sleepers) sleepers.
func (e *event) signal(n int) {
	atomic.AddUint32(&e.count, 1)
	// A waiter adds itself to sleepers before it looks at the count for the last
	// time, so one of the two sees the other.
	if e.sleepers.Load() > 0 {
		e.bed.wake(&e.count, n)
	}
}

// await returns the count as soon as it differs from seen.
func (e *event) await(seen uint32) uint32 {
	for i, start := 0, time.Now(); ; i++ {
		if c := e.now(); c != seen {
			return c
		}
		if i%64 == 63 && time.Since(start) > spin {
			break
		}
	}
	e.sleepers.Add(1)
	defer e.sleepers.Add(-1)
	for {
		if c := e.now(); c != seen {
			return c
		}
		e.bed.sleep(&e.count, seen)
	}
}
