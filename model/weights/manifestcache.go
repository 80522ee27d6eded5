package weights

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Manifests are kept in cacheDir/manifests, one file each, named by the hash of
// the identity of the model file they describe:
//
//	identity "dev … inode … size … mtime …"
//	sum <SHA-256 of the rest>
//	<manifest>
//
// A file is written beside its place and renamed into it, so that readers in
// any process see a whole one; what does not check is as good as absent.
const (
	cacheFolder = "manifests"
	maxCached   = 256       // entries; the oldest go first
	staleTemp   = time.Hour // age of a temporary file that its writer has left
)

// identity names the file's contents as far as the file system tells.
func (c *Checkpoint) identity() (string, error) {
	info, err := c.file.Stat()
	if err != nil {
		return "", err
	}
	if !c.same(info) {
		return "", &FormatError{Path: c.path, Reason: "changed while it was open"}
	}
	return fmt.Sprintf("identity %q\n", fmt.Sprintf("%s size %d mtime %d", fileID(c.path, info), c.size, c.mtime.UnixNano())), nil
}

func cachePath(dir, id string) string {
	name := sha256.Sum256([]byte(id))
	return filepath.Join(dir, cacheFolder, hex.EncodeToString(name[:16]))
}

// readCached returns the manifest kept for id, nil when there is none that checks.
func readCached(dir, id string) *Manifest {
	if dir == "" {
		return nil
	}
	f, err := os.Open(cachePath(dir, id))
	if err != nil {
		return nil
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, MaxManifest+int64(len(id))+128))
	if err != nil {
		return nil
	}
	b, ok := bytes.CutPrefix(b, []byte(id))
	if !ok || len(b) < len(sumLine(nil)) {
		return nil
	}
	n := len(sumLine(nil))
	if text := b[n:]; string(b[:n]) == sumLine(text) {
		if m, err := ParseManifest(text); err == nil {
			return m
		}
	}
	return nil
}

func sumLine(text []byte) string {
	sum := sha256.Sum256(text)
	return "sum " + hex.EncodeToString(sum[:]) + "\n"
}

// writeCached keeps m for id if it can.
func writeCached(dir, id string, m *Manifest) {
	if dir == "" {
		return
	}
	folder := filepath.Join(dir, cacheFolder)
	if os.MkdirAll(folder, 0o755) != nil {
		return
	}
	f, err := os.CreateTemp(folder, "new-*")
	if err != nil {
		return
	}
	text := m.Marshal()
	_, err = f.Write(slices.Concat([]byte(id), []byte(sumLine(text)), text))
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), cachePath(dir, id))
	}
	if err != nil {
		os.Remove(f.Name())
		return
	}
	prune(folder)
}

// prune removes the oldest entries beyond the limit and abandoned temporary files.
func prune(folder string) {
	type file struct {
		name string
		time time.Time
	}
	list, err := os.ReadDir(folder)
	if err != nil {
		return
	}
	var kept []file
	for _, e := range list {
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		if strings.HasPrefix(e.Name(), "new-") {
			if time.Since(info.ModTime()) > staleTemp {
				os.Remove(filepath.Join(folder, e.Name()))
			}
			continue
		}
		kept = append(kept, file{e.Name(), info.ModTime()})
	}
	slices.SortFunc(kept, func(a, b file) int { return b.time.Compare(a.time) })
	for _, f := range kept[min(len(kept), maxCached):] {
		os.Remove(filepath.Join(folder, f.name))
	}
}
