package arch

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// file is a file's metadata as a map, and its tensors.
type file struct {
	keys    map[string]any
	tensors []Tensor
}

func (f file) Path() string      { return "some.gguf" }
func (f file) Tensors() []Tensor { return f.tensors }
func (f file) Keys() []string    { return slices.Sorted(maps.Keys(f.keys)) }

func (f file) String(key string) (string, bool) {
	v, ok := f.keys[key].(string)
	return v, ok
}

func (f file) Float(key string) (float64, bool) {
	v, ok := f.keys[key].(float64)
	return v, ok
}

func (f file) Bool(key string) (v, ok bool) {
	v, ok = f.keys[key].(bool)
	return v, ok
}

func (f file) Uint(key string) (uint64, bool) {
	v, ok := f.keys[key].(int)
	return uint64(v), ok && v >= 0
}

// llamaFile is a small model without optional keys: two blocks of width 8.
func llamaFile() file {
	f := file{keys: map[string]any{
		"general.architecture":                   "llama",
		"general.name":                           "anything",
		"general.unheard_of":                     7,
		"tokenizer.ggml.model":                   "gpt2",
		"tokenizer.unheard_of":                   true,
		"llama.block_count":                      2,
		"llama.context_length":                   64,
		"llama.embedding_length":                 8,
		"llama.feed_forward_length":              12,
		"llama.attention.head_count":             2,
		"llama.attention.layer_norm_rms_epsilon": 1e-5,
	}}
	add := func(name string, shape ...int) { f.tensors = append(f.tensors, Tensor{name, shape}) }
	add("token_embd.weight", 20, 8)
	add("output_norm.weight", 8)
	for i := range 2 {
		b := fmt.Sprintf("blk.%d.", i)
		add(b+"attn_norm.weight", 8)
		add(b+"attn_q.weight", 8, 8)
		add(b+"attn_k.weight", 8, 8)
		add(b+"attn_v.weight", 8, 8)
		add(b+"attn_output.weight", 8, 8)
		add(b+"ffn_norm.weight", 8)
		add(b+"ffn_gate.weight", 12, 8)
		add(b+"ffn_up.weight", 12, 8)
		add(b+"ffn_down.weight", 8, 12)
	}
	return f
}

func TestAbsentKeysTakeTheFamilysDefaults(t *testing.T) {
	got, err := FromGGUF(llamaFile())
	if err != nil {
		t.Fatal(err)
	}
	want := llama
	want.Layers, want.Hidden, want.Heads, want.KVHeads, want.HeadDim = 2, 8, 2, 2, 4
	want.FFN, want.Vocab, want.Context, want.NormEps = 12, 20, 64, 1e-5
	want.RopeTheta, want.RopeDims, want.Tied = 10000, 4, true
	want.Names.Head, want.Names.RopeFactors = "", ""
	if d := cmp.Diff(&want, got); d != "" {
		t.Error(d)
	}
	if l := got.Layer(1); l.Mixer != MixerGQA || l.MLP != MLPGatedSiLU || l.Norm != NormRMS || l.Rope != (Rope{RopeInterleaved, 10000, 4}) {
		t.Errorf("layer 1 is %+v", l)
	}
}

func TestKeysAndTensorsShapeTheSpec(t *testing.T) {
	f := llamaFile()
	maps.Copy(f.keys, map[string]any{
		"llama.attention.head_count_kv": 1,
		"llama.attention.key_length":    6,
		"llama.attention.value_length":  6,
		"llama.rope.freq_base":          500000.0,
		"llama.rope.dimension_count":    4,
		"llama.vocab_size":              20,
		// Values that mean absent.
		"general.type":                               "model",
		"general.quantization_version":               2,
		"split.count":                                1,
		"llama.rope.scaling.type":                    "none",
		"llama.rope.scaling.factor":                  1.0,
		"llama.rope.scaling.original_context_length": 32,
		"llama.rope.scaling.finetuned":               true,
		"llama.expert_count":                         0,
		"llama.expert_used_count":                    0,
		"llama.attention.causal":                     true,
		"llama.use_parallel_residual":                false,
		"llama.tensor_data_layout":                   "Meta AI original pth",
		"quantize.imatrix.file":                      "x",
	})
	for i := range f.tensors {
		switch t := &f.tensors[i]; {
		case strings.Contains(t.Name, "attn_q."):
			t.Shape = []int{12, 8}
		case strings.Contains(t.Name, "attn_output."):
			t.Shape = []int{8, 12}
		case strings.Contains(t.Name, "attn_k."), strings.Contains(t.Name, "attn_v."):
			t.Shape = []int{6, 8}
		}
	}
	f.tensors = append(f.tensors, Tensor{"output.weight", []int{20, 8}}, Tensor{"rope_freqs.weight", []int{2}})
	s, err := FromGGUF(f)
	if err != nil {
		t.Fatal(err)
	}
	if s.KVHeads != 1 || s.HeadDim != 6 || s.RopeDims != 4 || s.RopeTheta != 500000 {
		t.Errorf("%+v", s)
	}
	if s.Tied || s.Head().Name != "output.weight" || s.RopeFactors().Name != "rope_freqs.weight" {
		t.Errorf("head %v, factors %v", s.Head(), s.RopeFactors())
	}
}

func TestWhatChangesResultsIsRefusedByName(t *testing.T) {
	for key, v := range map[string]any{
		"general.architecture":            "phi3",
		"general.type":                    "adapter",
		"general.quantization_version":    1,
		"split.count":                     3,
		"llama.rope.scaling.type":         "linear",
		"llama.rope.scaling.factor":       4.0, // without a type, linear
		"llama.rope.scale_linear":         2.0,
		"llama.rope.scaling.attn_factor":  1.2,
		"llama.rope.dimension_sections":   []int{1, 2},
		"llama.expert_count":              8,
		"llama.expert_used_count":         2,
		"llama.attention.sliding_window":  4096,
		"llama.attention.causal":          false,
		"llama.attention.value_length":    5,
		"llama.attention.clamp_kqv":       8.0,
		"llama.attention.scale":           0.5,
		"llama.attention.head_count":      []int{2, 2}, // by layer
		"llama.attention.head_count_kv":   []int{2, 1},
		"llama.feed_forward_length":       []int{12, 12},
		"llama.embedding_length":          1 << 40,
		"llama.use_parallel_residual":     true,
		"llama.logit_scale":               0.0625,
		"llama.embedding_scale":           12.0,
		"llama.residual_scale":            0.2,
		"llama.final_logit_softcapping":   30.0,
		"llama.attn_logit_softcapping":    50.0,
		"llama.tensor_data_layout":        "another",
		"llama.pooling_type":              1,
		"llama.vocab_size_of_another":     "x",
		"qwen2.attention.head_count":      4,
		"adapter.type":                    "lora",
		"llama.rope.freq_base_swa":        1.0,
		"llama.attention.layer_indices":   []int{},
		"llama.attention.kv_lora_rank":    64,
		"llama.rope.scaling.yarn_log_mul": 0.1,
	} {
		f := llamaFile()
		f.keys[key] = v
		_, err := FromGGUF(f)
		var u *UnsupportedError
		if !errors.As(err, &u) || u.Name != key || u.File != "some.gguf" || !errors.Is(err, ErrUnsupported) {
			t.Errorf("%s = %v: %v", key, v, err)
		} else if !strings.Contains(err.Error(), key) || !strings.Contains(err.Error(), "some.gguf") {
			t.Errorf("%s: error %q does not name key and file", key, err)
		}
	}
	for _, name := range []string{
		"blk.0.attn_q.bias", "blk.1.ffn_gate_exps.weight", "blk.1.ffn_gate_inp.weight", "blk.0.attn_q_norm.weight",
		"blk.2.attn_q.weight", "output.bias", "position_embd.weight", "rope_factors_long.weight", "blk.00.attn_q.weight",
	} {
		f := llamaFile()
		f.tensors = append(f.tensors, Tensor{name, []int{8}})
		_, err := FromGGUF(f)
		var u *UnsupportedError
		if !errors.As(err, &u) || u.Name != name || u.Kind != "tensor" || !strings.Contains(err.Error(), name) {
			t.Errorf("tensor %s: %v", name, err)
		}
	}
}

func TestWhatIsMissingOrContradictoryIsNamed(t *testing.T) {
	for _, key := range []string{
		"general.architecture", "llama.block_count", "llama.context_length", "llama.embedding_length",
		"llama.feed_forward_length", "llama.attention.head_count", "llama.attention.layer_norm_rms_epsilon",
	} {
		f := llamaFile()
		delete(f.keys, key)
		if _, err := FromGGUF(f); !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), key) || !strings.Contains(err.Error(), "some.gguf") {
			t.Errorf("without %s: %v", key, err)
		}
	}
	for i, x := range llamaFile().tensors {
		f := llamaFile()
		f.tensors = slices.Delete(f.tensors, i, i+1)
		if _, err := FromGGUF(f); !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), x.Name) {
			t.Errorf("without tensor %s: %v", x.Name, err)
		}
		f = llamaFile()
		f.tensors[i].Shape = append([]int{1}, x.Shape...)
		if _, err := FromGGUF(f); !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), x.Name) {
			t.Errorf("tensor %s of another shape: %v", x.Name, err)
		}
	}
	for key, v := range map[string]any{
		"llama.block_count":                      0,
		"llama.context_length":                   0,
		"llama.attention.head_count":             0,
		"llama.attention.head_count_kv":          3,
		"llama.attention.layer_norm_rms_epsilon": math.NaN(),
		"llama.rope.freq_base":                   math.Inf(1),
		"llama.rope.dimension_count":             3,
		"llama.vocab_size":                       21,
	} {
		f := llamaFile()
		f.keys[key] = v
		if _, err := FromGGUF(f); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s = %v: %v", key, v, err)
		}
	}
}

// FuzzFromGGUF: whatever a file claims, the result is an error or a Spec that
// holds together.
func FuzzFromGGUF(f *testing.F) {
	f.Add("llama", "llama.expert_count", uint64(8), uint64(2), uint64(8), uint64(12), uint64(2), uint64(2), uint64(4), 1e-5, 1e4)
	f.Add("llama", "general.x", uint64(1), uint64(1024), uint64(1<<31), uint64(1<<63), uint64(0), uint64(3), uint64(1<<20), -1.0, math.Inf(1))
	f.Fuzz(func(t *testing.T, name, key string, v, layers, hidden, ffn, heads, kv, dim uint64, eps, theta float64) {
		in := llamaFile()
		in.keys = map[string]any{key: int(v)}
		maps.Copy(in.keys, map[string]any{
			"general.architecture":                   name,
			"llama.block_count":                      int(layers),
			"llama.context_length":                   64,
			"llama.embedding_length":                 int(hidden),
			"llama.feed_forward_length":              int(ffn),
			"llama.attention.head_count":             int(heads),
			"llama.attention.head_count_kv":          int(kv),
			"llama.attention.key_length":             int(dim),
			"llama.attention.layer_norm_rms_epsilon": eps,
			"llama.rope.freq_base":                   theta,
		})
		s, err := FromGGUF(in)
		if (s == nil) == (err == nil) {
			t.Fatalf("%v and %v", s, err)
		}
		if err == nil && s.Validate() != nil {
			t.Fatalf("%+v: %v", s, s.Validate())
		}
	})
}
