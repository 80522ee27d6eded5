package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/model/catalog"
	"github.com/farlabs/inference/model/weights"
	"github.com/farlabs/inference/pipeline"
)

// proc reads a file of a process, "" when the process is gone.
func proc(pid int, file string) string {
	b, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), file))
	return string(b)
}

// figure returns the number after a name at the beginning of a line: bytes,
// where the file says kB.
func figure(text, name string) int64 {
	for line := range strings.Lines(text) {
		if v, ok := strings.CutPrefix(line, name); ok {
			f := strings.Fields(v)
			n, _ := strconv.ParseInt(f[0], 10, 64)
			if len(f) > 1 && f[1] == "kB" {
				n <<= 10
			}
			return n
		}
	}
	return -1
}

// stretch is a piece of a file.
type stretch struct{ from, to int64 }

// mapping is a piece of a file that a process has in its address space.
type mapping struct {
	path string
	stretch
}

// mapped returns what a process has in its address space of a file, and of the
// files of a folder.
func mapped(pid int, file, folder string) (list []mapping) {
	for line := range strings.Lines(proc(pid, "maps")) {
		f := strings.Fields(line)
		if len(f) < 6 || f[5] != file && !strings.HasPrefix(f[5], folder+"/") {
			continue
		}
		var lo, hi, off int64
		if n, _ := fmt.Sscanf(f[0], "%x-%x", &lo, &hi); n != 2 {
			continue
		}
		if _, err := fmt.Sscanf(f[2], "%x", &off); err == nil {
			list = append(list, mapping{f[5], stretch{off, off + hi - lo}})
		}
	}
	return list
}

// modelBlocks returns where the file of the model is, and where in it the
// blocks' tensors are, but for the parts of pages that others share.
func modelBlocks(t *testing.T) (path string, blocks []stretch) {
	t.Helper()
	src, err := catalog.Resolve(modelID, catalog.CacheDir())
	if err != nil {
		t.Fatal(err)
	}
	c, err := weights.Open(src.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	page := int64(os.Getpagesize())
	for _, tensor := range c.Tensors() {
		if strings.HasPrefix(tensor.Name, "blk.") && tensor.Size > 2*page {
			blocks = append(blocks, stretch{tensor.Offset + page, tensor.Offset + tensor.Size - page})
		}
	}
	if path, err = filepath.EvalSymlinks(src.Path); err != nil {
		t.Fatal(err)
	}
	return path, blocks
}

// TestClientNeverLoadsBlockWeights watches farclient while it answers: what it
// maps of the model and of what is packed of it, and what it reads in all.
func TestClientNeverLoadsBlockWeights(t *testing.T) {
	nodes := Shared(t)
	path, blocks := modelBlocks(t)
	if len(blocks) < 7*layers {
		t.Fatalf("the model has %d large tensors in blocks", len(blocks))
	}
	packed, err := filepath.EvalSymlinks(filepath.Join(catalog.CacheDir(), "packed"))
	if err != nil {
		t.Fatal(err) // the nodes have written it
	}
	dir := t.TempDir()
	p := launch(t, "farclient", "farclient", dir, nil, "run", "--bootstrap", nodes[0].Addr, "--data-dir", dir, "--max-tokens", "12", "--temperature", "0", "Hello")
	var looks, read int64
	var ends int64
	for !p.Exited() {
		if r := figure(proc(p.PID, "io"), "rchar:"); r > read {
			read = r
		}
		total := int64(0)
		for _, m := range mapped(p.PID, path, packed) {
			looks++
			total += m.to - m.from
			if m.path != path && filepath.Base(m.path) != "ends" {
				t.Fatalf("%s is mapped", m.path)
			}
			for _, b := range blocks {
				if m.path == path && m.from < b.to && b.from < m.to {
					t.Fatalf("bytes %d to %d of the model are mapped, they hold a block's weights", m.from, m.to)
				}
			}
		}
		ends = max(ends, total)
		time.Sleep(5 * time.Millisecond)
	}
	if code := p.Exit(t, time.Second); code != 0 || strings.TrimSpace(p.Output()) == "" {
		t.Fatalf("status %d, answer %q\n%s", code, p.Output(), p.Log())
	}
	if looks == 0 || ends == 0 {
		t.Error("no mapping of the model was seen: the embedding should be one")
	}
	// All blocks have 63 MiB. The header with its vocabulary has 2. The ends,
	// which a node has packed, are read to be checked.
	if most := ends + 16<<20; read > most {
		t.Errorf("farclient read %d bytes of files and sockets, at most %d are for header, ends and answer", read, most)
	}
}

func TestNodeStaysWithinItsMemory(t *testing.T) {
	processes(t)
	n := Start(t, NodeOptions{Blocks: "0:30", Memory: "84MiB"})
	e := n.Wait("serving")
	c := Dial(t, ClientOptions{Bootstrap: []string{n.Addr}})
	c.Sees(t, n)
	ids := make([]inference.TokenID, pick(160, 256))
	for i := range ids {
		ids[i] = inference.TokenID(1000 + 37*i%5000)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var wg sync.WaitGroup
	for i := range pick(2, 4) {
		wg.Go(func() {
			r := pipeline.Request{IDs: ids[i:], MaxTokens: 4, IgnoreEOS: true}
			if a, err := c.Collect(ctx, r); err != nil || a.Usage.CompletionTokens != 4 {
				t.Errorf("session %d: %d tokens, %v", i, a.Usage.CompletionTokens, err)
			}
		})
	}
	wg.Wait()
	const rest = 150e6
	peak := figure(proc(n.PID, "status"), "VmHWM:")
	if most := e.WeightBytes + e.KVBytes + rest; peak > most || peak <= 0 {
		t.Errorf("the node took %d bytes, want at most %d of weights, %d of KV and %d", peak, e.WeightBytes, e.KVBytes, int64(rest))
	} else {
		t.Logf("peak %.1f MB: weights %.1f, KV budget %.1f, the rest %.1f of 150", float64(peak)/1e6, float64(e.WeightBytes)/1e6, float64(e.KVBytes)/1e6, float64(peak-e.WeightBytes-e.KVBytes)/1e6)
	}
}
