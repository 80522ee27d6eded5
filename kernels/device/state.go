package device

import (
	"sync/atomic"
	"time"
)

// patience is how long a goroutine watches a word before it goes to sleep. The
// gaps between the ops of one forward pass are shorter; waking a thread takes
// about as long. A longer one would take a core from other processes.
const patience = 50 * time.Microsecond

// The wait of one look at a word: a few pauses, so that the watched cache line
// can come and go, and the time asked for now and then only.
const (
	pauses = 2
	looks  = 32 // between two questions for the time
)

// state is the word on which the workers of a queue meet: opened | ended |
// awaited | the number of workers inside the op.
//
// opened says that chunks may be left. Who finds none left takes it away, so a
// worker that comes late, because the system had other plans for its thread,
// finds the op closed and nobody waits for it. An op is over when it is not
// opened and nobody is inside.
type state struct{ word uint32 }

const (
	opened  = 1 << 31
	ended   = 1 << 30
	awaited = 1 << 29 // the caller sleeps until nobody is inside
	inside  = awaited - 1
)

func (s *state) load() uint32 { return atomic.LoadUint32(&s.word) }

// enter adds one to those inside and reports true, unless no op is opened.
func (s *state) enter() bool {
	for {
		v := s.load()
		if v&opened == 0 {
			return false
		}
		if atomic.CompareAndSwapUint32(&s.word, v, v+1) {
			return true
		}
	}
}

// leave takes one away from those inside, and the op's openness. It reports
// whether the caller sleeps until this moment.
func (s *state) leave() (wake bool) {
	for {
		v := s.load()
		w := v&^opened - 1
		if atomic.CompareAndSwapUint32(&s.word, v, w) {
			return w&(awaited|inside) == awaited
		}
	}
}

// watch looks at the word until f likes it, for no longer than patience, and
// reports whether it did.
func (s *state) watch(f func(v uint32) bool) bool {
	var start time.Time
	for i := 1; ; i++ {
		if f(s.load()) {
			return true
		}
		pause(pauses)
		if i%looks == 0 {
			if now := time.Now(); start.IsZero() {
				start = now
			} else if now.Sub(start) > patience {
				return false
			}
		}
	}
}

// working says that a worker has something to do.
func working(v uint32) bool { return v&(opened|ended) != 0 }

// over says that nobody is inside.
func over(v uint32) bool { return v&inside == 0 }
