package weights

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Packed files lie in packed/<digest>/v<layout>/<group> of the cache. A file is
// written beside its place under a name that says so, synced, and renamed into
// it: readers in any process see a whole one, whatever ends the writer and
// when. Several processes may write the same file at once; the first one that
// is done gives it to the others, so that all share its pages.
const (
	packedFolder = "packed"
	newFile      = ".new-"             // in the name of a file that is being written
	keepUnused   = 30 * 24 * time.Hour // a model's files, after they were last opened
)

// folder is where the packed files of the model lie.
func (p *Packer) folder() string {
	return filepath.Join(p.o.Cache, packedFolder, p.o.Digest.String(), version(p.o.Layout.Version))
}

func version(n int) string { return "v" + strconv.Itoa(n) }

// keep writes a packed file and maps it. The error is a *keepError where the
// cache is to blame, which is told once and remembered.
func (p *Packer) keep(ctx context.Context, f *packedFile, path string, m *meter) (region, error) {
	if err := p.tidy(); err != nil {
		return region{}, p.giveUp(err)
	}
	file, err := newTemp(path)
	if err != nil {
		return region{}, p.giveUp(err)
	}
	r, err := p.commit(ctx, f, path, file, m)
	if e := file.Close(); e != nil && !errors.Is(e, os.ErrClosed) && err == nil {
		err = &keepError{errors.Join(e, r.release())}
	}
	if err != nil {
		os.Remove(file.Name())
	}
	if k := (*keepError)(nil); errors.As(err, &k) {
		return region{}, p.giveUp(k.err)
	}
	return r, err
}

// commit fills file and puts it in its place, unless there is a good one by now.
func (p *Packer) commit(ctx context.Context, f *packedFile, path string, file *os.File, m *meter) (r region, err error) {
	if err := f.write(ctx, p.c, &p.o.Layout, file, p.workers, m); err != nil {
		return r, err
	}
	if r, err = f.open(ctx, path, p.workers, nil); err == nil {
		return r, os.Remove(file.Name())
	}
	if !canMap {
		file.Close() // an open file may not be renamed there
	}
	if err := os.Rename(file.Name(), path); err != nil {
		return region{}, &keepError{err}
	}
	syncFolder(filepath.Dir(path))
	if !canMap {
		return f.open(ctx, path, p.workers, nil)
	}
	return mapRange(file, 0, f.size)
}

// giveUp makes the Packer write nothing more, and says so the first time.
func (p *Packer) giveUp(err error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.unkept == nil {
		p.unkept = err
		if p.o.Warn != nil {
			p.o.Warn(fmt.Errorf("packed weights are not kept: %w; they take memory of this process alone and are packed at every start", err))
		}
	}
	return &keepError{err}
}

// tidy makes the folder and removes what nobody needs any more: files whose
// writers are gone, packings of older layouts, other models that were not
// opened for keepUnused. Removing a file leaves those who have it mapped alone.
func (p *Packer) tidy() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.tidied || p.unkept != nil {
		return p.unkept
	}
	folder := p.folder()
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	p.tidied = true
	model := filepath.Dir(folder)
	now := time.Now()
	_ = os.Chtimes(model, now, now)
	for _, name := range names(folder) {
		if strings.Contains(name, newFile) {
			removeAbandoned(filepath.Join(folder, name))
		}
	}
	for _, name := range names(model) {
		if v, err := strconv.Atoi(strings.TrimPrefix(name, "v")); err == nil && name == version(v) && v < p.o.Layout.Version {
			os.RemoveAll(filepath.Join(model, name))
		}
	}
	all := filepath.Dir(model)
	for _, name := range names(all) {
		other := filepath.Join(all, name)
		if info, err := os.Stat(other); err == nil && info.IsDir() && now.Sub(info.ModTime()) > keepUnused {
			os.RemoveAll(other)
		}
	}
	return nil
}

// used marks the model's files as opened now, once a Packer.
func (p *Packer) used() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.marked {
		return
	}
	p.marked = true
	now := time.Now()
	_ = os.Chtimes(filepath.Dir(p.folder()), now, now) // a read-only cache is not tidied either
}

func names(folder string) (list []string) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil
	}
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

// newTemp creates the file that will be renamed to path, locked for as long as
// it is open.
func newTemp(path string) (*os.File, error) {
	for {
		name := fmt.Sprintf("%s%s%d-%016x", path, newFile, os.Getpid(), rand.Uint64())
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
		if err != nil {
			return nil, err
		}
		// Between the two calls someone may have taken it for abandoned.
		if locked, _ := lock(f); !locked || sameFile(f, name) {
			return f, nil
		}
		f.Close()
	}
}

func sameFile(f *os.File, name string) bool {
	a, err := f.Stat()
	if err != nil {
		return false
	}
	b, err := os.Stat(name)
	return err == nil && os.SameFile(a, b)
}

// removeAbandoned removes a file that was being written if its writer is gone:
// if nobody holds its lock or, where files have no locks, if it is old.
func removeAbandoned(path string) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return
	}
	defer f.Close()
	locked, held := lock(f)
	info, err := f.Stat()
	if locked || !held && err == nil && time.Since(info.ModTime()) > staleTemp {
		os.Remove(path)
	}
}
