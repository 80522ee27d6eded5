package modeltest

import "strconv"

func itoa(i int) string { return strconv.Itoa(i) }

// Metadata returns the keys of the file.
func (m Llama) Metadata() map[string]any {
	tokens, kinds := vocabulary()
	return map[string]any{
		"general.architecture": "llama",
		"general.name":         "random",
		"general.alignment":    uint32(32),

		"llama.block_count":                      uint32(m.Layers),
		"llama.context_length":                   uint32(m.Context),
		"llama.embedding_length":                 uint32(m.Hidden),
		"llama.feed_forward_length":              uint32(m.FFN),
		"llama.attention.head_count":             uint32(m.Heads),
		"llama.attention.head_count_kv":          uint32(m.KVHeads),
		"llama.attention.key_length":             uint32(m.HeadDim),
		"llama.attention.value_length":           uint32(m.HeadDim),
		"llama.attention.layer_norm_rms_epsilon": m.NormEps,
		"llama.rope.freq_base":                   m.RopeTheta,
		"llama.rope.dimension_count":             uint32(m.RopeDims),
		"llama.vocab_size":                       uint32(m.Vocab), // above the tokenizer's: rows without a token

		"tokenizer.ggml.model":            "gpt2",
		"tokenizer.ggml.pre":              "smollm",
		"tokenizer.ggml.tokens":           tokens,
		"tokenizer.ggml.token_type":       kinds,
		"tokenizer.ggml.merges":           merges,
		"tokenizer.ggml.bos_token_id":     uint32(1),
		"tokenizer.ggml.eos_token_id":     uint32(2),
		"tokenizer.ggml.unknown_token_id": uint32(0),
		"tokenizer.ggml.padding_token_id": uint32(2),
		"tokenizer.ggml.add_bos_token":    false,
		"tokenizer.chat_template":         chatTemplate,
	}
}

var merges = []string{"t h", "th e", "Ġ the", "i n"}

const chatTemplate = `{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}`

// vocabulary is three control tokens, the 256 bytes in GPT-2's printable form,
// and the results of the merges.
func vocabulary() (tokens []string, kinds []int32) {
	const normal, control = 1, 3
	add := func(kind int32, list ...string) {
		for _, s := range list {
			tokens, kinds = append(tokens, s), append(kinds, kind)
		}
	}
	add(control, "<|endoftext|>", "<|im_start|>", "<|im_end|>")
	next := rune(256)
	for b := range rune(256) {
		if b >= '!' && b <= '~' || b >= 0xa1 && b <= 0xac || b >= 0xae {
			add(normal, string(b))
		} else { // blanks and controls move to where they can be seen
			add(normal, string(next))
			next++
		}
	}
	add(normal, "th", "the", "Ġthe", "in")
	return tokens, kinds
}
