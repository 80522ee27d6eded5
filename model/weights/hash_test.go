package weights

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/farlabs/inference/model/weights/gguftest"
)

// counted opens path anew and returns its manifest and whether the file was hashed.
func counted(t *testing.T, path, cache string) (*Manifest, bool) {
	t.Helper()
	hashed := false
	m, err := openTest(t, path).Manifest(t.Context(), cache, func(int64, int64) { hashed = true })
	if err != nil {
		t.Fatal(err)
	}
	return m, hashed
}

func entries(t *testing.T, cache string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(cache, cacheFolder, "*"))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestProgressRisesToTheTotal(t *testing.T) {
	c := openTest(t, writeTest(t, nil, blocks(2)...))
	var last, sum int64
	for _, x := range c.Tensors() {
		sum += x.Size
	}
	_, err := c.Manifest(t.Context(), "", func(done, total int64) {
		if done <= last || total != sum {
			t.Fatalf("%d of %d after %d", done, total, last)
		}
		last = done
	})
	if err != nil || last != sum {
		t.Errorf("ended at %d of %d: %v", last, sum, err)
	}
}

func TestHashingStopsWhenCancelled(t *testing.T) {
	path, cache := writeTest(t, nil, blocks(2)...), t.TempDir()
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("signal")
	_, err := openTest(t, path).Manifest(ctx, cache, func(int64, int64) { cancel(why) })
	if !errors.Is(err, why) {
		t.Error(err)
	}
	if len(entries(t, cache)) != 0 {
		t.Error("half a pass was cached")
	}
}

func TestManifestIsHashedOncePerFile(t *testing.T) {
	path, cache := writeTest(t, nil, blocks(1)...), t.TempDir()
	a, hashed := counted(t, path, cache)
	if !hashed {
		t.Fatal("not hashed the first time")
	}
	b, hashed := counted(t, path, cache)
	if hashed || a.Digest() != b.Digest() {
		t.Error("hashed again, or another digest")
	}
	moved := filepath.Join(t.TempDir(), "moved.gguf")
	if err := os.Rename(path, moved); err != nil {
		t.Fatal(err)
	}
	if _, hashed := counted(t, moved, cache); hashed {
		t.Error("hashed again after a rename")
	}
}

func TestWrittenFileIsHashedAgain(t *testing.T) {
	tensors := blocks(1)
	path, cache := writeTest(t, nil, tensors...), t.TempDir()
	a, _ := counted(t, path, cache)
	tensors[1].Data[0] ^= 1
	if err := gguftest.Write(path, nil, tensors); err != nil {
		t.Fatal(err)
	}
	b, hashed := counted(t, path, cache)
	if !hashed || a.Digest() == b.Digest() {
		t.Error("an altered weight went unseen")
	}
	// Written just now: not cached, for another write may bear the same time.
	if _, hashed := counted(t, path, cache); !hashed {
		t.Error("a file whose clock has not settled was cached")
	}
}

func TestCorruptCacheEntryIsRebuilt(t *testing.T) {
	path, cache := writeTest(t, nil, blocks(1)...), t.TempDir()
	want, _ := counted(t, path, cache)
	other := t.TempDir()
	counted(t, tiny, other)
	settled := func(m *Manifest) []byte { // a well-formed entry of a manifest that is not this file's
		id, err := openTest(t, path).identity()
		if err != nil {
			t.Fatal(err)
		}
		return []byte(id + sumLine(m.Marshal()) + string(m.Marshal()))
	}
	entry := entries(t, cache)[0]
	good := must(os.ReadFile(entry))
	for name, b := range map[string][]byte{
		"empty":             nil,
		"cut":               good[:len(good)/2],
		"one bit":           append(bytes.Clone(good[:len(good)-1]), good[len(good)-1]^1),
		"longer":            append(bytes.Clone(good), '\n'),
		"identity":          bytes.Replace(good, []byte("size "), []byte("size 1"), 1),
		"another file's":    settled(manifestOf(t, tiny)),
		"identity and sum":  good[:bytes.Index(good, []byte(manifestHead))],
		"a huge entry":      bytes.Repeat([]byte("x"), 2*MaxManifest),
		"nonsense manifest": []byte(string(good[:bytes.Index(good, []byte("sum "))]) + sumLine([]byte("x")) + "x"),
	} {
		if err := os.WriteFile(entry, b, 0o644); err != nil {
			t.Fatal(err)
		}
		m, hashed := counted(t, path, cache)
		if !hashed || m.Digest() != want.Digest() {
			t.Errorf("%s: believed", name)
		}
		if got := must(os.ReadFile(entry)); !bytes.Equal(got, good) {
			t.Errorf("%s: not rebuilt", name)
		}
	}
}

func TestUnusableCacheIsNoError(t *testing.T) {
	path := writeTest(t, nil, blocks(1)...)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, cache := range []string{"", file} {
		if _, hashed := counted(t, path, cache); !hashed {
			t.Errorf("%q: not hashed", cache)
		}
	}
}

func TestManyStartsAtOnceShareTheCache(t *testing.T) {
	path, cache := writeTest(t, nil, blocks(1)...), t.TempDir()
	want := manifestOf(t, path).Digest()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			c, err := Open(path)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			for range 5 {
				if m, err := c.Manifest(t.Context(), cache, nil); err != nil || m.Digest() != want {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if left := entries(t, cache); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}

func TestCacheKeepsTheNewestAndDropsAbandonedFiles(t *testing.T) {
	cache := t.TempDir()
	folder := filepath.Join(cache, cacheFolder)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	put := func(name string, age time.Duration) {
		t.Helper()
		at, path := time.Now().Add(-age), filepath.Join(folder, name)
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	for i := range maxCached + 20 {
		put(fmt.Sprintf("%032x", i), time.Duration(i+1)*time.Hour)
	}
	put("new-fresh", time.Second)
	put("new-stale", 2*staleTemp)
	counted(t, writeTest(t, nil, blocks(1)...), cache)
	left := strings.Join(entries(t, cache), "\n")
	if n := strings.Count(left, "\n") + 1; n != maxCached+1 { // and new-fresh
		t.Errorf("%d files left", n)
	}
	if !strings.Contains(left, "new-fresh") || strings.Contains(left, "new-stale") || !strings.Contains(left, fmt.Sprintf("%032x", 0)) {
		t.Error("the wrong files were dropped")
	}
}

func TestVerifyReadsAndJudgesOnlyTheNamedTensors(t *testing.T) {
	tensors := blocks(2)
	m := manifestOf(t, writeTest(t, nil, tensors...))
	tensors[2].Data[100] ^= 4 // blk.0.attn_k
	c := openTest(t, writeTest(t, nil, tensors...))
	if err := c.Verify(t.Context(), m, []string{"blk.1.attn_k.weight", "blk.1.ffn_up.weight"}, nil); err != nil {
		t.Errorf("a sound range: %v", err)
	}
	var mismatch *MismatchError
	err := c.Verify(t.Context(), m, []string{"blk.0.attn_q.weight", "blk.0.attn_k.weight"}, nil)
	if !errors.As(err, &mismatch) || !strings.Contains(err.Error(), c.Path()) || !strings.Contains(err.Error(), "blk.0.attn_k.weight") {
		t.Errorf("a damaged range: %v", err)
	}
	if err := c.Verify(t.Context(), m, []string{"nonsense"}, nil); err == nil {
		t.Error("an unknown tensor was verified")
	}
	if err := c.Verify(t.Context(), manifestOf(t, tiny), nil, nil); !errors.As(err, &mismatch) {
		t.Errorf("another model's manifest: %v", err)
	}
}

func TestMatchNamesWhatDiffers(t *testing.T) {
	path := writeTest(t, map[string]any{"llama.x": true}, gguftest.F32("w", []float32{1, 2}, 2))
	m := manifestOf(t, path)
	for item, other := range map[string]string{
		"config":           writeTest(t, map[string]any{"llama.x": false}, gguftest.F32("w", []float32{1, 2}, 2)),
		"tensor 0 by name": writeTest(t, map[string]any{"llama.x": true}, gguftest.F32("w", []float32{1, 2}, 1, 2)),
		"tensor 1 by name": writeTest(t, map[string]any{"llama.x": true}, gguftest.F32("w", []float32{1, 2}, 2), gguftest.F32("x", []float32{1}, 1)),
	} {
		err := openTest(t, other).Match(m)
		var mismatch *MismatchError
		if !errors.As(err, &mismatch) || mismatch.Item != item || mismatch.Path != other {
			t.Errorf("%s: %v", item, err)
		}
	}
	same := writeTest(t, map[string]any{"llama.x": true}, gguftest.F32("w", []float32{5, 6}, 2))
	if err := openTest(t, same).Match(m); err != nil {
		t.Errorf("the header says nothing of contents: %v", err)
	}
}
