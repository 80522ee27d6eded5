//go:build !linux

package weights

func touch(m []byte) { touchPages(m) }

func largePages([]byte) {}
