package weights

import (
	"bufio"
	"cmp"
	"crypto/sha256"
	"fmt"
	"io"
	"math/bits"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/farlabs/inference/kernels/tensor"
)

// Limits on a header. The largest vocabularies (262,144 tokens, as many merges
// and scores) take about 20 MiB and half a million array elements.
const (
	maxHeader   = 128 << 20 // bytes
	maxPairs    = 1 << 14
	maxTensors  = 1 << 16
	maxKey      = 1<<16 - 1 // bytes, GGUF's own limit
	maxString   = 16 << 20  // bytes
	maxElements = 1 << 22   // of one array
	maxName     = 128       // bytes of a tensor's name; ggml allows 63
	maxAlign    = 1 << 20   // bytes
)

// header is what stands before the tensor data.
type header struct {
	meta    map[string]*value
	tensors []Tensor // in file order of their data, offsets from the file's start
}

// parseHeader reads the header of a GGUF file of size bytes.
func parseHeader(path string, file io.ReaderAt, size int64) (*header, error) {
	r := &reader{path: path, r: bufio.NewReaderSize(io.NewSectionReader(file, 0, size), 1<<16), size: size}
	pairs, tensors, err := r.preamble()
	if err != nil {
		return nil, err
	}
	h := &header{meta: map[string]*value{}}
	for range pairs {
		if err := r.pair(h.meta); err != nil {
			return nil, err
		}
	}
	if err := r.split(h.meta); err != nil {
		return nil, err
	}
	align, err := r.alignment(h.meta)
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	for range tensors {
		t, err := r.tensor(align)
		if err != nil {
			return nil, err
		}
		if seen[t.Name] {
			return nil, r.fail("appears twice")
		}
		seen[t.Name] = true
		h.tensors = append(h.tensors, t)
	}
	return h, r.place(h.tensors, (r.off+align-1)/align*align)
}

// preamble reads magic, version and counts.
func (r *reader) preamble() (pairs, tensors uint64, err error) {
	var magic [4]byte
	if r.size < 24 {
		return 0, 0, r.fail("%d bytes are too few for a GGUF file", r.size)
	}
	if err := r.read(magic[:]); err != nil {
		return 0, 0, err
	}
	if string(magic[:]) != "GGUF" {
		return 0, 0, r.fail("not a GGUF file: begins with %q", magic[:])
	}
	version, err := r.u32()
	switch {
	case err != nil:
		return 0, 0, err
	case version != 0 && version&0xffff == 0:
		return 0, 0, r.fail("big-endian GGUF is not supported (version %d)", bits.ReverseBytes32(version))
	case version != 2 && version != 3: // 2 has the same layout
		return 0, 0, r.fail("GGUF version %d is not supported, want 3", version)
	}
	if tensors, err = r.u64(); err != nil {
		return 0, 0, err
	}
	if pairs, err = r.u64(); err != nil {
		return 0, 0, err
	}
	if tensors > maxTensors {
		return 0, 0, r.fail("%d tensors, at most %d are read", tensors, maxTensors)
	}
	if pairs > maxPairs {
		return 0, 0, r.fail("%d metadata keys, at most %d are read", pairs, maxPairs)
	}
	return pairs, tensors, nil
}

// pair reads one metadata key and its value.
func (r *reader) pair(meta map[string]*value) error {
	r.item = fmt.Sprintf("key %d", len(meta))
	r.sum = sha256.New()
	key, err := r.str(maxKey)
	if err != nil {
		return err
	}
	r.item = "key " + quote(key)
	if key == "" || !utf8.ValidString(key) {
		return r.fail("not a valid key")
	}
	if meta[key] != nil {
		return r.fail("appears twice")
	}
	v, err := r.value()
	if err != nil {
		return err
	}
	r.sum.Sum(v.sum[:0])
	r.sum, r.item = nil, ""
	meta[key] = v
	return nil
}

func (r *reader) value() (*value, error) {
	v, n := &value{}, uint64(1)
	k, err := r.u32()
	if err != nil {
		return nil, err
	}
	if kind(k) == kindArray {
		v.array = true
		if k, err = r.u32(); err != nil {
			return nil, err
		}
		if kind(k) == kindArray {
			return nil, r.fail("arrays of arrays are not supported")
		}
		if n, err = r.u64(); err != nil {
			return nil, err
		}
	}
	if v.kind = kind(k); v.kind >= numKinds {
		return nil, r.fail("unknown value type %d", k)
	}
	if n > maxElements {
		return nil, r.fail("array of %d elements, at most %d are read", n, maxElements)
	}
	if v.kind == kindString {
		v.strings, err = r.strs(int(n), v.array)
		return v, err
	}
	if v.raw, err = r.bytes(n * uint64(v.kind.size())); err != nil {
		return nil, err
	}
	if v.kind == kindBool {
		for _, b := range v.raw {
			if b > 1 {
				return nil, r.fail("truth value %d", b)
			}
		}
	}
	return v, nil
}

// strs reads n strings into one allocation that grows with what was read.
func (r *reader) strs(n int, array bool) ([]string, error) {
	if !array {
		s, err := r.str(maxString)
		return []string{s}, err
	}
	if int64(n) > (r.size-r.off)/8 {
		return nil, r.fail("truncated: %d strings do not fit the file", n)
	}
	ends := make([]int, n)
	var all strings.Builder
	for i := range ends {
		m, err := r.length(maxString)
		if err != nil {
			return nil, err
		}
		if err := r.copy(&all, m); err != nil {
			return nil, err
		}
		ends[i] = all.Len()
	}
	out, text, start := make([]string, n), all.String(), 0
	for i, end := range ends {
		out[i], start = text[start:end], end
	}
	return out, nil
}

// split refuses one part of a model in several files.
func (r *reader) split(meta map[string]*value) error {
	v := meta["split.count"]
	if v == nil || v.array {
		return nil
	}
	if n, ok := v.integer(0); ok && n > 1 {
		r.item = `key "split.count"`
		return r.fail("one of %d parts of a model; join the parts into one file first (llama-gguf-split --merge)", n)
	}
	return nil
}

func (r *reader) alignment(meta map[string]*value) (int64, error) {
	v := meta["general.alignment"]
	if v == nil {
		return 32, nil
	}
	r.item = `key "general.alignment"`
	if v.array || v.kind != kindU32 {
		return 0, r.fail("want a 32-bit unsigned number")
	}
	a, _ := v.integer(0)
	if a < 8 || a > maxAlign || a&(a-1) != 0 {
		return 0, r.fail("%d: want a power of two from 8 to %d", a, maxAlign)
	}
	return a, nil
}

// tensor reads one entry of the tensor table; its offset is still relative.
func (r *reader) tensor(align int64) (t Tensor, err error) {
	r.item = "a tensor's name"
	if t.Name, err = r.str(maxName); err != nil {
		return t, err
	}
	r.item = "tensor " + quote(t.Name)
	if !validName(t.Name) {
		return t, r.fail("not a valid name")
	}
	dims, err := r.u32()
	if err != nil {
		return t, err
	}
	if dims < 1 || dims > maxDims {
		return t, r.fail("%d dimensions, want 1 to %d", dims, maxDims)
	}
	t.Shape = make([]int, dims)
	for i := range t.Shape {
		n, err := r.u64()
		if err != nil {
			return t, err
		}
		if n < 1 || n > 1<<31-1 {
			return t, r.fail("dimension of %d elements", n)
		}
		t.Shape[len(t.Shape)-1-i] = int(n) // the file lists the fastest first
	}
	number, err := r.u32()
	if err != nil {
		return t, err
	}
	if t.DType = ggmlTypes[number]; t.DType == tensor.Invalid {
		return t, &TypeError{Path: r.path, Tensor: t.Name, Type: number}
	}
	if t.Size, err = packedSize(t.DType, t.Shape); err != nil {
		return t, r.fail("%v", err)
	}
	offset, err := r.u64()
	if err != nil {
		return t, err
	}
	if offset > uint64(r.size) || int64(offset) > r.size-t.Size {
		return t, r.fail("truncated: %d bytes at offset %d of the data do not fit the file's %d", t.Size, offset, r.size)
	}
	t.Offset = int64(offset)
	if t.Offset%align != 0 {
		return t, r.fail("offset %d is not aligned to %d bytes", t.Offset, align)
	}
	return t, nil
}

// place turns relative offsets into offsets from the file's start, sorts the
// tensors by them, and checks that each lies within the file and its own range.
func (r *reader) place(tensors []Tensor, start int64) error {
	for i := range tensors {
		tensors[i].Offset += start
	}
	slices.SortFunc(tensors, func(a, b Tensor) int {
		return cmp.Or(cmp.Compare(a.Offset, b.Offset), cmp.Compare(a.Name, b.Name))
	})
	end := start
	for i, t := range tensors {
		r.item = "tensor " + quote(t.Name)
		if t.Offset < end {
			return r.fail("overlaps tensor %s", quote(tensors[i-1].Name))
		}
		if end = t.Offset + t.Size; end > r.size {
			return r.fail("truncated: it ends at byte %d of a file of %d", end, r.size)
		}
	}
	return nil
}

// validName holds names to what can stand in a line of a manifest.
func validName(s string) bool {
	if s == "" || len(s) > maxName || !utf8.ValidString(s) {
		return false
	}
	return !strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c >= 0x7f && c < 0xa0 })
}
