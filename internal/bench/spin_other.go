//go:build !linux

package main

// spin keeps a processor busy until the process is killed; which one, the
// system decides.
func spin(int) error {
	for x := 0; ; x++ {
		_ = x
	}
}
