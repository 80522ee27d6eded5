package node

import "golang.org/x/sys/unix"

// systemMemory returns the bytes of RAM, 0 when the system does not tell.
func systemMemory() int64 {
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) != nil {
		return 0
	}
	return int64(info.Totalram) * int64(info.Unit)
}
