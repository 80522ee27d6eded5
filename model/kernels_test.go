package model

import (
	"slices"
	"testing"

	inference "github.com/farlabs/inference"
	"github.com/farlabs/inference/kernels/device"
	"github.com/farlabs/inference/model/modeltest"
	"github.com/farlabs/inference/model/weights"
)

// TestSameBitsOnEveryKernelSet compares the log-probabilities of generations,
// prompts and decoded tokens, bit for bit between plain Go and the assembly that
// this processor can run.
func TestSameBitsOnEveryKernelSet(t *testing.T) {
	var real *weights.Checkpoint
	if !raceEnabled {
		real, _ = openSmolLM2(t)
	}
	prompts := matrixPrompts(270)[:3]
	for _, x := range []struct {
		name    string
		c       *weights.Checkpoint
		n       inference.Numerics
		prompts [][]inference.TokenID
	}{
		{"f32 weights", modeltest.Untied().Open(t), exact, prompts},
		{"q8_0 weights", modeltest.Quantised().Open(t), inference.Numerics{}, prompts},
		{"q8_0 weights, q8 KV", modeltest.Quantised().Open(t), inference.Numerics{KV: inference.KVQ8}, prompts},
		{"q8_0 weights, f32 activations", modeltest.Quantised().Open(t), exact, prompts},
		{"SmolLM2", real, inference.Numerics{}, matrixPrompts(40)[:2]},
	} {
		if x.c == nil {
			continue
		}
		spec, err := ReadSpec(x.c)
		if err != nil {
			t.Fatal(err)
		}
		all := blocks(0, spec.Layers)
		m, err := newChain(t, x.c, spec, inference.WireBF16, x.n, cut{all, all})
		if err != nil {
			t.Fatal(err)
		}
		var want []uint64
		for _, set := range device.Supported() {
			restore := device.UseKernels(set)
			got, err := m.fingerprint(x.prompts, 512)
			restore()
			if err != nil {
				t.Fatal(err)
			}
			if want == nil {
				want = got
			} else if !slices.Equal(got, want) {
				t.Errorf("%s: %s gives other log-probabilities than %s", x.name, set, device.Supported()[0])
			}
		}
	}
}
