package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/farlabs/inference/internal/bench/synthetic"
	"github.com/farlabs/inference/kernels/tensor"
)

func TestEngineDoesEveryKindOfJob(t *testing.T) {
	m := synthetic.Model{
		Name: "tiny", Hidden: 256, Layers: 2, Heads: 4, KVHeads: 2, FFN: 512, Vocab: 20400, Ctx: 2048,
		Matrices: tensor.Q8_0, Head: tensor.Q8_0, FileType: 7,
	}
	path, err := synthetic.Ensure(t.TempDir(), m)
	if err != nil {
		t.Fatal(err)
	}
	j := job{Model: path, Threads: 2, Prompt: 20, Depths: []int{0, 33}, Tokens: 3}
	e, err := newEngine(path, j.Threads, 1024, false)
	if err != nil {
		t.Fatal(err)
	}
	r, err := j.measure(e)
	if err != nil {
		t.Fatal(err)
	}
	if !(r.Prefill > 0) || len(r.Decode) != 2 || !(r.Decode[0] > 0 && r.Decode[1] > 0 && r.Longest > 0) {
		t.Errorf("measured %+v", r)
	}
	if n := e.branch.Len(); n != 33+3 {
		t.Errorf("%d positions after the last depth, want %d", n, 33+3)
	}
	e.branch.Truncate(0)
	rows := 0
	if err := e.each(someIDs(chunk+5, 0), func(l []float32) error {
		rows++
		if len(l) != m.Vocab {
			t.Fatalf("%d logits", len(l))
		}
		return nil
	}); err != nil || rows != chunk+5 {
		t.Errorf("logits of %d positions, %v", rows, err)
	}

	w, err := workOf(path)
	if err != nil {
		t.Fatal(err)
	}
	parameters := 2 * (256*256*2 + 256*128*2 + 3*256*512) // of the two blocks
	if w.operations != float64(2*parameters) {
		t.Errorf("%g operations, want %d", w.operations, 2*parameters)
	}
	if least := float64(parameters+256*m.Vocab) * 34 / 32; w.bytes < least || w.bytes > least+16384 {
		t.Errorf("%g bytes, want %g and the norms", w.bytes, least)
	}
	if _, err := workOf(filepath.Join(t.TempDir(), "none.gguf")); err == nil {
		t.Error("a file that is not there has work")
	}
}

func TestOutputTellsThePeakOfAProcess(t *testing.T) {
	if resident(os.Getpid()) == 0 {
		t.Skip("this system does not tell")
	}
	cmd := exec.Command("sleep", "0.1")
	if _, peak, err := output(t.Context(), cmd); err != nil || !(peak > 0 && peak < 64) {
		t.Errorf("%g MiB, %v", peak, err)
	}
}
