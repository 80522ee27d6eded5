package e2e

import "syscall"

// ownGroup puts a child into a process group of its own, and lets it die with
// the test's process however that ends.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
