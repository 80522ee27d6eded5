package arch

// llama is the family of Llama, SmolLM2, Yi and Vicuna, and of Mistral files
// without a window. GGUF files of it hold the rows of q and k permuted, which
// makes the rotation interleaved.
var llama = Spec{
	Family:    "llama",
	Norm:      NormRMS,
	Mixer:     MixerGQA,
	MLP:       MLPGatedSiLU,
	RopeStyle: RopeInterleaved,
	Names: Names{
		Embed:       "token_embd.weight",
		FinalNorm:   "output_norm.weight",
		Head:        "output.weight",
		RopeFactors: "rope_freqs.weight",
		AttnNorm:    "blk.%d.attn_norm.weight",
		Q:           "blk.%d.attn_q.weight",
		K:           "blk.%d.attn_k.weight",
		V:           "blk.%d.attn_v.weight",
		O:           "blk.%d.attn_output.weight",
		MLPNorm:     "blk.%d.ffn_norm.weight",
		Gate:        "blk.%d.ffn_gate.weight",
		Up:          "blk.%d.ffn_up.weight",
		Down:        "blk.%d.ffn_down.weight",
	},
}
