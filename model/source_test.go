package model

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unsafe"

	inference "github.com/farlabs/inference"
	"github.com/farlabs/inference/kernels/device"
	"github.com/farlabs/inference/kernels/kerneltest"
	"github.com/farlabs/inference/kernels/matmul"
	"github.com/farlabs/inference/model/modeltest"
	"github.com/farlabs/inference/model/weights"
	"github.com/farlabs/inference/model/weights/gguftest"
)

// TestPiecesOfAMatrixAreItsPanels packs a matrix of several pieces, the last
// panel in part, and compares it with the whole packed at once.
func TestPiecesOfAMatrixAreItsPanels(t *testing.T) {
	q := device.NewQueue(2)
	defer q.Close()
	r := kerneltest.Rand(11)
	var list []gguftest.Tensor
	for _, dtype := range kerneltest.Weights {
		list = append(list, gguftest.Random(r, dtype.String(), dtype, 1, 2003, 512))
	}
	path := filepath.Join(t.TempDir(), "matrices.gguf")
	if err := gguftest.Write(path, nil, list); err != nil {
		t.Fatal(err)
	}
	c, err := weights.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	p := c.Packer(weights.PackOptions{Layout: layout})
	for _, x := range list {
		got, err := p.Matrices(t.Context(), x.Name, []string{x.Name})
		if err != nil {
			t.Fatal(err)
		}
		n, err := matmul.PackedBytes(x.DType, x.Shape[0], x.Shape[1])
		if err != nil {
			t.Fatal(err)
		}
		want := make([]byte, n+63)
		want = want[int(-uintptr(unsafe.Pointer(&want[0]))&63):][:n] // PackTo wants a cache line's beginning
		if err := matmul.PackTo(q, want, x.DType, x.Shape[0], x.Shape[1], x.Data); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got[0], want) {
			t.Errorf("%s: other bytes", x.Name)
		}
	}
}

// TestOnePackedFileServesEverySetOfKernels loads with each set from one cache,
// which only the first one writes.
func TestOnePackedFileServesEverySetOfKernels(t *testing.T) {
	path := filepath.Join(t.TempDir(), "random.gguf")
	if err := modeltest.Untied().Write(path); err != nil {
		t.Fatal(err)
	}
	cache := t.TempDir()
	var want []float64
	for i, set := range append(device.Supported(), device.Generic) {
		restore := device.UseKernels(set)
		got, packed := logProbsFrom(t, path, cache)
		restore()
		if packed != (i == 0) {
			t.Errorf("load %d, %s: packed %v", i, set, packed)
		}
		if i == 0 {
			want, _ = logProbsFrom(t, path, "")
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: other log-probabilities than without a cache", set)
		}
	}
	files, err := filepath.Glob(filepath.Join(cache, "packed", "*", "*", "*"))
	if err != nil || len(files) != 6+1 {
		t.Errorf("files %q, %v", files, err)
	}
}

// logProbsFrom loads the model by way of a cache and runs a text through it. It
// reports whether anything was packed.
func logProbsFrom(t *testing.T, path, cache string) (lps []float64, packed bool) {
	t.Helper()
	c, err := weights.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var last int64
	s := Source{
		Checkpoint: c, Cache: cache, Digest: inference.Digest{7},
		Progress: func(done, total int64, packing bool) {
			if done < last || done > total {
				t.Errorf("progress fell from %d to %d of %d", last, done, total)
			}
			if last, packed = done, packed || packing; done == total {
				last = 0 // the ends come after the span
			}
		},
		Warn: func(err error) { t.Error(err) },
	}
	span, err := s.Span(t.Context(), blocks(0, 6))
	if err != nil {
		t.Fatal(err)
	}
	if last != 0 {
		t.Error("progress ended before all was ready")
	}
	ends, err := s.Ends(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	kv, err := span.NewCache(testBudget, inference.KVF32)
	if err != nil {
		t.Fatal(err)
	}
	q := device.NewQueue(2)
	defer q.Close()
	m := &chain{ends: ends, wire: inference.WireF32, queue: q, stages: []stage{{span, span.Blocks(), kv}}}
	seq := m.sequence()
	defer seq.release()
	ids := make([]inference.TokenID, 24)
	for i := range ids {
		ids[i] = inference.TokenID(i * 11)
	}
	if lps, _, err = m.logProbs(seq, ids, 24); err != nil {
		t.Fatal(err)
	}
	return lps, packed
}

func TestLoadingEndsWithItsContext(t *testing.T) {
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	s := Source{Checkpoint: modeltest.Small().Open(t), Cache: t.TempDir()}
	if _, err := s.Span(ctx, blocks(0, 6)); !errors.Is(err, why) {
		t.Errorf("span: %v", err)
	}
	if _, err := s.Ends(ctx); !errors.Is(err, why) {
		t.Errorf("ends: %v", err)
	}
}

func TestUnusableCacheIsToldAndLoadingGoesOn(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var told []string
	s := Source{Checkpoint: modeltest.Small().Open(t), Cache: file, Warn: func(err error) { told = append(told, err.Error()) }}
	if _, err := s.Span(t.Context(), blocks(0, 6)); err != nil {
		t.Fatal(err)
	}
	if len(told) != 1 || !strings.Contains(told[0], "are not kept") {
		t.Errorf("told %q", told)
	}
}

// TestLayoutVersionNamesTheLayout holds the packed bytes of every dtype: files
// of the cache are taken for good if their version is, so another layout is
// another version.
func TestLayoutVersionNamesTheLayout(t *testing.T) {
	const version, want = 1, "eb44141c56afa78c999bd71b4adecbb172b485a276726e75060a6e1394e093e4"
	sum, r := sha256.New(), kerneltest.Rand(3)
	for _, dtype := range kerneltest.Weights {
		x := gguftest.Random(r, "", dtype, 1, 21, 512)
		n, err := matmul.PackedBytes(dtype, 21, 512)
		if err != nil {
			t.Fatal(err)
		}
		packed := make([]byte, n+63)
		packed = packed[int(-uintptr(unsafe.Pointer(&packed[0]))&63):][:n]
		if err := layout.Pack(packed, dtype, 21, 512, x.Data); err != nil {
			t.Fatal(err)
		}
		sum.Write(packed)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); matmul.LayoutVersion != version || got != want {
		t.Errorf("layout %d has %s, this test %d and %s: if the layout changed, raise matmul.LayoutVersion, then change both here",
			matmul.LayoutVersion, got, version, want)
	}
}
