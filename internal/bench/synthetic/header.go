package synthetic

import (
	"encoding/binary"
	"fmt"

	"github.com/farlabs/inference/kernels/tensor"
)

// alignment of tensors in the file, GGUF's default; bytes.
const alignment = 32

func roundUp(n int64) int64 { return (n + alignment - 1) / alignment * alignment }

// types are the numbers of the dtypes in GGUF.
var types = map[tensor.DType]uint32{tensor.F32: 0, tensor.Q4_0: 2, tensor.Q8_0: 8, tensor.Q6_K: 14}

// pair is a key of the metadata and its value.
type pair struct {
	key   string
	value any // string, []string, []int32, uint32, float32 or bool
}

// metadata returns the model's pairs.
func (m Model) metadata() []pair {
	tokens, kinds, merges := vocabulary(m.Vocab)
	return []pair{
		{"general.architecture", "llama"},
		{"general.name", m.Name},
		{"general.file_type", m.FileType},
		{"general.quantization_version", uint32(2)},
		{"llama.block_count", uint32(m.Layers)},
		{"llama.context_length", uint32(m.Ctx)},
		{"llama.embedding_length", uint32(m.Hidden)},
		{"llama.feed_forward_length", uint32(m.FFN)},
		{"llama.attention.head_count", uint32(m.Heads)},
		{"llama.attention.head_count_kv", uint32(m.KVHeads)},
		{"llama.attention.layer_norm_rms_epsilon", float32(1e-5)},
		{"llama.rope.dimension_count", uint32(m.Hidden / m.Heads)},
		{"llama.rope.freq_base", float32(10000)},
		{"llama.vocab_size", uint32(m.Vocab)},
		{"tokenizer.ggml.model", "gpt2"},
		{"tokenizer.ggml.pre", "smollm"},
		{"tokenizer.ggml.tokens", tokens},
		{"tokenizer.ggml.token_type", kinds},
		{"tokenizer.ggml.merges", merges},
		{"tokenizer.ggml.bos_token_id", uint32(1)},
		{"tokenizer.ggml.eos_token_id", uint32(2)},
		{"tokenizer.ggml.add_bos_token", false},
	}
}

// header returns what stands before the tensors' data, padded.
func header(pairs []pair, list []weight) []byte {
	le := binary.LittleEndian
	b := le.AppendUint32([]byte("GGUF"), 3)
	b = le.AppendUint64(b, uint64(len(list)))
	b = le.AppendUint64(b, uint64(len(pairs)))
	for _, p := range pairs {
		b = appendValue(appendString(b, p.key), p.value)
	}
	offset := int64(0)
	for _, w := range list {
		b = appendString(b, w.name)
		if w.out == 0 {
			b = le.AppendUint64(le.AppendUint32(b, 1), uint64(w.in))
		} else {
			b = le.AppendUint64(le.AppendUint64(le.AppendUint32(b, 2), uint64(w.in)), uint64(w.out))
		}
		b = le.AppendUint64(le.AppendUint32(b, types[w.dtype]), uint64(offset))
		offset += roundUp(w.bytes())
	}
	return append(b, make([]byte, roundUp(int64(len(b)))-int64(len(b)))...)
}

func appendString(b []byte, s string) []byte {
	return append(binary.LittleEndian.AppendUint64(b, uint64(len(s))), s...)
}

// appendValue appends the number of the value's type, and the value.
func appendValue(b []byte, v any) []byte {
	le := binary.LittleEndian
	const array, text, integer = 9, 8, 5
	switch v := v.(type) {
	case string:
		return appendString(le.AppendUint32(b, text), v)
	case []string:
		b = le.AppendUint64(le.AppendUint32(le.AppendUint32(b, array), text), uint64(len(v)))
		for _, s := range v {
			b = appendString(b, s)
		}
		return b
	case []int32:
		b = le.AppendUint64(le.AppendUint32(le.AppendUint32(b, array), integer), uint64(len(v)))
	case uint32:
		b = le.AppendUint32(b, 4)
	case float32:
		b = le.AppendUint32(b, 6)
	case bool:
		b = le.AppendUint32(b, 7)
	default:
		panic(fmt.Sprintf("synthetic: no GGUF value of a %T", v))
	}
	b, err := binary.Append(b, le, v)
	if err != nil {
		panic(err) // every type above has a size
	}
	return b
}
