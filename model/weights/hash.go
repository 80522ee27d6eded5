package weights

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// chunk is what a hashing pass reads at a time: large enough for any disk,
// small enough to notice a cancelled context within milliseconds.
const chunk = 1 << 20 // bytes

// Manifest returns the manifest of the file. The first call for a file reads it
// whole, front to back with ordinary reads, and keeps the result in cacheDir
// ("" keeps nothing); later ones, also in other processes, find it there by the
// file's device, inode, size and modification time. A cache that cannot be
// written or holds nonsense costs another pass, never an error.
//
// progress, which may be nil, is called from this goroutine with bytes hashed
// and bytes in all; it is not called when the manifest was in the cache.
func (c *Checkpoint) Manifest(ctx context.Context, cacheDir string, progress func(done, total int64)) (*Manifest, error) {
	id, err := c.identity()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.path, err)
	}
	if m := readCached(cacheDir, id); m != nil && c.Match(m) == nil {
		return m, nil
	}
	m, err := c.hash(ctx, progress)
	if err != nil {
		return nil, fmt.Errorf("hash model file: %w", err)
	}
	// A file written in the clock's last tick may be written again under the
	// same time; leave it to the next start.
	if time.Since(c.mtime) > settled {
		writeCached(cacheDir, id, m)
	}
	return m, nil
}

// settled is older than the coarsest clock of file systems in use (FAT, 2 s).
const settled = 3 * time.Second

// hash is the pass over the whole file.
func (c *Checkpoint) hash(ctx context.Context, progress func(done, total int64)) (*Manifest, error) {
	m := c.headerSums()
	if err := m.limit(c.path); err != nil {
		return nil, err
	}
	names := make([]string, len(c.tensors))
	for i, t := range c.tensors {
		names[i] = t.Name
	}
	sums := make(map[string][sha256.Size]byte, len(names))
	err := c.sums(ctx, names, progress, func(t Tensor, sum [sha256.Size]byte) error {
		sums[t.Name] = sum
		return nil
	})
	if err != nil {
		return nil, err
	}
	for i := range m.Tensors {
		m.Tensors[i].Sum = sums[m.Tensors[i].Name]
	}
	return m, c.unchanged()
}

// limit refuses a model whose manifest would be too long, before hashing it.
func (m *Manifest) limit(path string) error {
	if len(m.Tensors) == 0 {
		return &FormatError{Path: path, Reason: "holds no tensors"}
	}
	if n := len(m.Marshal()); n > MaxManifest {
		return &FormatError{Path: path, Reason: fmt.Sprintf("%d tensors make a manifest of %d bytes, at most %d are allowed", len(m.Tensors), n, MaxManifest)}
	}
	return nil
}

// sums hashes the named tensors in file order and yields each.
func (c *Checkpoint) sums(ctx context.Context, names []string, progress func(done, total int64), yield func(Tensor, [sha256.Size]byte) error) error {
	var todo []Tensor
	var done, total int64
	for _, name := range names {
		t, ok := c.Tensor(name)
		if !ok {
			return &FormatError{Path: c.path, Item: "tensor " + quote(name), Reason: "not in this file"}
		}
		todo = append(todo, t)
		total += t.Size
	}
	slices.SortFunc(todo, func(a, b Tensor) int { return cmp.Compare(a.Offset, b.Offset) })
	buf := make([]byte, min(chunk, total))
	for _, t := range todo {
		h := sha256.New()
		for off := int64(0); off < t.Size; {
			if err := ctx.Err(); err != nil {
				return context.Cause(ctx)
			}
			b := buf[:min(chunk, t.Size-off)]
			if _, err := c.file.ReadAt(b, t.Offset+off); err != nil {
				if err == io.EOF {
					err = io.ErrUnexpectedEOF
				}
				return &FormatError{Path: c.path, Item: "tensor " + quote(t.Name), Reason: err.Error()}
			}
			h.Write(b)
			off += int64(len(b))
			done += int64(len(b))
			if progress != nil {
				progress(done, total)
			}
		}
		if err := yield(t, [sha256.Size]byte(h.Sum(nil))); err != nil {
			return err
		}
	}
	return nil
}

// Match checks everything that stands in the header against m: the three
// groups of metadata, and names, dtypes and shapes of all tensors. It reads
// nothing. The error is a *MismatchError.
func (c *Checkpoint) Match(m *Manifest) error {
	own := c.headerSums()
	want := m.groups()
	for i, g := range own.groups() {
		if *g.sum != *want[i].sum {
			return &MismatchError{Path: c.path, Item: g.name, Want: hex.EncodeToString(want[i].sum[:]), Got: hex.EncodeToString(g.sum[:])}
		}
	}
	for i := range max(len(m.Tensors), len(own.Tensors)) {
		w, g := describe(m.Tensors, i), describe(own.Tensors, i)
		if w != g {
			return &MismatchError{Path: c.path, Item: fmt.Sprintf("tensor %d by name", i), Want: w, Got: g}
		}
	}
	return nil
}

func describe(ts []TensorSum, i int) string {
	if i >= len(ts) {
		return "none"
	}
	return fmt.Sprintf("%s %s %v", quote(ts[i].Name), ts[i].DType, ts[i].Shape)
}

// Verify checks the header against m, then reads the named tensors and checks
// their contents; it reads no other. It reports the first that differs, as a
// *MismatchError. progress is as for Manifest.
func (c *Checkpoint) Verify(ctx context.Context, m *Manifest, names []string, progress func(done, total int64)) error {
	if err := c.Match(m); err != nil {
		return err
	}
	err := c.sums(ctx, names, progress, func(t Tensor, sum [sha256.Size]byte) error {
		if want, _ := m.Tensor(t.Name); sum != want.Sum {
			return sumMismatch(c.path, t.Name, want.Sum, sum)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("verify model file: %w", err)
	}
	return c.unchanged()
}

// headerSums returns the manifest as far as the header tells it: tensors
// without their sums.
func (c *Checkpoint) headerSums() *Manifest {
	m := &Manifest{}
	config, tokenizer, template := sha256.New(), sha256.New(), sha256.New()
	for _, key := range c.Keys() {
		sum := c.meta[key].sum
		switch groupOf(key) {
		case "config":
			config.Write(sum[:])
		case "tokenizer":
			tokenizer.Write(sum[:])
		case "template":
			template.Write(sum[:])
		}
	}
	config.Sum(m.Config[:0])
	tokenizer.Sum(m.Tokenizer[:0])
	template.Sum(m.Template[:0])
	for _, t := range c.tensors {
		m.Tensors = append(m.Tensors, TensorSum{Name: t.Name, DType: t.DType, Shape: t.Shape})
	}
	slices.SortFunc(m.Tensors, func(a, b TensorSum) int { return cmp.Compare(a.Name, b.Name) })
	return m
}

// groupOf returns the group whose hash covers key, "" for none; see Manifest.
func groupOf(key string) string {
	switch prefix, _, _ := strings.Cut(key, "."); {
	case key == "tokenizer.chat_template", key == "tokenizer.chat_templates", strings.HasPrefix(key, "tokenizer.chat_template."):
		return "template"
	case !strings.Contains(key, "."):
		return "config"
	case prefix == "tokenizer":
		return "tokenizer"
	case key == "general.architecture", key == "general.quantization_version":
		return "config"
	case prefix == "general", prefix == "split", prefix == "quantize":
		return ""
	}
	return "config"
}
