package weights

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"testing"
)

// resident returns the bytes of the file's mappings that are in memory.
func resident(t *testing.T, path string) (rss int64) {
	t.Helper()
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		t.Skip(err)
	}
	defer f.Close()
	inside := false
	for s := bufio.NewScanner(f); s.Scan(); {
		line := s.Text()
		if field, _, _ := strings.Cut(line, " "); strings.Contains(field, "-") {
			inside = strings.HasSuffix(line, path)
		}
		var kib int64
		if n, _ := fmt.Sscanf(line, "Rss: %d kB", &kib); inside && n == 1 {
			rss += kib << 10
		}
	}
	return rss
}

func TestOnlyPagesOfTouchedTensorsAreResident(t *testing.T) {
	path := writeTest(t, nil, blocks(8)...)
	c := openTest(t, path)
	if _, err := c.Manifest(t.Context(), "", nil); err != nil { // reads the file, does not map it
		t.Fatal(err)
	}
	if rss := resident(t, path); rss != 0 {
		t.Fatalf("%d bytes resident before any tensor was asked for", rss)
	}
	var span, mapped int64
	var sink byte
	for _, x := range c.Tensors() {
		if !strings.HasPrefix(x.Name, "blk.3.") && !strings.HasPrefix(x.Name, "blk.4.") {
			continue
		}
		data, err := c.Data(x.Name)
		if err != nil {
			t.Fatal(err)
		}
		for i := range data {
			sink ^= data[i]
		}
		if span += x.Size; x.Size >= smallTensor {
			mapped += x.Size
		}
	}
	rss := resident(t, path)
	if rss > span*105/100 || rss < mapped/2 {
		t.Errorf("%d bytes resident for a span of %d (mapped %d), sum %d", rss, span, mapped, sink)
	}
	t.Logf("resident %d, span %d, ratio %.4f", rss, span, float64(rss)/float64(span))
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if rss := resident(t, path); rss != 0 {
		t.Errorf("%d bytes resident after Close", rss)
	}
}

// readBytes returns the bytes this process has read by system calls.
func readBytes(t *testing.T) (n int64) {
	t.Helper()
	b, err := os.ReadFile("/proc/self/io")
	if err != nil {
		t.Skip(err)
	}
	if _, err := fmt.Sscanf(string(b), "rchar: %d", &n); err != nil {
		t.Skip(err)
	}
	return n
}

func TestSecondStartReadsHeaderAndManifestOnly(t *testing.T) {
	path, cache := writeTest(t, nil, blocks(4)...), t.TempDir()
	first := openTest(t, path)
	want, err := first.Manifest(t.Context(), cache, nil)
	if err != nil {
		t.Fatal(err)
	}
	before := readBytes(t)
	second := openTest(t, path)
	got, err := second.Manifest(t.Context(), cache, nil)
	if err != nil || got.Digest() != want.Digest() {
		t.Fatal(err)
	}
	if err := second.Verify(t.Context(), got, []string{"blk.1.ffn_up.weight"}, nil); err != nil {
		t.Fatal(err)
	}
	x, _ := second.Tensor("blk.1.ffn_up.weight")
	if n := readBytes(t) - before; n > x.Size+128<<10 {
		t.Errorf("read %d bytes to open, find the manifest and verify one tensor of %d; the file has %d", n, x.Size, second.size)
	}
}

func TestPackingLeavesNoPageOfTheModelFileResident(t *testing.T) {
	path, cache := writeTest(t, nil, blocks(2)...), t.TempDir()
	o := PackOptions{Layout: testLayout(nil), Cache: cache, Touch: true}
	for _, what := range []string{"packed", "found"} {
		c := openTest(t, path)
		p := c.Packer(o)
		if _, err := p.Matrices(t.Context(), "block-001", group1); err != nil {
			t.Fatal(err)
		}
		s := p.Stats()
		if rss := resident(t, path); rss != 0 {
			t.Errorf("%s: %d bytes of the model file are resident", what, rss)
		}
		total := s.Packed + s.Found
		file := packedFolder + "/" + packedFiles(t, cache)[0]
		if rss := resident(t, file); rss < total || rss > total*105/100 {
			t.Errorf("%s: %d bytes of the packed file are resident, it has %d", what, rss, total)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		if rss := resident(t, file); rss != 0 {
			t.Errorf("%s: %d bytes resident after Close", what, rss)
		}
	}
}
