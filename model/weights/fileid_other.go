//go:build !unix

package weights

import (
	"io/fs"
	"path/filepath"
)

// fileID names the file behind info by its path, for want of an inode.
func fileID(path string, _ fs.FileInfo) string {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	return "path " + path
}
