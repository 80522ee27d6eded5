//go:build !linux

package node

// systemMemory returns 0: the system is not asked, --memory decides.
func systemMemory() int64 { return 0 }
