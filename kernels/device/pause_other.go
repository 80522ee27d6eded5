//go:build !amd64 || purego

package device

import "sync/atomic"

// idle is read by pause: an operation that costs little and is not optimised away.
var idle atomic.Uint32

// pause waits a moment, n times, n > 0.
func pause(n uint32) {
	for range 8 * n {
		idle.Load()
	}
}
