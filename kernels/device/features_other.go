//go:build !amd64 || purego

package device

// features reports that there is plain Go alone.
func features() (avx2, avx512 bool) { return false, false }
