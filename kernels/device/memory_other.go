//go:build !unix

package device

func mapMemory(n int) ([]byte, error) { return heapMemory(n), nil }

func unmapMemory([]byte) error { return nil }
