package weights

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/farlabs/inference/kernels/tensor"
)

// Tensor describes one tensor of a file.
type Tensor struct {
	Name   string
	DType  tensor.DType
	Shape  []int // outermost first: [out, in]; borrowed, do not change it
	Offset int64 // of its data from the start of the file, bytes
	Size   int64 // bytes
}

// Checkpoint is an open model file. It is safe for concurrent use. The file
// must not be written to while it is open: mapped pages would change under the
// reader, and cutting it short would end the process.
type Checkpoint struct {
	path    string
	file    *os.File
	size    int64
	mtime   time.Time
	meta    map[string]*value
	tensors []Tensor       // by offset
	index   map[string]int // name -> position in tensors

	mu     sync.Mutex
	closed bool
	data   map[string]region // by tensor
	packed map[string]region // of a Packer, by its key
}

// Open reads the header of a GGUF file (version 3, little-endian). It reads no
// tensor data. The errors are those of the file system, *FormatError and
// *TypeError; each names the file.
func Open(path string) (*Checkpoint, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open model file: %w", err)
	}
	c, err := open(f, path)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("open model file: %w", err)
	}
	return c, nil
}

func open(f *os.File, path string) (*Checkpoint, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &FormatError{Path: path, Reason: "not a regular file"}
	}
	h, err := parseHeader(path, f, info.Size())
	if err != nil {
		return nil, err
	}
	c := &Checkpoint{
		path: path, file: f, size: info.Size(), mtime: info.ModTime(),
		meta: h.meta, tensors: h.tensors,
		index: make(map[string]int, len(h.tensors)), data: map[string]region{}, packed: map[string]region{},
	}
	for i, t := range h.tensors {
		c.index[t.Name] = i
	}
	return c, nil
}

// Path returns the path that Open was given.
func (c *Checkpoint) Path() string { return c.path }

// Tensors returns the tensors in the order of their data in the file.
func (c *Checkpoint) Tensors() []Tensor { return slices.Clone(c.tensors) }

// Tensor returns the tensor of that name.
func (c *Checkpoint) Tensor(name string) (t Tensor, ok bool) {
	i, ok := c.index[name]
	if !ok {
		return Tensor{}, false
	}
	return c.tensors[i], true
}

// Data returns the packed bytes of a whole tensor: read-only, borrowed until
// Close, the same memory on every call, aligned to 8 bytes at least. It does not
// check them against a manifest; Verify does.
//
// A tensor of smallTensor bytes or more is mapped on its own, so that no page of
// another tensor becomes resident; a smaller one is copied, since pages around
// it would weigh more than itself.
func (c *Checkpoint) Data(name string) ([]byte, error) {
	t, ok := c.Tensor(name)
	if !ok {
		return nil, &FormatError{Path: c.path, Item: "tensor " + quote(name), Reason: "not in this file"}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, fmt.Errorf("%s: %w", c.path, ErrClosed)
	}
	if r, ok := c.data[name]; ok {
		return r.bytes, nil
	}
	if err := c.unchanged(); err != nil {
		return nil, err
	}
	r, err := load(c.file, t.Offset, t.Size)
	if err != nil {
		return nil, fmt.Errorf("%s: tensor %s: %w", c.path, quote(name), err)
	}
	c.data[name] = r
	return r.bytes, nil
}

// held returns packed memory that hold was given.
func (c *Checkpoint) held(key string) (r region, ok bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return r, false, fmt.Errorf("%s: %w", c.path, ErrClosed)
	}
	r, ok = c.packed[key]
	return r, ok, nil
}

// hold takes packed memory to release it in Close, and returns it, or what it
// was given under the same key before.
func (c *Checkpoint) hold(key string, r region) (region, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return region{}, errors.Join(fmt.Errorf("%s: %w", c.path, ErrClosed), r.release())
	}
	if first, ok := c.packed[key]; ok {
		return first, r.release()
	}
	c.packed[key] = r
	return r, nil
}

// Close unmaps all tensors and closes the file; slices from Data and from a
// Packer must not be used afterwards. Closing again does nothing.
func (c *Checkpoint) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil
	}
	c.closed = true
	err := c.file.Close()
	for _, all := range []map[string]region{c.data, c.packed} {
		for _, r := range all {
			if e := r.release(); err == nil {
				err = e
			}
		}
	}
	c.data, c.packed = nil, nil
	return err
}

// unchanged reports an error when the file was written to since it was opened.
func (c *Checkpoint) unchanged() error {
	info, err := c.file.Stat()
	if err != nil {
		return err
	}
	if !c.same(info) {
		return &FormatError{Path: c.path, Reason: "changed while it was open"}
	}
	return nil
}

func (c *Checkpoint) same(info fs.FileInfo) bool {
	return info.Size() == c.size && info.ModTime().Equal(c.mtime)
}
