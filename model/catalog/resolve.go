package catalog

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/farlabs/inference"
)

// Source is a model file on this machine.
type Source struct {
	ID     inference.ModelID // with its variant when it is from the catalog
	Path   string
	Digest inference.Digest // pinned; zero for a path, which may be any model
	next   string           // what to do when the file is not right
}

// Check compares the digest of the file's manifest with the pinned one, where
// there is one. The error is an *AlteredFileError.
func (s Source) Check(got inference.Digest) error {
	if s.Digest == (inference.Digest{}) || got == s.Digest {
		return nil
	}
	return &AlteredFileError{ID: s.ID, Path: s.Path, Want: s.Digest, Got: got, Next: s.next}
}

// CacheDir returns $FARLABS_CACHE or, without it, the folder "farlabs" in the
// user's cache directory.
func CacheDir() string {
	if dir := os.Getenv("FARLABS_CACHE"); dir != "" {
		return dir
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		dir = os.TempDir() // no home: a container's bare user
	}
	return filepath.Join(dir, "farlabs")
}

// Resolve finds the file that spec means: a catalog id with or without its
// variant, looked for in the cache's models folder, or the path of a file that
// ends in ".gguf". It does not open the file; Source.Check ends the job once
// the digest is known.
//
// The errors are *UnknownModelError, *UnsupportedSourceError,
// *MissingFileError, or the file system's.
func Resolve(spec, cacheDir string) (Source, error) {
	rest, hub := strings.CutPrefix(spec, "hf:")
	if hub {
		return Source{}, hubError(spec, rest)
	}
	if strings.HasSuffix(strings.ToLower(spec), ".gguf") {
		return resolvePath(spec)
	}
	if e, ok := Lookup(inference.ModelID(strings.ToLower(spec))); ok {
		return resolveEntry(spec, e, cacheDir)
	}
	if info, err := os.Stat(spec); err == nil {
		return Source{}, pathError(spec, info)
	}
	if strings.ContainsAny(spec, `/\`) {
		return Source{}, &MissingFileError{Spec: spec, Path: spec, Reason: "not found", Next: "give a catalog id or the path of a file that ends in .gguf"}
	}
	return Source{}, &UnknownModelError{Spec: spec, Near: nearest(spec), All: ids()}
}

func resolveEntry(spec string, e Entry, cacheDir string) (Source, error) {
	path := filepath.Join(cacheDir, "models", e.File)
	next := fmt.Sprintf("run %q, which fetches it", e.Fetch)
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Source{}, &MissingFileError{Spec: spec, Path: path, Reason: "not found", Next: next}
	case err != nil:
		return Source{}, fmt.Errorf("model %q: %w", spec, err)
	case !info.Mode().IsRegular() || info.Size() != e.Bytes:
		return Source{}, &MissingFileError{Spec: spec, Path: path, Reason: fmt.Sprintf("%d bytes instead of %d", info.Size(), e.Bytes), Next: next}
	}
	return Source{ID: e.ID, Path: path, Digest: e.Digest, next: next + " again"}, nil
}

func resolvePath(path string) (Source, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Source{}, &MissingFileError{Spec: path, Path: path, Reason: "not found", Next: "check the path, or give a catalog id"}
	case err != nil:
		return Source{}, fmt.Errorf("model %q: %w", path, err)
	case !info.Mode().IsRegular():
		return Source{}, pathError(path, info)
	}
	return Source{ID: idOfPath(path), Path: path}, nil
}

func pathError(path string, info fs.FileInfo) error {
	e := &UnsupportedSourceError{Spec: path, Kind: "a file of another format", Want: "give a file that ends in .gguf"}
	if info.IsDir() {
		e.Kind, e.Want = "a checkpoint folder", "give the path of one .gguf file that holds the same model"
		if found, _ := filepath.Glob(filepath.Join(path, "*.gguf")); len(found) > 0 {
			e.Want = "give the path of one .gguf file, such as " + found[0]
		}
	}
	return e
}

// hubError reads org/repo[@rev][/file.gguf].
func hubError(spec, rest string) error {
	parts := strings.SplitN(rest, "/", 3)
	if len(parts) < 2 || parts[0] == "" || parts[1] == "" {
		return &UnsupportedSourceError{Spec: spec, Kind: "a hub repository", Want: "give the path of a .gguf file (and a repository is written hf:org/repo/file.gguf)"}
	}
	file := "a .gguf file"
	if len(parts) == 3 {
		file = parts[2]
	}
	return &UnsupportedSourceError{
		Spec: spec, Kind: "a hub repository",
		Want: fmt.Sprintf("download %s of %s/%s yourself and give its path", file, parts[0], parts[1]),
	}
}

// idOfPath makes a model id of a file's name: lower case, without extension,
// with '-' for what an id may not hold.
func idOfPath(path string) inference.ModelID {
	name := filepath.Base(path)
	name = strings.ToLower(name[:len(name)-len(filepath.Ext(name))])
	id := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || strings.ContainsRune("-_.", r) {
			return r
		}
		return '-'
	}, name)
	if id == "" {
		id = "model"
	}
	return inference.ModelID(id[:min(len(id), 128)])
}
