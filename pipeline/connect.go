package pipeline

import (
	"context"
	"errors"
	"fmt"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/model"
	"github.com/farlabs/inference/model/arch"
	"github.com/farlabs/inference/model/catalog"
	"github.com/farlabs/inference/model/chat"
	"github.com/farlabs/inference/model/tokenizer"
)

// Config is what Connect needs.
type Config struct {
	// Model is a catalog id, or the path of a GGUF file, of which the ends and
	// the tokenizer are read; the same model on client and nodes has the same
	// digest.
	Model string
	// ModelID names a model given by a path.
	ModelID inference.ModelID
	Client  ClientConfig
	// Progress is told the bytes hashed and in all, the first time that a file
	// is seen; may be nil.
	Progress func(done, total int64)
}

// Connect joins the network and opens a pipeline for one model. Close it to
// leave.
func Connect(ctx context.Context, cfg Config) (*DistributedPipeline, error) {
	c, err := NewClient(ctx, cfg.Client)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	p, err := c.Pipeline(ctx, cfg.Model, cfg.ModelID, cfg.Progress)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("connect: %w", err), c.Close())
	}
	p.leave = c.Close
	return p, nil
}

// Pipeline opens a pipeline for a model. It reads the ends of the model, its
// tokenizer and template, and begins to follow the nodes that serve it.
func (c *Client) Pipeline(ctx context.Context, spec string, id inference.ModelID, progress func(done, total int64)) (*DistributedPipeline, error) {
	cache := c.cfg.CacheDir
	if cache == "" {
		cache = catalog.CacheDir()
	}
	m, err := catalog.Open(ctx, spec, cache, id, progress)
	if err != nil {
		return nil, err
	}
	p, err := c.assemble(ctx, m, cache)
	if err != nil {
		_ = m.Close()
		return nil, fmt.Errorf("model %s: %w", m.ID, err)
	}
	c.mu.Lock()
	c.pipelines = append(c.pipelines, p)
	c.mu.Unlock()
	return p, nil
}

func (c *Client) assemble(ctx context.Context, m *catalog.Model, cache string) (*DistributedPipeline, error) {
	source := model.Source{
		Checkpoint: m.Checkpoint, Cache: cache, Digest: m.Digest(), Activations: c.cfg.Activations,
		Warn: func(err error) { c.cfg.Log.Warn("weights", "err", err) },
	}
	ends, err := source.Ends(ctx)
	if err != nil {
		return nil, err
	}
	tok, err := tokenizer.FromGGUF(m.Checkpoint)
	if err != nil {
		return nil, err
	}
	var template *chat.Template
	if text, ok := m.Checkpoint.String("tokenizer.chat_template"); ok {
		if template, err = chat.New(text); err != nil {
			return nil, fmt.Errorf("chat template: %w", err)
		}
	}
	if err := c.node.Follow(ctx, m.Digest()); err != nil {
		return nil, err
	}
	dir := newDirectory(c.node, m.Digest())
	spec := ends.Spec()
	p := New(Parts{
		Model: m.ID, Digest: m.Digest(), Blocks: spec.Layers, Context: spec.Context, PageBytes: pageBytes(spec),
		Ends: ends, Queue: c.queue, Tokenizer: tok, Template: template,
		Exchange: c.exchange, Links: c.mux, Directory: dir,
		Purse: purse{c.purse}, Scores: scores{c.ratings.For(m.Digest())},
		Events: c.cfg.Events, Log: c.cfg.Log, Defaults: c.cfg.Defaults,
	})
	p.close = func() error {
		dir.stop()
		return m.Close()
	}
	return p, nil
}

// pageBytes returns the size of a KV page of the model by numerics class.
func pageBytes(spec *arch.Spec) func(inference.NumericsClass) int64 {
	return func(c inference.NumericsClass) int64 {
		kv := c.KV()
		if kv == 0 {
			return 0
		}
		return model.PageBytes(spec, kv)
	}
}
