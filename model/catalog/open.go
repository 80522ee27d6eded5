package catalog

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/model/weights"
)

// Model is an opened model file whose identity is known.
type Model struct {
	Source
	Checkpoint *weights.Checkpoint
	Manifest   *weights.Manifest
}

// Digest returns the model's identity.
func (m *Model) Digest() inference.Digest { return m.Manifest.Digest() }

// Close releases the file.
func (m *Model) Close() error { return m.Checkpoint.Close() }

// Open resolves spec, opens the file and establishes its identity. The first
// time it sees a file it reads the whole of it, telling progress the bytes done
// and in all; later the manifest comes from cacheDir. id, unless empty, takes
// the place of the name that the path would give.
func Open(ctx context.Context, spec, cacheDir string, id inference.ModelID, progress func(done, total int64)) (*Model, error) {
	src, err := Resolve(spec, cacheDir)
	if err != nil {
		return nil, err
	}
	if id != "" {
		if err := id.Validate(); err != nil {
			return nil, err
		}
		src.ID = id
	}
	c, err := weights.Open(src.Path)
	if bad := (*weights.FormatError)(nil); errors.As(err, &bad) {
		return nil, fmt.Errorf("%w; %s", err, cmp.Or(src.next, "the file is damaged, or no GGUF file: get it again"))
	}
	if err != nil {
		return nil, err
	}
	m, err := c.Manifest(ctx, cacheDir, progress)
	if err == nil {
		err = src.Check(m.Digest())
	}
	if err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("model %s: %w", src.ID, err)
	}
	return &Model{Source: src, Checkpoint: c, Manifest: m}, nil
}
