//go:build linux || darwin || freebsd

package weights

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/kernels/tensor"
)

// child runs a test of this binary in another process, with the model's path
// and the cache in its environment.
func child(t *testing.T, test, path, cache string) *exec.Cmd {
	t.Helper()
	c := exec.Command(os.Args[0], "-test.run=^"+test+"$", "-test.v")
	c.Env = append(os.Environ(), "WEIGHTS_CHILD="+test, "WEIGHTS_MODEL="+path, "WEIGHTS_CACHE="+cache)
	c.Stderr = os.Stderr
	return c
}

// parent returns what child gave, or skips: only a child runs the test.
func parent(t *testing.T) (path, cache string) {
	t.Helper()
	if os.Getenv("WEIGHTS_CHILD") != t.Name() {
		t.Skip("runs in a child process")
	}
	return os.Getenv("WEIGHTS_MODEL"), os.Getenv("WEIGHTS_CACHE")
}

// TestPackAndStop packs until some pieces are written and waits to be killed.
func TestPackAndStop(t *testing.T) {
	path, cache := parent(t)
	o := PackOptions{Layout: testLayout(nil), Cache: cache, Digest: inference.Digest{1}, Workers: 1}
	pack, pieces := o.Layout.Pack, 0
	o.Layout.Pack = func(dst []byte, dtype tensor.DType, out, in int, raw []byte) error {
		if pieces++; pieces == 4 {
			fmt.Println("in the middle")
			time.Sleep(time.Hour)
		}
		return pack(dst, dtype, out, in, raw)
	}
	loadPacked(t, path, o)
}

func TestKillInTheMiddleLeavesNothingHalfValid(t *testing.T) {
	path, cache := writeTest(t, nil, blocks(2)...), t.TempDir()
	c := child(t, "TestPackAndStop", path, cache)
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() && !strings.Contains(lines.Text(), "in the middle") {
	}
	o := PackOptions{Layout: testLayout(nil), Cache: cache, Digest: inference.Digest{1}}
	begun := packedFiles(t, cache)
	if len(begun) != 1 || !strings.Contains(begun[0], newFile) {
		t.Errorf("files while packing: %q", begun)
	}
	// Others leave the file of a living process alone.
	if _, err := openTest(t, path).Packer(o).Matrices(t.Context(), "other", group1[:1]); err != nil {
		t.Fatal(err)
	}
	if got := packedFiles(t, cache); len(got) != 2 {
		t.Errorf("files beside a packing process: %q", got)
	}
	if err := c.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = c.Wait()
	if _, s := loadPacked(t, path, o); s.Packed == 0 || s.Found != 0 {
		t.Errorf("after the kill: %+v", s)
	}
	for _, f := range packedFiles(t, cache) {
		if strings.Contains(f, newFile) {
			t.Errorf("%s is left of the killed process", f)
		}
	}
	if _, s := loadPacked(t, path, o); s.Packed != 0 {
		t.Errorf("second load: %+v", s)
	}
}

// TestPackOnAFullDisk packs in a process that may not write files as large as
// the packed one: the error comes in the middle, as that of a full disk does.
func TestPackOnAFullDisk(t *testing.T) {
	path, cache := parent(t)
	signal.Ignore(syscall.SIGXFSZ)
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 700 << 10, Max: 700 << 10}); err != nil {
		t.Skip(err)
	}
	var told []string
	var sum int64
	o := PackOptions{
		Layout: testLayout(nil), Cache: cache, Digest: inference.Digest{1}, Workers: 2,
		Warn:     func(err error) { told = append(told, err.Error()) },
		Progress: func(n int64, _ bool) { sum += n },
	}
	_, s := loadPacked(t, path, o)
	if s.Alone != s.Packed || s.Packed == 0 || sum != s.Packed {
		t.Errorf("%+v, progress %d", s, sum)
	}
	if len(told) != 1 || !strings.Contains(told[0], "are not kept") || !strings.Contains(told[0], syscall.EFBIG.Error()) {
		t.Errorf("told %q", told)
	}
}

func TestFullDiskCostsMemoryOnly(t *testing.T) {
	path, cache := writeTest(t, nil, blocks(2)...), t.TempDir()
	out, err := child(t, "TestPackOnAFullDisk", path, cache).Output()
	if err != nil || !strings.Contains(string(out), "--- PASS") {
		t.Errorf("%v\n%s", err, out)
	}
	if got := packedFiles(t, cache); len(got) != 0 {
		t.Errorf("files %q", got)
	}
}
