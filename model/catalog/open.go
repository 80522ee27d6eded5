package catalog

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/model/weights"
)

// Model is an opened model file.
type Model struct {
	Source
	Checkpoint *weights.Checkpoint
	Manifest   *weights.Manifest // nil until Identify

	cacheDir string
}

// Digest returns the model's identity; only after Identify.
func (m *Model) Digest() inference.Digest { return m.Manifest.Digest() }

// Close releases the file.
func (m *Model) Close() error { return m.Checkpoint.Close() }

// Read resolves spec and reads the header of the file. id, unless empty, takes
// the place of the name that the path would give.
func Read(spec, cacheDir string, id inference.ModelID) (*Model, error) {
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
	return &Model{Source: src, Checkpoint: c, cacheDir: cacheDir}, nil
}

// Identify establishes the model's identity. The first time that a file is seen
// it reads the whole of it, telling progress the bytes done and in all; later
// the manifest comes from the cache.
func (m *Model) Identify(ctx context.Context, progress func(done, total int64)) error {
	manifest, err := m.Checkpoint.Manifest(ctx, m.cacheDir, progress)
	if err == nil {
		err = m.Check(manifest.Digest())
	}
	if err != nil {
		return fmt.Errorf("model %s: %w", m.ID, err)
	}
	m.Manifest = manifest
	return nil
}

// Open is Read and Identify.
func Open(ctx context.Context, spec, cacheDir string, id inference.ModelID, progress func(done, total int64)) (*Model, error) {
	m, err := Read(spec, cacheDir, id)
	if err != nil {
		return nil, err
	}
	if err := m.Identify(ctx, progress); err != nil {
		_ = m.Close()
		return nil, err
	}
	return m, nil
}
