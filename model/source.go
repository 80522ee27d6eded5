package model

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"

	inference "github.com/farlabs/inference"
	"github.com/farlabs/inference/kernels/device"
	"github.com/farlabs/inference/kernels/matmul"
	"github.com/farlabs/inference/kernels/tensor"
	"github.com/farlabs/inference/model/arch"
	"github.com/farlabs/inference/model/weights"
)

// Source is where weights come from: a model file, of whose matrices the
// kernels want a packed form, and a cache that keeps it. What is loaded borrows
// from the Checkpoint, which stays open as long as that is used.
type Source struct {
	Checkpoint *weights.Checkpoint

	// Cache is a folder that processes share, "" to pack into memory at every
	// load. Digest is then the Checkpoint's, as its manifest says.
	Cache  string
	Digest inference.Digest

	// Activations is the dtype in which activations meet quantised weights; 0:
	// inference.DefaultActivations.
	Activations inference.Activations

	// Workers is how many goroutines pack or check a block; 0: one per core.
	Workers int

	// Progress, if not nil, is told the packed bytes that are ready and their
	// total, often, and whether any of them had to be packed. One call at a
	// time, from several goroutines.
	Progress func(done, total int64, packing bool)

	// Warn, if not nil, is told what is wrong with the cache; loading goes on.
	Warn func(error)
}

// layout is that of package matmul.
var layout = weights.Layout{
	Version: matmul.LayoutVersion,
	Rows:    16, // of a panel16
	Bytes:   matmul.PackedBytes,
	Pack: func(dst []byte, dtype tensor.DType, out, in int, raw []byte) error {
		q := device.NewQueue(1) // the caller runs several at once; this one has no goroutine
		defer q.Close()
		return matmul.PackTo(q, dst, dtype, out, in, raw)
	},
}

// Span loads some blocks and no others. Errors name the file and the tensor;
// see [arch.FromGGUF].
func (s Source) Span(ctx context.Context, blocks inference.BlockRange) (*Span, error) {
	spec, err := ReadSpec(s.Checkpoint)
	if err != nil {
		return nil, err
	}
	return s.span(ctx, spec, blocks)
}

// Ends loads embedding, final norm and head, and no block.
func (s Source) Ends(ctx context.Context) (*Ends, error) {
	spec, err := ReadSpec(s.Checkpoint)
	if err != nil {
		return nil, err
	}
	return s.ends(ctx, spec)
}

// LoadSpan is Span of a Source without a cache.
func LoadSpan(c *weights.Checkpoint, blocks inference.BlockRange) (*Span, error) {
	return Source{Checkpoint: c}.Span(context.Background(), blocks)
}

// LoadEnds is Ends of a Source without a cache.
func LoadEnds(c *weights.Checkpoint) (*Ends, error) {
	return Source{Checkpoint: c}.Ends(context.Background())
}

// loader takes tensors for Span and Ends.
func (s Source) loader() *loader {
	l := &loader{from: s.Checkpoint, numerics: matmul.Int8}
	if (inference.Numerics{Activations: s.Activations}).WithDefaults().Activations == inference.ActivationsF32 {
		l.numerics = matmul.F32
	}
	return l
}

// group is the tensors of one file of the cache.
type group struct {
	name    string
	tensors []arch.Tensor
}

func blockGroup(s *arch.Spec, i int) group {
	t := s.BlockTensors(i)
	return group{fmt.Sprintf("block-%03d", i), t.List()}
}

func endsGroup(s *arch.Spec) group {
	g := group{"ends", []arch.Tensor{s.Embed(), s.FinalNorm()}}
	if !s.Tied {
		g.tensors = append(g.tensors, s.Head())
	}
	return g
}

// groupsAtOnce is how many groups are packed at a time: while one waits for the
// disk to have its file, the next one is packed.
const groupsAtOnce = 2

// matrices packs the matrices of the groups, or finds them packed, for l.matrix.
// touch is for those that every pass reads.
func (s Source) matrices(ctx context.Context, l *loader, touch bool, groups ...group) error {
	names := make([][]string, len(groups))
	var done, total int64
	for i, g := range groups {
		for _, want := range g.tensors {
			t, err := l.tensor(want)
			if err != nil {
				return err
			}
			if len(want.Shape) != 2 {
				continue
			}
			n, err := matmul.PackedBytes(t.DType, want.Shape[0], want.Shape[1])
			if err != nil {
				return l.fail(want, err)
			}
			names[i] = append(names[i], want.Name)
			total += n
		}
	}
	o := weights.PackOptions{
		Layout: layout, Cache: s.Cache, Digest: s.Digest, Workers: s.Workers, Touch: touch, Warn: s.Warn,
	}
	if s.Progress != nil {
		packing := false
		o.Progress = func(n int64, packed bool) {
			done, packing = done+n, packing || packed
			s.Progress(done, total, packing)
		}
	}
	p := s.Checkpoint.Packer(o)
	found := make([][][]byte, len(groups))
	run, ctx := errgroup.WithContext(ctx)
	run.SetLimit(groupsAtOnce)
	for i, g := range groups {
		run.Go(func() (err error) {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			found[i], err = p.Matrices(ctx, g.name, names[i])
			return err
		})
	}
	if err := run.Wait(); err != nil {
		return err
	}
	l.packed, l.stats = map[string][]byte{}, p.Stats()
	for i := range groups {
		for j, name := range names[i] {
			l.packed[name] = found[i][j]
		}
	}
	return nil
}
