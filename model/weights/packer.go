package weights

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"

	"github.com/farlabs/inference"
)

// PackOptions say how a Packer works.
type PackOptions struct {
	Layout Layout

	// Cache is the folder in which packed files are kept, under packed/; ""
	// keeps none. Digest is then the model's, and the caller vouches for it.
	Cache  string
	Digest inference.Digest

	// Workers is how many goroutines pack or check at once for one call of
	// Matrices; 0: one per core, at most 8, which is what memory can feed. Each
	// takes about 1 MiB meanwhile.
	Workers int

	// Touch brings mapped matrices into the page tables at once, rather than as
	// they are used.
	Touch bool

	// Progress, if not nil, is told the packed bytes that became ready since it
	// was called last, and whether they were packed or found in the cache. One
	// call at a time, from several goroutines.
	Progress func(bytes int64, packed bool)

	// Warn, if not nil, is told of files that are damaged or cannot be kept;
	// the matrices are served all the same. Calls as for Progress.
	Warn func(error)
}

// PackStats counts packed bytes by where they came from.
type PackStats struct {
	Packed int64 // from the model file; the rest was there
	Found  int64 // in files of the cache
	Reused int64 // in memory of the same Checkpoint
	Heap   int64 // of all those, bytes that lie on Go's heap
	Alone  int64 // bytes in memory that is shared with no other process
}

// Packer gives packed matrices of a checkpoint. It is safe for concurrent use.
type Packer struct {
	c       *Checkpoint
	o       PackOptions
	workers int

	mu     sync.Mutex // also held in calls of Progress and Warn
	stats  PackStats
	tidied bool  // the folder was made and looked through
	marked bool  // the model's folder has the time of now
	unkept error // why files cannot be kept; it was told
}

// Packer returns a Packer for c.
func (c *Checkpoint) Packer(o PackOptions) *Packer {
	p := &Packer{c: c, o: o, workers: o.Workers}
	if p.workers <= 0 {
		p.workers = min(runtime.NumCPU(), 8)
	}
	return p
}

// Stats returns what was done so far.
func (p *Packer) Stats() PackStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stats
}

// Matrices returns the packed bytes of the named matrices, in that order:
// read-only, aligned to 64 bytes, borrowed until the Checkpoint's Close, the
// same memory whenever a Packer of this Checkpoint is asked for the same group.
// They come from the file named group in the cache, which is mapped and shared
// with other processes; if it is not there, or not whole, they are packed and
// it is written. Where it cannot be written they are packed into memory.
//
// Errors are those of the model file, of the layout, and of ctx.
func (p *Packer) Matrices(ctx context.Context, group string, names []string) ([][]byte, error) {
	f, err := p.c.plan(&p.o.Layout, p.o.Digest, group, names)
	if err != nil {
		return nil, err
	}
	key := strconv.Itoa(p.o.Layout.Version) + "\n" + f.key
	r, ok, err := p.c.held(key)
	if err != nil {
		return nil, err
	}
	if ok {
		p.count(&p.stats.Reused, f, r)
		(&meter{p: p}).add(f.total)
		return f.data(r.bytes), nil
	}
	r, from, err := p.bring(ctx, f, group)
	if err != nil {
		return nil, fmt.Errorf("pack weights: %w", err)
	}
	if r, err = p.c.hold(key, r); err != nil {
		return nil, err
	}
	if p.o.Touch && !r.heap && !r.alone {
		touch(r.bytes)
	}
	p.count(from, f, r)
	return f.data(r.bytes), nil
}

func (p *Packer) count(from *int64, f *packedFile, r region) {
	p.mu.Lock()
	defer p.mu.Unlock()
	*from += f.total
	if r.heap {
		p.stats.Heap += f.total
	}
	if r.alone || r.heap {
		p.stats.Alone += f.total
	}
}

// meter tells the progress of one group: what is begun again, because a file
// was damaged or could not be kept, is told once.
type meter struct {
	p          *Packer
	packed     bool
	done, told int64 // bytes; guarded by the Packer's mu
}

// begin starts from zero.
func (m *meter) begin(packed bool) {
	m.p.mu.Lock()
	defer m.p.mu.Unlock()
	m.packed, m.done = packed, 0
}

// add says that n bytes more are ready. A nil meter tells nobody.
func (m *meter) add(n int64) {
	if m == nil {
		return
	}
	m.p.mu.Lock()
	defer m.p.mu.Unlock()
	if m.done += n; m.done > m.told && m.p.o.Progress != nil {
		m.p.o.Progress(m.done-m.told, m.packed)
		m.told = m.done
	}
}

func (p *Packer) warn(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.o.Warn != nil {
		p.o.Warn(err)
	}
}

// bring finds a group's packed file, makes it, or packs into memory. from is
// the counter that the bytes belong to.
func (p *Packer) bring(ctx context.Context, f *packedFile, group string) (r region, from *int64, err error) {
	m := &meter{p: p}
	if p.o.Cache != "" {
		path := filepath.Join(p.folder(), group)
		r, err = f.open(ctx, path, p.workers, m)
		switch {
		case err == nil:
			p.used()
			return r, &p.stats.Found, nil
		case ctx.Err() != nil:
			return r, nil, context.Cause(ctx)
		case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR):
			p.warn(fmt.Errorf("weights are packed again: %w", err))
		}
		m.begin(true)
		r, err = p.keep(ctx, f, path, m)
		if unkept := (*keepError)(nil); !errors.As(err, &unkept) {
			return r, &p.stats.Packed, err
		}
	}
	m.begin(true)
	if r, err = anonymous(f.size); err != nil {
		return r, nil, err
	}
	if err = f.fill(ctx, p.c, &p.o.Layout, r.bytes, p.workers, m); err != nil {
		r.release()
	}
	return r, &p.stats.Packed, err
}
