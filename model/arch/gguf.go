package arch

import (
	"fmt"
	"strings"
)

// Metadata is what FromGGUF needs of a file. The getters are those of a
// checkpoint: ok is false when the key is absent or of another kind.
type Metadata interface {
	Path() string
	Keys() []string
	String(key string) (v string, ok bool)
	Uint(key string) (v uint64, ok bool) // any integer kind
	Float(key string) (v float64, ok bool)
	Bool(key string) (v, ok bool)
	Tensors() []Tensor
}

// FromGGUF reads the Spec of a GGUF file and checks the names and shapes of
// all its tensors against it. Errors are an [*UnsupportedError] for what is not
// implemented and wrap [ErrMalformed] for what is missing or contradictory;
// both name the file and the key or tensor.
func FromGGUF(meta Metadata) (*Spec, error) {
	r := &reader{meta: meta, keys: map[string]bool{}, tensors: map[string][]int{}}
	for _, k := range meta.Keys() {
		r.keys[k] = true
	}
	for _, t := range meta.Tensors() {
		r.tensors[t.Name] = t.Shape
	}
	s, err := r.spec()
	if err == nil {
		err = s.Validate()
		if err != nil {
			err = fmt.Errorf("%s: %w", meta.Path(), err)
		}
	}
	if err == nil {
		err = r.checkTensors(s)
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// spec reads the keys. Every key that it looks at leaves r.keys; what is left
// of a kind that matters is refused.
func (r *reader) spec() (*Spec, error) {
	var kind string
	r.text("general.architecture", &kind)
	if r.err != nil {
		return nil, r.err
	}
	var s Spec
	switch kind {
	case llama.Family:
		s = llama
	default:
		return nil, r.unsupported("metadata key", "general.architecture", kind)
	}
	r.prefix = kind + "."

	// A LoRA adapter or a vision projector also calls itself by its base's name.
	r.neutralText("general.type", "model")
	// Version 1 and 0 of the quantised blocks had other layouts.
	r.neutralUint("general.quantization_version", 2)
	// A model cut into several files.
	r.neutralUint("split.count", 0, 1)

	a := r.prefix
	r.size(a+"block_count", &s.Layers)
	r.size(a+"context_length", &s.Context)
	r.size(a+"embedding_length", &s.Hidden)
	r.size(a+"feed_forward_length", &s.FFN)
	r.size(a+"attention.head_count", &s.Heads)
	s.KVHeads = s.Heads
	r.optionalSize(a+"attention.head_count_kv", &s.KVHeads)
	if s.Heads > 0 {
		s.HeadDim = s.Hidden / s.Heads
	}
	r.optionalSize(a+"attention.key_length", &s.HeadDim)
	value := s.HeadDim
	r.optionalSize(a+"attention.value_length", &value)
	if value != s.HeadDim {
		r.fail(r.unsupported("metadata key", a+"attention.value_length", fmt.Sprint(value)))
	}
	eps := 0.0
	r.float(a+"attention.layer_norm_rms_epsilon", &eps)
	s.NormEps = float32(eps)

	s.RopeTheta = 10000
	if r.keys[a+"rope.freq_base"] {
		r.float(a+"rope.freq_base", &s.RopeTheta)
	}
	s.RopeDims = s.HeadDim
	r.optionalSize(a+"rope.dimension_count", &s.RopeDims)

	switch embed, ok := r.tensors[s.Names.Embed]; {
	case !ok:
		r.fail(r.malformed("tensor %s is missing", s.Names.Embed))
	case len(embed) != 2:
		r.fail(r.malformed("tensor %s has shape %v, want a matrix", s.Names.Embed, embed))
	default:
		s.Vocab = embed[0]
	}
	vocab := s.Vocab
	r.optionalSize(a+"vocab_size", &vocab)
	if vocab != s.Vocab {
		r.fail(r.malformed("metadata key %svocab_size is %d, tensor %s has %d rows", a, vocab, s.Names.Embed, s.Vocab))
	}
	if _, ok := r.tensors[s.Names.Head]; !ok {
		s.Tied, s.Names.Head = true, ""
	}
	if _, ok := r.tensors[s.Names.RopeFactors]; !ok {
		s.Names.RopeFactors = ""
	}

	// Keys that some converters write with the value that means absent. Without
	// a type, a scaling factor would count as linear scaling.
	r.neutralText(a+"rope.scaling.type", "none")
	r.neutralFloat(a+"rope.scaling.factor", 0, 1)
	r.neutralFloat(a+"rope.scale_linear", 0, 1)
	r.neutralFloat(a+"rope.scaling.attn_factor", 0, 1)
	delete(r.keys, a+"rope.scaling.original_context_length") // read by scaling types only
	delete(r.keys, a+"rope.scaling.finetuned")               // informs, changes nothing
	r.neutralUint(a+"expert_count", 0)
	r.neutralUint(a+"expert_used_count", 0)
	r.neutralUint(a+"attention.sliding_window", 0)
	r.neutralBool(a+"use_parallel_residual", false)
	r.neutralBool(a+"attention.causal", true)
	r.neutralText(a+"tensor_data_layout", "Meta AI original pth")
	r.rest()
	return &s, r.err
}

// checkTensors compares the file's tensors with those the model needs.
func (r *reader) checkTensors(s *Spec) error {
	for _, t := range s.Tensors() {
		shape, ok := r.tensors[t.Name]
		if !ok {
			return r.malformed("tensor %s is missing", t.Name)
		}
		if err := SameShape(r.meta.Path(), t, shape); err != nil {
			return err
		}
		delete(r.tensors, t.Name)
	}
	for _, t := range r.meta.Tensors() {
		if _, left := r.tensors[t.Name]; left {
			return r.unsupported("tensor", t.Name, "")
		}
	}
	return nil
}

// SameShape returns an error naming file and tensor unless got is t's shape.
func SameShape(file string, t Tensor, got []int) error {
	same := len(got) == len(t.Shape)
	for i := 0; same && i < len(got); i++ {
		same = got[i] == t.Shape[i]
	}
	if !same {
		return fmt.Errorf("%s: tensor %s has shape %v, want %v: %w", file, t.Name, got, t.Shape, ErrMalformed)
	}
	return nil
}

// harmless namespaces: what the tokenizer and people read, how the file was made.
var harmless = []string{"general.", "tokenizer.", "quantize.", "split.", "imatrix."}

// rest refuses the keys that nobody looked at.
func (r *reader) rest() {
next:
	for _, k := range r.meta.Keys() { // the file's order, so that the error is always the same
		if !r.keys[k] {
			continue
		}
		for _, h := range harmless {
			if strings.HasPrefix(k, h) {
				continue next
			}
		}
		r.refuse(k)
	}
}
