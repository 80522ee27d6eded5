package journal

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"runtime"
)

const (
	headerSize = 16
	frameSize  = 8 // before each record
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func header(kind string) []byte {
	b := make([]byte, headerSize)
	copy(b, kind)
	b[headerSize-1] = '\n'
	return b
}

func frame(b, record []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(len(record)))
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(record, castagnoli))
	return append(b, record...)
}

// Read hands every record of the journal at path to apply, without opening it
// for writing and without minding a lock: for a look at another process's
// journal. A missing file has no records.
func Read(path, kind string, apply func(record []byte) error) error {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open journal: %w", err)
	}
	defer f.Close()
	if _, _, err := read(f, kind, apply); err != nil {
		return fmt.Errorf("journal %s: %w", path, err)
	}
	return nil
}

// read returns the length of the whole records, header included, and of what
// follows them. A file shorter than its header counts as empty.
func read(f *os.File, kind string, apply func([]byte) error) (good, rest int64, err error) {
	info, err := f.Stat()
	if err != nil {
		return 0, 0, err
	}
	total := info.Size()
	good, err = scan(io.NewSectionReader(f, 0, total), kind, apply)
	return good, total - good, err
}

// scan reads records until the first that is not whole.
func scan(r io.Reader, kind string, apply func([]byte) error) (good int64, err error) {
	br := bufio.NewReaderSize(r, 64<<10)
	head := make([]byte, headerSize)
	if _, err := io.ReadFull(br, head); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return 0, nil
		}
		return 0, err
	}
	if want := header(kind); string(head) != string(want) {
		return 0, fmt.Errorf("is no %q journal, it starts with %q: move the file away", kind, head)
	}
	good = headerSize
	buf := make([]byte, MaxRecord)
	for {
		if _, err := io.ReadFull(br, head[:frameSize]); err != nil {
			return good, unlessEOF(err)
		}
		n, sum := binary.LittleEndian.Uint32(head), binary.LittleEndian.Uint32(head[4:])
		if n == 0 || n > MaxRecord {
			return good, nil
		}
		if _, err := io.ReadFull(br, buf[:n]); err != nil {
			return good, unlessEOF(err)
		}
		if crc32.Checksum(buf[:n], castagnoli) != sum {
			return good, nil
		}
		if err := apply(buf[:n]); err != nil {
			return good, fmt.Errorf("record at byte %d: %w", good, err)
		}
		good += frameSize + int64(n)
	}
}

func unlessEOF(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}

// isTorn reports whether the bytes from offset on are what a crash leaves:
// less than one record, or zeros that the file system had reserved.
func isTorn(f *os.File, offset int64) (bool, error) {
	info, err := f.Stat()
	if err != nil {
		return false, err
	}
	if info.Size()-offset < frameSize+MaxRecord {
		return true, nil
	}
	br := bufio.NewReader(io.NewSectionReader(f, offset, info.Size()-offset))
	for {
		c, err := br.ReadByte()
		if err == io.EOF {
			return true, nil
		}
		if err != nil || c != 0 {
			return false, err
		}
	}
}

func copyFrom(w io.Writer, f *os.File, offset int64) (int64, error) {
	return io.Copy(w, io.NewSectionReader(f, offset, 1<<62))
}

// writeFile makes a journal file at path and leaves it open.
func writeFile(path string, opts Options, fill func(emit func([]byte) error) error) (f *os.File, size int64, err error) {
	f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, 0, err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(path)
		}
	}()
	w := bufio.NewWriterSize(f, 64<<10)
	w.Write(header(opts.Kind))
	size = headerSize
	var scratch []byte
	err = fill(func(record []byte) error {
		if len(record) == 0 || len(record) > MaxRecord {
			return fmt.Errorf("record of %d bytes, want 1 to %d", len(record), MaxRecord)
		}
		scratch = frame(scratch[:0], record)
		size += int64(len(scratch))
		_, err := w.Write(scratch)
		return err
	})
	if err == nil {
		err = w.Flush()
	}
	if err == nil && !opts.NoSync {
		err = f.Sync()
	}
	return f, size, err
}

// replace renames from to to and returns the open file of the new content;
// nil when neither the old nor the new one is open any more.
func replace(f, old *os.File, from, to string) (*os.File, error) {
	if runtime.GOOS != "windows" {
		if err := os.Rename(from, to); err != nil {
			f.Close()
			os.Remove(from)
			return old, err
		}
		old.Close()
		return f, nil
	}
	// Windows renames no open file.
	old.Close()
	if err := errors.Join(f.Close(), os.Rename(from, to)); err != nil {
		return nil, err
	}
	return os.OpenFile(to, os.O_RDWR, 0o600)
}

// syncDir makes a new name in dir last; systems that cannot are left alone.
func syncDir(dir string) {
	if d, err := os.Open(dir); err == nil {
		_ = d.Sync()
		d.Close()
	}
}
