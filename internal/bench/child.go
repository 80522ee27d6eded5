package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/kernels/device"
)

// childCommand, as first argument, makes the program do one job and end.
const childCommand = "child"

// job is what an engine in a process of its own does, as llama-bench does: load,
// warm up, measure, end.
type job struct {
	Model   string
	Threads int
	Prompt  int   // positions to prefill, measured; 0: none
	Depths  []int // ascending; at each Tokens are decoded, measured
	Tokens  int
	First   bool // nothing is warmed up; the end of the prompt is told and that is all
	Logits  bool // ids come on standard input, their logits go to standard output
	Exact   bool // float32 KV, and nothing rounded between blocks
	Spin    int  // keep this processor busy until killed, and do nothing else; counted from 1
}

// result is what came of it.
type result struct {
	Prefill float64   // tokens/s
	Decode  []float64 // tokens/s, by depth
	Longest float64   // ms, of one decoded token
	Peak    float64   `json:"-"` // MiB resident, of the process, as its parent sees it
}

// child does the job in args and returns the exit status.
func child(args []string) int {
	var j job
	if len(args) != 1 || json.Unmarshal([]byte(args[0]), &j) != nil {
		fmt.Fprintln(os.Stderr, "bench: a child takes one job")
		return 2
	}
	if err := j.do(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 1
	}
	return 0
}

func (j job) do() error {
	if j.Spin > 0 {
		return spin(j.Spin - 1)
	}
	if fault := device.KernelsError(); fault != nil {
		return fault
	}
	runtime.GOMAXPROCS(max(runtime.NumCPU(), j.Threads) + 2)
	most := 2*max(j.Prompt, 1) + j.Tokens + 16
	if j.Logits {
		most = 1 << 13
	}
	if n := len(j.Depths); n > 0 {
		most = max(most, j.Depths[n-1]+2*j.Tokens+chunk)
	}
	e, err := newEngine(j.Model, j.Threads, most, j.Exact)
	if err != nil {
		return err
	}
	switch {
	case j.Logits:
		return j.logits(e)
	case j.First:
		if _, err := e.append(someIDs(j.Prompt, 0)); err != nil {
			return err
		}
		fmt.Println("first")
		return nil
	}
	r, err := j.measure(e)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}

func (j job) measure(e *engine) (r result, err error) {
	if _, err := e.append(someIDs(max(1, j.Prompt), 1)); err != nil {
		return r, err
	}
	e.branch.Truncate(0)
	if j.Prompt > 0 {
		begin := time.Now()
		if _, err := e.append(someIDs(j.Prompt, 2)); err != nil {
			return r, err
		}
		r.Prefill = float64(j.Prompt) / time.Since(begin).Seconds()
	}
	e.branch.Truncate(0)
	for _, depth := range j.Depths {
		e.branch.Truncate(min(e.branch.Len(), depth))
		if n := depth - e.branch.Len(); n > 0 {
			if _, err := e.append(someIDs(n, 3)); err != nil {
				return r, err
			}
		}
		if _, _, err := e.decode(300, 1); err != nil {
			return r, err
		}
		e.branch.Truncate(depth)
		took, longest, err := e.decode(300, j.Tokens)
		if err != nil {
			return r, err
		}
		r.Decode = append(r.Decode, float64(j.Tokens)/took.Seconds())
		r.Longest = max(r.Longest, float64(longest)/1e6)
	}
	return r, nil
}

// logits speaks as internal/bench/testdata/logits.cpp does.
func (j job) logits(e *engine) error {
	raw, err := io.ReadAll(io.LimitReader(os.Stdin, 4<<13))
	if err != nil {
		return err
	}
	ids := make([]inference.TokenID, len(raw)/4)
	for i := range ids {
		ids[i] = inference.TokenID(int32(binary.LittleEndian.Uint32(raw[4*i:])))
	}
	out := bufio.NewWriterSize(os.Stdout, 1<<20)
	if err := e.each(ids, func(l []float32) error { return binary.Write(out, binary.LittleEndian, l) }); err != nil {
		return err
	}
	return out.Flush()
}

// ours does a job in a process of its own.
func (b *bench) ours(ctx context.Context, j job) (r result, err error) {
	out, peak, err := output(ctx, b.command(ctx, j))
	if err != nil {
		return r, fmt.Errorf("ours: %w", err)
	}
	r.Peak = peak
	if err := json.Unmarshal(out, &r); err != nil {
		return r, fmt.Errorf("ours: %w: %q", err, out)
	}
	return r, nil
}

func (b *bench) command(ctx context.Context, j job) *exec.Cmd {
	text, err := json.Marshal(j)
	if err != nil {
		panic(err) // a job is plain data
	}
	return exec.CommandContext(ctx, b.self, childCommand, string(text))
}

// output runs a command and returns what it prints and the most memory that it
// had resident, in MiB.
func output(ctx context.Context, cmd *exec.Cmd) (out []byte, peak float64, err error) {
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		return nil, 0, err
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			peak = max(peak, resident(cmd.Process.Pid))
		case err := <-done:
			if err != nil {
				err = fmt.Errorf("%s: %w: %s", cmd.Path, err, tail(stderr.String()))
			}
			return []byte(stdout.String()), peak, errors.Join(err, context.Cause(ctx))
		}
	}
}

// resident returns the most memory that a process has had resident, in MiB; 0
// where the system does not tell. The system's count at a process's end would
// include what its parent had before it became another program.
func resident(pid int) float64 {
	text, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	for line := range strings.Lines(string(text)) {
		if v, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, _ := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(v), "kB")), 64)
			return kib / 1024
		}
	}
	return 0
}

func tail(s string) string {
	const most = 2000
	if len(s) > most {
		return "… " + s[len(s)-most:]
	}
	return s
}

// firstByte returns the time from the start of a command to its first output;
// the command is then ended.
func firstByte(cmd *exec.Cmd, stdin string) (time.Duration, error) {
	var stderr strings.Builder
	cmd.Stdin, cmd.Stderr = strings.NewReader(stdin), &stderr
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	_, err = io.ReadFull(pipe, make([]byte, 1))
	took := time.Since(begin)
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if err != nil {
		return 0, fmt.Errorf("%s: %w: %s", cmd.Path, err, tail(stderr.String()))
	}
	return took, nil
}
