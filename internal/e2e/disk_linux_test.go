package e2e

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// smallDisk mounts a file system of so many bytes, or skips the test.
func smallDisk(t *testing.T, bytes string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+bytes+",mode=700"); err != nil {
		expected(t, "mount", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fill takes all the room that is left on a disk and returns what gives it back.
func fill(t *testing.T, dir string) (free func()) {
	t.Helper()
	path := filepath.Join(dir, "ballast")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := io.Copy(f, zeros{}); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("filling the disk: %v", err)
	}
	return func() {
		if err := os.Remove(path); err != nil {
			t.Error(err)
		}
	}
}

// untilRefused asks until an error comes: a file may have room left in its last
// page although the disk is full.
func untilRefused(t *testing.T, c *Client) error {
	t.Helper()
	for range 30 {
		if _, err := c.Collect(t.Context(), short(2)); err != nil {
			return err
		}
	}
	return nil
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestFullDiskIsNamedAtTheStart(t *testing.T) {
	processes(t)
	disk := smallDisk(t, "64k")
	defer fill(t, disk)()
	refused(t, failing(t, "--model", modelID, "--data-dir", disk), 1, disk, "no space left")
	refused(t, Run(t, "farclient", "run", "--mdns", "off", "--data-dir", disk, "hi"), 1, disk, "no space left")
}

// TestNodeOutlivesAFullDisk fills the disk under a running node: it takes no
// session that it could not bill, says so, and serves again when there is room.
func TestNodeOutlivesAFullDisk(t *testing.T) {
	processes(t)
	disk := smallDisk(t, "1m")
	n := Start(t, NodeOptions{Blocks: "0:30", DataDir: disk, Verbose: true})
	n.Wait("serving")
	c := Dial(t, ClientOptions{Bootstrap: []string{n.Addr}})
	c.Sees(t, n)
	want := c.Ask(t, short(2))
	free := fill(t, disk)
	err := untilRefused(t, c)
	if err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("a session on a full disk: error %v, want one that says so", err)
	}
	if n.Exited() {
		t.Fatalf("the node ended:\n%s", n.Log())
	}
	free()
	again := Dial(t, ClientOptions{Bootstrap: []string{n.Addr}})
	again.Sees(t, n)
	if got := again.Ask(t, short(2)); got.Text != want.Text {
		t.Errorf("with room again: %q, before: %q", got.Text, want.Text)
	}
}

// TestClientOnAFullDiskSaysSo fills the disk under a client: it orders nothing
// whose promise it could not write down.
func TestClientOnAFullDiskSaysSo(t *testing.T) {
	nodes := Shared(t)
	disk := smallDisk(t, "1m")
	c := Dial(t, ClientOptions{Bootstrap: []string{nodes[0].Addr}, DataDir: disk})
	c.Sees(t, nodes...)
	want := c.Ask(t, short(2))
	free := fill(t, disk)
	err := untilRefused(t, c)
	if err == nil || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("error %v, want ENOSPC", err)
	}
	free()
	if got, err := c.Collect(t.Context(), short(2)); err != nil || got.Text != want.Text {
		t.Errorf("with room again: %q, %v, before: %q", got.Text, err, want.Text)
	}
}
