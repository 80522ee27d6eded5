package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/farlabs/inference"
)

// peer is llama.cpp: its programs, and what is best for it.
type peer struct {
	dir   string
	about string             // version and system line
	best  map[figure]setting // found so far
}

// setting is what llama.cpp lets its user choose and speed depends on.
type setting struct {
	flash  bool // flash attention
	repack bool // weights rearranged on load
	pin    bool // each thread stays on its processor
}

// figure is what is measured: each has its own best setting.
type figure struct {
	model   string
	kind    string // "decode" or "prefill"
	threads int
}

func (s setting) String() string {
	on := map[bool]string{true: "on", false: "off"}
	return fmt.Sprintf("flash attention %s, repack %s, pinned %s", on[s.flash], on[s.repack], on[s.pin])
}

func newPeer(dir string) (peer, error) {
	if dir == "" {
		return peer{}, fmt.Errorf("-llamacpp is missing: build with scripts/llamacpp.sh, its folder is scripts/llamacpp.sh --path")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return peer{}, err
	}
	for _, name := range []string{"llama-bench", "llama-server", "ggml-rpc-server", "logits"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return peer{}, fmt.Errorf("%w; run: scripts/llamacpp.sh", err)
		}
	}
	return peer{dir: dir, best: map[figure]setting{}}, nil
}

func (p *peer) program(ctx context.Context, name string, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, filepath.Join(p.dir, name), args...)
}

// describe finds the version and the line that says what it was compiled for.
func (p *peer) describe(ctx context.Context, m file) error {
	version, err := os.ReadFile(filepath.Join(p.dir, "VERSION"))
	if err != nil {
		return err
	}
	var stderr bytes.Buffer
	cmd := p.logits(ctx, m, 1, setting{flash: true}, []inference.TokenID{300}, 1)
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w: %s", cmd.Path, err, tail(stderr.String()))
	}
	p.about = strings.ReplaceAll(strings.TrimSpace(string(version)), "\n", ", ")
	for line := range strings.Lines(stderr.String()) {
		if strings.HasPrefix(line, "CPU :") {
			p.about += "; " + strings.TrimSpace(strings.ReplaceAll(line, "|", "·"))
		}
	}
	return nil
}

// logits is our program with their library: logits of a text.
func (p *peer) logits(ctx context.Context, m file, threads int, s setting, ids []inference.TokenID, batch int) *exec.Cmd {
	flash, repack := "off", "plain"
	if s.flash {
		flash = "on"
	}
	if s.repack {
		repack = "repack"
	}
	cmd := p.program(ctx, "logits", m.path, strconv.Itoa(threads), strconv.Itoa(batch), flash, repack)
	cmd.Stdin = strings.NewReader(encodeIDs(ids))
	return cmd
}

func encodeIDs(ids []inference.TokenID) string {
	b := make([]byte, 0, 4*len(ids))
	for _, id := range ids {
		b = binary.LittleEndian.AppendUint32(b, uint32(id))
	}
	return string(b)
}

// test is what llama-bench measures.
type test struct {
	model   file
	threads int
	prompt  int   // of this length, or
	tokens  int   // decoded …
	depths  []int // … after these many; nil: 0
	rpc     string
}

// measured is a line of llama-bench's answer.
type measured struct {
	Flash  int     `json:"flash_attn"`
	Repack bool    `json:"repack"`
	Depth  int     `json:"n_depth"`
	Speed  float64 `json:"avg_ts"` // tokens/s
}

// bench runs llama-bench and returns what it tells, and its peak memory in MiB.
func (p *peer) bench(ctx context.Context, t test, pin bool, args ...string) ([]measured, float64, error) {
	args = append(args, "-m", t.model.path, "-t", strconv.Itoa(t.threads),
		"-p", strconv.Itoa(t.prompt), "-n", strconv.Itoa(t.tokens), "-r", "1", "-o", "json")
	if len(t.depths) > 0 {
		args = append(args, "-d", strings.Trim(strings.Join(strings.Fields(fmt.Sprint(t.depths)), ","), "[]"))
	}
	if pin {
		args = append(args, "-C", fmt.Sprintf("0x%x", uint64(1)<<t.threads-1), "--cpu-strict", "1")
	}
	if t.rpc != "" {
		args = append(args, "--rpc", t.rpc, "-ngl", "99")
	}
	out, peak, err := output(ctx, p.program(ctx, "llama-bench", args...))
	if err != nil {
		return nil, 0, err
	}
	var lines []measured
	if err := json.Unmarshal(out, &lines); err != nil || len(lines) == 0 {
		return nil, 0, fmt.Errorf("llama-bench: %w: %q", err, tail(string(out)))
	}
	return lines, peak, nil
}

// run is bench with one setting: speeds by depth.
func (p *peer) run(ctx context.Context, t test, s setting) (speeds []float64, peak float64, err error) {
	flash, repack := "off", "0"
	if s.flash {
		flash = "on"
	}
	if s.repack {
		repack = "1"
	}
	lines, peak, err := p.bench(ctx, t, s.pin, "-fa", flash, "--repack", repack)
	for _, l := range lines {
		speeds = append(speeds, l.Speed)
	}
	if err == nil && len(speeds) != max(1, len(t.depths)) {
		err = fmt.Errorf("llama-bench: %d results, want %d", len(speeds), max(1, len(t.depths)))
	}
	return speeds, peak, err
}

// settle returns the best setting for a figure, trying all of them the first
// time it is asked. What it measures with may be smaller than the figure itself.
func (p *peer) settle(ctx context.Context, f figure, t test) (setting, error) {
	if s, ok := p.best[f]; ok {
		return s, nil
	}
	var best setting
	speed := 0.0
	for _, pin := range []bool{false, true} {
		lines, _, err := p.bench(ctx, t, pin, "-fa", "on,off", "--repack", "0,1")
		if err != nil {
			return best, err
		}
		for _, l := range lines {
			if l.Speed > speed {
				best, speed = setting{flash: l.Flash == 1, repack: l.Repack, pin: pin}, l.Speed
			}
		}
	}
	p.best[f] = best
	return best, nil
}

// lasting is the setting for decoding, which servers take too.
func (b *bench) lasting(ctx context.Context, m file, threads int) (setting, error) {
	s, err := b.peer.settle(ctx, figure{m.name, "decode", threads}, test{model: m, threads: threads, tokens: 32})
	if err == nil {
		b.log("llama.cpp, %s, decode, %d threads: %s", m.name, threads, s)
	}
	return s, err
}

// deep is the setting for decoding after a long context: lasting's, but for
// flash attention, which is what depth bears on.
func (b *bench) deep(ctx context.Context, m file, threads, depth int) (setting, error) {
	s, err := b.lasting(ctx, m, threads)
	if err != nil {
		return s, err
	}
	lines, _, err := b.peer.bench(ctx, test{model: m, threads: threads, tokens: 16, depths: []int{depth}}, s.pin,
		"-fa", "on,off", "--repack", map[bool]string{true: "1", false: "0"}[s.repack])
	speed := 0.0
	for _, l := range lines {
		if l.Speed > speed {
			s.flash, speed = l.Flash == 1, l.Speed
		}
	}
	return s, err
}
