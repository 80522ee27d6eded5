package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/internal/bench/ceiling"
	"github.com/farlabs/inference/kernels/device"
)

const sectionTitle = "## Beside llama.cpp"

// headline says when and on what it was measured.
func (b *bench) headline() string {
	var s strings.Builder
	fmt.Fprintf(&s, "Written by `make bench-peer`: medians of %d rounds by turns, ratios within a round; \"figure\" is ours ÷ theirs unless it has a unit.\n\n", b.rounds)
	fmt.Fprintf(&s, "%s, %s, %d cores, %s/%s. ", time.Now().UTC().Format("2006-01-02"), processor(), runtime.NumCPU(), runtime.GOOS, runtime.GOARCH)
	for _, threads := range []int{1, 2} {
		stream, integer := b.ceilings(threads)
		_, name := ceiling.Integer(1, 1)
		fmt.Fprintf(&s, "%d threads: stream %.1f GB/s, %s %.0f GOPS. ", threads, stream/1e9, name, integer/1e9)
	}
	fmt.Fprintf(&s, "Ours: kernels %s, numerics class %s. Theirs: %s\n", device.Kernels(), inference.Numerics{}.Class(), b.peer.about)
	return s.String()
}

// processor returns the processor's name where the system tells it.
func processor() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	name, family := runtime.GOARCH, ""
	for line := range strings.Lines(string(text)) {
		k, v, _ := strings.Cut(line, ":")
		switch v = strings.TrimSpace(v); strings.TrimSpace(k) {
		case "model name":
			name = v
		case "cpu family":
			family = " family " + v
		case "model":
			family += " model " + v
		case "":
			return name + family // the first processor's lines end
		}
	}
	return name + family
}

// replaceSection writes a section, from its title to the next of the same
// level, into a file whose other sections stay as they are.
func replaceSection(path, title, body string) error {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		text, err = []byte("# Benchmarks\n"), nil
	}
	if err != nil {
		return err
	}
	return os.WriteFile(path, []byte(withSection(string(text), title, body)), 0o644)
}

func withSection(text, title, body string) string {
	section := title + "\n\n" + strings.TrimSpace(body) + "\n"
	before, rest, found := strings.Cut("\n"+text, "\n"+title+"\n")
	if !found {
		return strings.TrimRight(text, "\n") + "\n\n" + section
	}
	if i := strings.Index(rest, "\n## "); i >= 0 {
		section += rest[i:]
	}
	return strings.TrimPrefix(before+"\n", "\n") + section
}
