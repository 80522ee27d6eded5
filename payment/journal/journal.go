package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
)

// MaxRecord is the length of the longest record, bytes.
const MaxRecord = 4096

// ErrClosed is returned by a closed journal.
var ErrClosed = errors.New("journal is closed")

// Options of Open.
type Options struct {
	Kind   string // up to 15 ASCII bytes; a file of another kind is refused
	NoSync bool   // Sync returns at once: for tests, and for data that may be lost with the power
}

// Journal is an open journal file. Its methods may be called at the same time
// from several goroutines; one process at a time may have it open.
type Journal struct {
	path string
	opts Options

	mu      sync.Mutex
	cond    sync.Cond // on mu: synced, syncing or err changed
	f       *os.File  // nil: closed
	size    int64     // bytes of whole records
	count   uint64    // appends so far
	synced  uint64    // appends that are on the disk
	syncing bool
	err     error // a failed fsync: the disk's state is unknown, so it stays
	scratch []byte
	later   sync.WaitGroup // the goroutine of SyncSoon
	queued  bool           // it exists
}

// Open opens or creates the journal at path, mode 0600, and hands every record
// in it to apply, which borrows the bytes. An error of apply ends Open.
func Open(path string, opts Options, apply func(record []byte) error) (*Journal, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	j := &Journal{path: path, opts: opts, f: f}
	j.cond.L = &j.mu
	if err := j.load(apply); err != nil {
		f.Close()
		return nil, fmt.Errorf("journal %s: %w", path, err)
	}
	return j, nil
}

func (j *Journal) load(apply func([]byte) error) error {
	good, rest, err := read(j.f, j.opts.Kind, apply)
	if err != nil {
		return err
	}
	if rest > 0 {
		if err := j.setAside(good); err != nil {
			return err
		}
		if err := j.f.Truncate(good); err != nil {
			return err
		}
	}
	if good == 0 {
		if _, err := j.f.WriteAt(header(j.opts.Kind), 0); err != nil {
			return err
		}
		if good = headerSize; !j.opts.NoSync {
			syncDir(filepath.Dir(j.path))
		}
	}
	j.size = good
	return nil
}

// setAside copies what follows offset to a file of its own when an unfinished
// record does not explain it.
func (j *Journal) setAside(offset int64) error {
	torn, err := isTorn(j.f, offset)
	if err != nil || torn {
		return err
	}
	name := fmt.Sprintf("%s.bad-%d", j.path, offset)
	out, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = copyFrom(out, j.f, offset)
	return errors.Join(err, out.Close())
}

// Path returns the file's path.
func (j *Journal) Path() string { return j.path }

// Size returns the file's length in bytes.
func (j *Journal) Size() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.size
}

// Append writes one record, of which it borrows the bytes. On return the
// record survives the death of the process, though not yet that of the
// machine. An error, such as a full disk, leaves the journal as it was.
func (j *Journal) Append(record []byte) error {
	if len(record) == 0 || len(record) > MaxRecord {
		return fmt.Errorf("journal %s: record of %d bytes, want 1 to %d", j.path, len(record), MaxRecord)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.usable(); err != nil {
		return err
	}
	j.scratch = frame(j.scratch[:0], record)
	if _, err := j.f.WriteAt(j.scratch, j.size); err != nil {
		// What was written of it is overwritten by the next record, or cut off
		// as unfinished.
		_ = j.f.Truncate(j.size)
		return fmt.Errorf("journal: %w", err)
	}
	j.size += int64(len(j.scratch))
	j.count++
	return nil
}

func (j *Journal) usable() error {
	if j.f == nil {
		return fmt.Errorf("journal %s: %w", j.path, ErrClosed)
	}
	return j.err
}

// Sync returns when every record appended before the call is on the disk. The
// fsyncs of callers that wait at the same time are one.
func (j *Journal) Sync() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.syncTo(j.count)
}

func (j *Journal) syncTo(target uint64) error {
	for {
		if j.synced >= target {
			return nil
		}
		if err := j.usable(); err != nil {
			return err
		}
		if j.syncing {
			j.cond.Wait()
			continue
		}
		if err := j.flush(); err != nil {
			return err
		}
	}
}

// flush does one fsync with mu released meanwhile; nobody else may be syncing.
func (j *Journal) flush() error {
	upTo := j.count
	if !j.opts.NoSync {
		f := j.f
		j.syncing = true
		j.mu.Unlock()
		err := f.Sync()
		j.mu.Lock()
		j.syncing = false
		j.cond.Broadcast()
		if err != nil {
			j.err = fmt.Errorf("journal %s: %w", j.path, err)
			return j.err
		}
	}
	j.synced = max(j.synced, upTo)
	return nil
}

// SyncSoon starts a Sync and does not wait for it; at most one runs. A failure
// shows in the next Append or Sync.
func (j *Journal) SyncSoon() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.queued || j.f == nil || j.opts.NoSync {
		return
	}
	j.queued = true
	j.later.Go(func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.queued = false // from here on a new call starts a new one: it may have newer records
		_ = j.syncTo(j.count)
	})
}

// Rewrite replaces the journal's content by the records that fill emits, which
// must say the same as the old ones. The old file stays until the new one is
// on the disk; after an error it is still in use.
func (j *Journal) Rewrite(fill func(emit func(record []byte) error) error) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	for j.syncing {
		j.cond.Wait()
	}
	if err := j.usable(); err != nil {
		return err
	}
	f, size, err := writeFile(j.path+".new", j.opts, fill)
	if err != nil {
		return fmt.Errorf("journal %s: rewrite: %w", j.path, err)
	}
	if f, err = replace(f, j.f, j.path+".new", j.path); err != nil {
		if f == nil {
			j.err = fmt.Errorf("journal %s: rewrite: %w", j.path, err)
		}
		return fmt.Errorf("journal %s: rewrite: %w", j.path, err)
	}
	if !j.opts.NoSync {
		syncDir(filepath.Dir(j.path))
	}
	j.f, j.size, j.synced = f, size, j.count
	return nil
}

// Close syncs and closes the file. A second call does nothing.
func (j *Journal) Close() error {
	j.mu.Lock()
	if j.f == nil {
		j.mu.Unlock()
		return nil
	}
	err := j.syncTo(j.count)
	j.mu.Unlock()
	j.later.Wait()
	return errors.Join(err, j.Abandon())
}

// Abandon closes the file without a sync, as the death of the process would.
func (j *Journal) Abandon() error {
	j.mu.Lock()
	for j.syncing {
		j.cond.Wait()
	}
	f := j.f
	j.f = nil
	j.cond.Broadcast()
	j.mu.Unlock()
	j.later.Wait()
	if f == nil {
		return nil
	}
	return f.Close()
}
