package main

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// spin keeps one processor busy until the process is killed.
func spin(processor int) error {
	runtime.LockOSThread()
	var set unix.CPUSet
	set.Set(processor)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return err
	}
	for x := 0; ; x++ {
		_ = x
	}
}
