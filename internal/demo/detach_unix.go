//go:build unix

package main

import "syscall"

// detached puts a child into a session of its own, so that a Ctrl-C meant for
// the demo does not reach it.
func detached() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }
