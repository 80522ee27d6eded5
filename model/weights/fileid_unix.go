//go:build unix

package weights

import (
	"fmt"
	"io/fs"
	"syscall"
)

// fileID names the file behind info on this machine.
func fileID(path string, info fs.FileInfo) string {
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return "path " + path
	}
	return fmt.Sprintf("dev %d inode %d", s.Dev, s.Ino)
}
