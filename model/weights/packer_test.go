package weights

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/kernels/tensor"
)

// testLayout turns every bit of a matrix over and pads it to panels of four
// rows. It counts the calls.
func testLayout(calls *atomic.Int64) Layout {
	size := func(dtype tensor.DType, out, in int) (int64, error) {
		return int64((out+3)/4*4) * int64(dtype.RowBytes(in)), nil
	}
	return Layout{Version: 3, Rows: 4, Bytes: size,
		Pack: func(dst []byte, dtype tensor.DType, out, in int, raw []byte) error {
			if calls != nil {
				calls.Add(1)
			}
			if len(raw) != out*dtype.RowBytes(in) || uintptr(unsafe.Pointer(&dst[0]))%64 != 0 {
				return errors.New("bad arguments")
			}
			clear(dst[len(raw):])
			for i, b := range raw {
				dst[i] = ^b
			}
			return nil
		},
	}
}

// matrices of block 1 of the file that blocks(2) makes.
var group1 = []string{"blk.1.attn_k.weight", "blk.1.attn_q.weight", "blk.1.ffn_down.weight", "blk.1.ffn_up.weight"}

// loadPacked returns a group as a new Packer of a new Checkpoint gives it, and checks
// that it is what the layout makes of the tensors.
func loadPacked(t testing.TB, path string, o PackOptions) ([][]byte, PackStats) {
	t.Helper()
	c := openTest(t, path)
	p := c.Packer(o)
	got, err := p.Matrices(t.Context(), "block-001", group1)
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range group1 {
		x, _ := c.Tensor(name)
		raw, err := c.Data(name)
		if err != nil {
			t.Fatal(err)
		}
		n, _ := o.Layout.Bytes(x.DType, x.Shape[0], x.Shape[1])
		want := alignedBytes(int(n))
		if err := o.Layout.Pack(want, x.DType, x.Shape[0], x.Shape[1], raw); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got[i], want) || cap(got[i]) != len(want) {
			t.Fatalf("%s: other bytes", name)
		}
		if uintptr(unsafe.Pointer(&got[i][0]))%64 != 0 {
			t.Errorf("%s is not aligned", name)
		}
	}
	return got, p.Stats()
}

// packedFiles returns the files of the cache's packed folder, relative to it.
func packedFiles(t testing.TB, cache string) (list []string) {
	t.Helper()
	root := filepath.Join(cache, packedFolder)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(root, path)
			list = append(list, rel)
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
		t.Fatal(err)
	}
	return list
}

func TestSecondLoadPacksNothing(t *testing.T) {
	path, cache := writeTest(t, nil, blocks(2)...), t.TempDir()
	o := PackOptions{Layout: testLayout(nil), Cache: cache, Digest: inference.Digest{1}}
	_, first := loadPacked(t, path, o)
	if first.Packed == 0 || first.Found != 0 || canMap && first.Alone != 0 {
		t.Errorf("first load: %+v", first)
	}
	_, second := loadPacked(t, path, o)
	if second.Packed != 0 || second.Found != first.Packed || canMap && second.Alone != 0 {
		t.Errorf("second load: %+v, first %+v", second, first)
	}
	if got := packedFiles(t, cache); len(got) != 1 || got[0] != filepath.Join(o.Digest.String(), "v3", "block-001") {
		t.Errorf("files %q", got)
	}
	var calls atomic.Int64
	o.Layout = testLayout(&calls)
	c := openTest(t, path)
	p := c.Packer(o)
	a, err := p.Matrices(t.Context(), "block-001", group1)
	if err != nil {
		t.Fatal(err)
	}
	b, err := c.Packer(o).Matrices(t.Context(), "block-001", group1)
	if err != nil || &a[0][0] != &b[0][0] {
		t.Errorf("another copy for the same checkpoint: %v", err)
	}
	if n := calls.Load(); n != 0 {
		t.Errorf("%d pieces packed", n)
	}
}

func TestWithoutACacheNothingIsWritten(t *testing.T) {
	path := writeTest(t, nil, blocks(2)...)
	_, s := loadPacked(t, path, PackOptions{Layout: testLayout(nil)})
	if s.Packed == 0 || s.Alone != s.Packed || s.Found != 0 {
		t.Errorf("%+v", s)
	}
}

func TestFilesThatAreNotTheOnesWantedArePackedAgain(t *testing.T) {
	path, cache := writeTest(t, nil, blocks(2)...), t.TempDir()
	o := PackOptions{Layout: testLayout(nil), Cache: cache, Digest: inference.Digest{1}, Workers: 2}
	loadPacked(t, path, o)
	file := filepath.Join(cache, packedFolder, packedFiles(t, cache)[0])
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	flip := func(at int) func([]byte) []byte {
		return func(b []byte) []byte { b[at] ^= 1; return b }
	}
	table := bytes.Index(good, []byte("\nend\n")) + 5
	for name, change := range map[string]func([]byte) []byte{
		"first byte":     flip(0),
		"layout":         func(b []byte) []byte { return bytes.Replace(b, []byte("layout 3"), []byte("layout 2"), 1) },
		"model":          flip(bytes.Index(good, []byte("model ")) + 7),
		"dtype":          func(b []byte) []byte { return bytes.Replace(b, []byte("Q4_1"), []byte("Q4_0"), 1) },
		"sum of a piece": flip(table),
		"sum of table":   flip(table + 4*5),
		"first piece":    flip(packedAlign),
		"last byte":      flip(len(good) - 1),
		"cut short":      func(b []byte) []byte { return b[:len(b)-1] },
		"longer":         func(b []byte) []byte { return append(b, 0) },
		"table only":     func(b []byte) []byte { return b[:packedAlign] },
		"empty":          func(b []byte) []byte { return nil },
		"zeros":          func(b []byte) []byte { clear(b); return b },
	} {
		if err := os.WriteFile(file, change(slices.Clone(good)), 0o644); err != nil {
			t.Fatal(err)
		}
		var told []string
		var sum int64
		o.Warn = func(err error) { told = append(told, err.Error()) }
		o.Progress = func(n int64, _ bool) { sum += n }
		_, s := loadPacked(t, path, o)
		if s.Packed == 0 || s.Found != 0 {
			t.Errorf("%s: %+v", name, s)
		}
		if sum != s.Packed {
			t.Errorf("%s: progress of %d bytes, packed %d", name, sum, s.Packed)
		}
		if len(told) != 1 || !strings.Contains(told[0], "packed again") || !strings.Contains(told[0], file) {
			t.Errorf("%s: told %q", name, told)
		}
		if now, err := os.ReadFile(file); err != nil || !bytes.Equal(now, good) {
			t.Errorf("%s: the file was not put right: %v", name, err)
		}
	}
}

func TestOtherTensorsUnderTheNameAreNotBelieved(t *testing.T) {
	path, cache := writeTest(t, nil, blocks(2)...), t.TempDir()
	o := PackOptions{Layout: testLayout(nil), Cache: cache, Digest: inference.Digest{1}}
	c := openTest(t, path)
	if _, err := c.Packer(o).Matrices(t.Context(), "block-001", group1[:3]); err != nil {
		t.Fatal(err)
	}
	if _, s := loadPacked(t, path, o); s.Packed == 0 {
		t.Errorf("a file of other tensors was taken: %+v", s)
	}
}

func TestCacheThatCannotBeWrittenCostsMemoryOnly(t *testing.T) {
	path, dir := writeTest(t, nil, blocks(2)...), t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	occupied := filepath.Join(dir, "occupied") // a folder stands where the file should be
	o := PackOptions{Layout: testLayout(nil), Digest: inference.Digest{1}}
	if err := os.MkdirAll(filepath.Join(occupied, packedFolder, o.Digest.String(), "v3", "block-001", "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, o.Cache = range []string{file, occupied} {
		var told []string
		var sum int64
		o.Warn = func(err error) { told = append(told, err.Error()) }
		o.Progress = func(n int64, _ bool) { sum += n }
		c := openTest(t, path)
		p := c.Packer(o)
		for _, group := range []string{"block-001", "other"} {
			if _, err := p.Matrices(t.Context(), group, group1); err != nil {
				t.Fatal(err)
			}
		}
		if s := p.Stats(); s.Packed == 0 || s.Alone != s.Packed || sum != s.Packed {
			t.Errorf("%s: %+v, progress %d", o.Cache, s, sum)
		}
		kept := slices.DeleteFunc(told, func(s string) bool { return !strings.Contains(s, "are not kept") })
		if len(kept) != 1 || !strings.Contains(kept[0], "memory of this process") {
			t.Errorf("%s: told %q", o.Cache, told)
		}
		for _, f := range packedFiles(t, o.Cache) {
			t.Errorf("%s holds %s", o.Cache, f)
		}
	}
}

func TestReadOnlyCacheIsUsed(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Log("running as root: the folder can be written all the same")
	}
	path, cache := writeTest(t, nil, blocks(2)...), t.TempDir()
	o := PackOptions{Layout: testLayout(nil), Cache: cache, Digest: inference.Digest{1}}
	loadPacked(t, path, o)
	folder := filepath.Join(cache, packedFolder, o.Digest.String(), "v3")
	if err := os.Chmod(folder, 0o500); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Chmod(folder, 0o700) })
	o.Warn = func(err error) { t.Error(err) }
	if _, s := loadPacked(t, path, o); s.Packed != 0 {
		t.Errorf("%+v", s)
	}
}

func TestManyAtOnceGetTheSameBytes(t *testing.T) {
	path, cache := writeTest(t, nil, blocks(2)...), t.TempDir()
	o := PackOptions{Layout: testLayout(nil), Cache: cache, Digest: inference.Digest{1}, Workers: 2}
	o.Warn = func(err error) { t.Error(err) }
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() { loadPacked(t, path, o) })
	}
	wg.Wait()
	if got := packedFiles(t, cache); len(got) != 1 {
		t.Errorf("files %q", got)
	}
	if _, s := loadPacked(t, path, o); s.Packed != 0 {
		t.Errorf("%+v", s)
	}
}

func TestTheFasterWriterGivesItsFileToTheOther(t *testing.T) {
	path, cache := writeTest(t, nil, blocks(2)...), t.TempDir()
	slow := PackOptions{Layout: testLayout(nil), Cache: cache, Digest: inference.Digest{1}, Workers: 1}
	fast, pack := slow, slow.Layout.Pack
	var once sync.Once
	var file string
	var before os.FileInfo
	slow.Layout.Pack = func(dst []byte, dtype tensor.DType, out, in int, raw []byte) error {
		once.Do(func() { // the slow one has begun its file
			loadPacked(t, path, fast)
			file = filepath.Join(cache, packedFolder, slow.Digest.String(), "v3", "block-001")
			var err error
			if before, err = os.Stat(file); err != nil {
				t.Error(err)
			}
		})
		return pack(dst, dtype, out, in, raw)
	}
	loadPacked(t, path, slow)
	after, err := os.Stat(file)
	if err != nil || !os.SameFile(before, after) {
		t.Errorf("the file was replaced, its pages are shared no more: %v", err)
	}
	if got := packedFiles(t, cache); len(got) != 1 {
		t.Errorf("files %q", got)
	}
}

func TestCancelledPackingLeavesNothing(t *testing.T) {
	path, cache := writeTest(t, nil, blocks(2)...), t.TempDir()
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	o := PackOptions{Layout: testLayout(nil), Cache: cache, Digest: inference.Digest{1}, Workers: 1}
	o.Progress = func(int64, bool) { cancel(why) }
	o.Warn = func(err error) { t.Error(err) }
	if _, err := openTest(t, path).Packer(o).Matrices(ctx, "block-001", group1); !errors.Is(err, why) {
		t.Errorf("error %v", err)
	}
	if got := packedFiles(t, cache); len(got) != 0 {
		t.Errorf("files %q", got)
	}
}

func TestModelFileThatChangesWhilePackedIsAnError(t *testing.T) {
	path, cache := writeTest(t, nil, blocks(2)...), t.TempDir()
	o := PackOptions{Layout: testLayout(nil), Digest: inference.Digest{1}}
	o.Progress = func(int64, bool) { os.Chtimes(path, time.Now(), time.Now()) }
	for _, o.Cache = range []string{"", cache} {
		settle(t, path)
		_, err := openTest(t, path).Packer(o).Matrices(t.Context(), "block-001", group1)
		if bad := (*FormatError)(nil); !errors.As(err, &bad) || bad.Path != path {
			t.Errorf("error %v", err)
		}
	}
	if got := packedFiles(t, cache); len(got) != 0 {
		t.Errorf("files %q", got)
	}
}

func TestMistakesOfTheCallerAreErrors(t *testing.T) {
	c := openTest(t, writeTest(t, nil, blocks(2)...))
	o := PackOptions{Layout: testLayout(nil)}
	for _, names := range [][]string{{"nonsense"}, {"blk.0.attn_norm.weight"}} {
		if _, err := c.Packer(o).Matrices(t.Context(), "g", names); err == nil || !strings.Contains(err.Error(), names[0]) {
			t.Errorf("%q: %v", names, err)
		}
	}
	size := o.Layout.Bytes
	o.Layout.Bytes = func(dtype tensor.DType, out, in int) (int64, error) {
		n, err := size(dtype, out, in)
		return n + 64, err
	}
	if _, err := c.Packer(o).Matrices(t.Context(), "g", group1[2:]); err == nil || !strings.Contains(err.Error(), "do not add up") {
		t.Errorf("panels that do not follow one another: %v", err)
	}
	if got, err := c.Packer(o).Matrices(t.Context(), "none", nil); err != nil || len(got) != 0 {
		t.Errorf("no tensors: %v", err)
	}
	c.Close()
	if _, err := c.Packer(o).Matrices(t.Context(), "none", nil); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}

func TestOldPackingsAreRemoved(t *testing.T) {
	path, cache := writeTest(t, nil, blocks(2)...), t.TempDir()
	o := PackOptions{Layout: testLayout(nil), Cache: cache, Digest: inference.Digest{1}}
	own := o.Digest.String()
	recent, unused := inference.Digest{2}.String(), inference.Digest{3}.String()
	root := filepath.Join(cache, packedFolder)
	for _, f := range []string{own + "/v1/block-001", own + "/v2/ends", own + "/v4/ends", own + "/vx/ends", recent + "/v1/ends", unused + "/v3/ends"} {
		f = filepath.Join(root, filepath.FromSlash(f))
		if err := os.MkdirAll(filepath.Dir(f), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(f, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	age := func(digest string, by time.Duration) {
		at := time.Now().Add(-by)
		if err := os.Chtimes(filepath.Join(root, digest), at, at); err != nil {
			t.Fatal(err)
		}
	}
	age(own, 2*keepUnused)
	age(recent, keepUnused-time.Hour)
	age(unused, keepUnused+time.Hour)
	loadPacked(t, path, o)
	want := []string{own + "/v3/block-001", own + "/v4/ends", own + "/vx/ends", recent + "/v1/ends"}
	for i := range want {
		want[i] = filepath.FromSlash(want[i])
	}
	if got := packedFiles(t, cache); !slices.Equal(got, want) {
		t.Errorf("files %q, want %q", got, want)
	}
	// A model that is only read counts as used.
	age(own, 2*keepUnused)
	loadPacked(t, path, o)
	if info, err := os.Stat(filepath.Join(root, own)); err != nil || time.Since(info.ModTime()) > time.Hour {
		t.Errorf("%v", err)
	}
}

// FuzzPackedFile puts any bytes in the place of a packed file: the matrices are
// right, whatever they are.
func FuzzPackedFile(f *testing.F) {
	tensors := blocks(2)
	path := writeTest(f, nil, tensors...)
	o := PackOptions{Layout: testLayout(nil), Cache: f.TempDir(), Digest: inference.Digest{1}, Workers: 1}
	names := []string{"blk.1.attn_k.weight"}
	get := func(t testing.TB) []byte {
		c, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		m, err := c.Packer(o).Matrices(t.Context(), "g", names)
		if err != nil {
			t.Fatal(err)
		}
		return slices.Clone(m[0])
	}
	want := get(f)
	file := filepath.Join(o.Cache, packedFolder, packedFiles(f, o.Cache)[0])
	good, err := os.ReadFile(file)
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte{}, uint16(0), byte(0))
	f.Add([]byte("far-packed 1\nlayout 3\n"), uint16(0), byte(1))
	f.Add(good[:packedAlign], uint16(9), byte(1))
	f.Add(slices.Clone(good), uint16(70), byte(4))
	f.Fuzz(func(t *testing.T, b []byte, at uint16, flip byte) {
		if int(at) < len(b) {
			b[at] ^= flip
		}
		if err := os.WriteFile(file, b, 0o644); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(get(t), want) {
			t.Error("other bytes")
		}
	})
}
