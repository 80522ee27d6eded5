package device

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Operations of futex(2), from linux/futex.h; private to this process.
const (
	futexWait = 0 | 128
	futexWake = 1 | 128
)

// bed lets goroutines sleep in the kernel, which wakes them with less delay
// than the Go scheduler does.
type bed struct{}

// sleep returns when wake was called, or at once when *count is not seen; it
// may return for no reason.
func (bed) sleep(count *uint32, seen uint32) {
	_, _, _ = unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(count)), futexWait, uintptr(seen), 0, 0, 0)
}

// wake wakes n sleepers.
func (bed) wake(count *uint32, n int) {
	_, _, _ = unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(count)), futexWake, uintptr(n), 0, 0, 0)
}

// core returns the number of the core that runs this thread, -1 if unknown.
func core() int32 {
	var cpu uint32
	if _, _, err := unix.RawSyscall(unix.SYS_GETCPU, uintptr(unsafe.Pointer(&cpu)), 0, 0); err != 0 {
		return -1
	}
	return int32(cpu)
}
