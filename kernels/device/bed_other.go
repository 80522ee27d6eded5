//go:build !linux

package device

import (
	"sync"
	"sync/atomic"
)

// bed lets goroutines sleep on a condition where there is no futex.
type bed struct {
	mu   sync.Mutex
	cond sync.Cond
}

// sleep returns when wake was called, or at once when *count is not seen; it
// may return for no reason.
func (b *bed) sleep(count *uint32, seen uint32) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cond.L = &b.mu
	if atomic.LoadUint32(count) == seen {
		b.cond.Wait()
	}
}

// wake wakes all sleepers: n of them would be enough.
func (b *bed) wake(*uint32, int) {
	b.mu.Lock() // after which a sleeper either waits or has seen the new count
	b.cond.Broadcast()
	b.mu.Unlock()
}

// core returns -1: which core runs a thread is not known.
func core() int32 { return -1 }
