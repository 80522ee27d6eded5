"""Writes the fixtures of package model, computed by transformers in float32.

    golden.py random  OUT.json             random models of model/modeltest
    golden.py smollm2 MODEL.gguf OUT.json  SmolLM2-135M-Instruct, Q4_1

needs torch, transformers, gguf, tokenizers, jinja2. The weights are dequantised
by the gguf package; rows of q and k, which GGUF files of this family hold in
interleaved order, are put back into the half order that transformers wants.
"""
import json
import math
import sys

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

torch.manual_seed(0)


def llama(sizes, tensor, factors=None):
    """The model of `sizes`, whose GGUF tensors `tensor(name)` returns as float32."""
    n, d, heads, kv, hd = (sizes[k] for k in ("layers", "hidden", "heads", "kv_heads", "head_dim"))
    config = LlamaConfig(
        vocab_size=sizes["vocab"], hidden_size=d, intermediate_size=sizes["ffn"], num_hidden_layers=n,
        num_attention_heads=heads, num_key_value_heads=kv, head_dim=hd, rms_norm_eps=sizes["eps"],
        max_position_embeddings=sizes["context"], tie_word_embeddings=not sizes["untied"],
        rope_parameters={"rope_type": "default", "rope_theta": sizes["theta"]}, attn_implementation="eager",
        bos_token_id=None, eos_token_id=None, pad_token_id=None)
    model = LlamaForCausalLM(config).float().eval()

    def half(w, h):  # file row h·D + 2j + s = checkpoint row h·D + s·D/2 + j
        return w.reshape(h, hd // 2, 2, -1).swapaxes(1, 2).reshape(h * hd, -1)

    state = {"model.embed_tokens.weight": tensor("token_embd.weight"), "model.norm.weight": tensor("output_norm.weight")}
    state["lm_head.weight"] = tensor("output.weight") if sizes["untied"] else state["model.embed_tokens.weight"]
    for i in range(n):
        b, l = f"blk.{i}.", f"model.layers.{i}."
        state[l + "input_layernorm.weight"] = tensor(b + "attn_norm.weight")
        state[l + "self_attn.q_proj.weight"] = half(tensor(b + "attn_q.weight"), heads)
        state[l + "self_attn.k_proj.weight"] = half(tensor(b + "attn_k.weight"), kv)
        state[l + "self_attn.v_proj.weight"] = tensor(b + "attn_v.weight")
        state[l + "self_attn.o_proj.weight"] = tensor(b + "attn_output.weight")
        state[l + "post_attention_layernorm.weight"] = tensor(b + "ffn_norm.weight")
        for part in ("gate", "up", "down"):
            state[l + f"mlp.{part}_proj.weight"] = tensor(b + f"ffn_{part}.weight")
    state = {k: torch.from_numpy(np.ascontiguousarray(v)) for k, v in state.items()}
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not missing and not unexpected, (missing, unexpected)

    # The rotation, from its formula: the first R of D dimensions of a file's
    # head in pairs (2j, 2j+1), which are pairs (j, j + D/2) here; the others
    # turn by nothing.
    r = sizes["rope_dims"]
    inv = sizes["theta"] ** (-2 * np.arange(r // 2, dtype=np.float64) / r)
    if factors is not None:
        inv = inv / factors
    inv = np.concatenate([inv, np.zeros(hd // 2 - r // 2)]).astype(np.float32)
    model.model.rotary_emb.inv_freq.copy_(torch.from_numpy(inv))
    return model


def nll(logits, ids):
    """The log-probability of each token but the first."""
    lp = torch.log_softmax(logits[:-1].double(), dim=-1)
    return lp[torch.arange(len(ids) - 1), torch.tensor(ids[1:])]


def digits(x, n):
    return [float(f"{v:.{n}g}") for v in x]


# ---- random models -------------------------------------------------------

def splitmix(seed, n):
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def fnv(name):
    h = 0xCBF29CE484222325
    for c in name.encode():
        h = (h ^ c) * 0x100000001B3 % 2**64
    return h


def spread(name, mean, width, *shape):
    u = ((splitmix(fnv(name), math.prod(shape)) >> np.uint64(40)).astype(np.int64) - 2**23).astype(np.float32) / np.float32(2**23)
    return (np.float32(mean) + np.float32(width) * u).reshape(shape)


def random_tensor(sizes):
    d, ffn = sizes["hidden"], sizes["ffn"]
    q, kv = sizes["heads"] * sizes["head_dim"], sizes["kv_heads"] * sizes["head_dim"]
    matrices = {"attn_q": (2, q, d), "attn_k": (2, kv, d), "attn_v": (1, kv, d), "attn_output": (1, d, q),
                "ffn_gate": (1, ffn, d), "ffn_up": (1, ffn, d), "ffn_down": (1, d, ffn), "output": (3, sizes["vocab"], d)}

    def tensor(name):
        part = name.split(".")[-2]
        if part == "token_embd":
            return spread(name, 0, 1, sizes["vocab"], d)
        if part.endswith("norm"):
            return spread(name, 1, 0.25, d)
        gain, out, inn = matrices[part]
        return spread(name, 0, gain * math.sqrt(3 / inn), out, inn)
    return tensor


def random_models(out):
    small = dict(layers=6, hidden=64, heads=4, kv_heads=2, head_dim=16, rope_dims=16, ffn=160, vocab=272, context=2048,
                 theta=10000.0, eps=1e-5, untied=False)
    untied = dict(small, head_dim=24, kv_heads=1, theta=500000.0, eps=1e-3, untied=True)
    ids = [int(v) % 272 for v in splitmix(fnv("prompt") , 75) >> np.uint64(16)]
    result = {"ids": ids}
    for name, sizes, factors in (("small", small, None),
                                 ("untied", untied, spread("rope_freqs.weight", 2.5, 1.5, 8).astype(np.float64))):
        model = llama(sizes, random_tensor(sizes), factors)
        with torch.no_grad():
            logits = model(torch.tensor([ids])).logits[0]
        result[name] = {"logprobs": digits(nll(logits, ids), 9), "last_logits": digits(logits[-1], 9)}
    write(out, result)


# ---- SmolLM2 -------------------------------------------------------------

PROMPTS = [
    "What is the capital of France, and what is it known for?",
    "Write a short story about a lighthouse keeper who befriends a whale.",
    "Explain photosynthesis to a ten-year-old.",
    "Write a Python function that returns the n-th Fibonacci number, and explain how it works.",
    "List five tips for learning a new language.",
    "Why is the sky blue during the day and red at sunset?",
    "Summarise the plot of Romeo and Juliet in one paragraph.",
    "A train leaves at 9:15 and arrives at 11:40. How long was the journey? Show your steps.",
]

TEXT = """Alice was beginning to get very tired of sitting by her sister on the bank, and of having nothing to do: once or twice she had peeped into the book her sister was reading, but it had no pictures or conversations in it, "and what is the use of a book," thought Alice "without pictures or conversations?"

So she was considering in her own mind (as well as she could, for the hot day made her feel very sleepy and stupid), whether the pleasure of making a daisy-chain would be worth the trouble of getting up and picking the daisies, when suddenly a White Rabbit with pink eyes ran close by her.

There was nothing so very remarkable in that; nor did Alice think it so very much out of the way to hear the Rabbit say to itself, "Oh dear! Oh dear! I shall be late!" (when she thought it over afterwards, it occurred to her that she ought to have wondered at this, but at the time it all seemed quite natural); but when the Rabbit actually took a watch out of its waistcoat-pocket, and looked at it, and then hurried on, Alice started to her feet, for it flashed across her mind that she had never before seen a rabbit with either a waistcoat-pocket, or a watch to take out of it, and burning with curiosity, she ran across the field after it, and fortunately was just in time to see it pop down a large rabbit-hole under the hedge.

In another moment down went Alice after it, never once considering how in the world she was to get out again.

The rabbit-hole went straight on like a tunnel for some way, and then dipped suddenly down, so suddenly that Alice had not a moment to think about stopping herself before she found herself falling down a very deep well.

Either the well was very deep, or she fell very slowly, for she had plenty of time as she went down to look about her and to wonder what was going to happen next. First, she tried to look down and make out what she was coming to, but it was too dark to see anything; then she looked at the sides of the well, and noticed that they were filled with cupboards and book-shelves; here and there she saw maps and pictures hung upon pegs. She took down a jar from one of the shelves as she passed; it was labelled "ORANGE MARMALADE", but to her great disappointment it was empty: she did not like to drop the jar for fear of killing somebody underneath, so managed to put it into one of the cupboards as she fell past it.

"Well!" thought Alice to herself, "after such a fall as this, I shall think nothing of tumbling down stairs! How brave they'll all think me at home! Why, I wouldn't say anything about it, even if I fell off the top of the house!" (Which was very likely true.)

Down, down, down. Would the fall never come to an end? "I wonder how many miles I've fallen by this time?" she said aloud.
"""


def tokenizer(reader):
    from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
    tokens = reader.fields["tokenizer.ggml.tokens"].contents()
    kinds = reader.fields["tokenizer.ggml.token_type"].contents()
    merges = [tuple(m.split(" ")) for m in reader.fields["tokenizer.ggml.merges"].contents()]
    t = Tokenizer(models.BPE({s: i for i, s in enumerate(tokens)}, merges))
    t.pre_tokenizer = pre_tokenizers.Sequence([  # tokenizer.ggml.pre = smollm
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)])
    t.add_special_tokens([AddedToken(s, special=True) for s, k in zip(tokens, kinds) if k == 3])
    return t


def smollm2(path, out):
    import jinja2
    from gguf import GGUFReader, dequantize
    reader = GGUFReader(path)
    key = lambda k: reader.fields[k].contents()
    by_name = {t.name: t for t in reader.tensors}
    heads = key("llama.attention.head_count")
    sizes = dict(layers=key("llama.block_count"), hidden=key("llama.embedding_length"), heads=heads,
                 kv_heads=key("llama.attention.head_count_kv"), head_dim=key("llama.embedding_length") // heads,
                 rope_dims=key("llama.rope.dimension_count"), ffn=key("llama.feed_forward_length"),
                 vocab=key("llama.vocab_size"), context=key("llama.context_length"), theta=key("llama.rope.freq_base"),
                 eps=key("llama.attention.layer_norm_rms_epsilon"), untied="output.weight" in by_name)

    def tensor(name):
        t = by_name[name]
        return dequantize(t.data, t.tensor_type).astype(np.float32).reshape([int(n) for n in t.shape[::-1]])

    model, tok = llama(sizes, tensor), tokenizer(reader)
    env = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
    template = env.from_string(key("tokenizer.chat_template"))
    result = {"prompts": []}
    with torch.no_grad():
        for text in PROMPTS:
            rendered = template.render(messages=[{"role": "user", "content": text}], add_generation_prompt=True)
            ids = tok.encode(rendered, add_special_tokens=False).ids
            step, past, chosen, best, second = ids, None, [], [], []
            while len(chosen) < 128:  # also beyond an end of turn
                o = model(torch.tensor([step]), past_key_values=past, use_cache=True)
                past = o.past_key_values
                top = torch.topk(o.logits[0, -1], 2)
                chosen.append(int(top.indices[0]))
                best.append(float(top.values[0]))
                second.append(float(top.values[1]))
                step = chosen[-1:]
            result["prompts"].append({"text": text, "ids": ids, "tokens": chosen,
                                      "best": digits(best, 7), "second": digits(second, 7)})
            print(len(ids), repr(tok.decode(chosen)[:300]), file=sys.stderr)
        ids = tok.encode(TEXT, add_special_tokens=False).ids
        assert len(ids) >= 600, len(ids)
        ids = ids[:600]
        lp = nll(model(torch.tensor([ids])).logits[0], ids)
        result["text"] = {"ids": ids, "logprobs": digits(lp, 7), "perplexity": float(torch.exp(-lp.mean()))}
        print("perplexity", result["text"]["perplexity"], file=sys.stderr)
    write(out, result)


def write(out, result):
    with open(out, "w") as f:
        json.dump(result, f, separators=(",", ":"))
        f.write("\n")


if __name__ == "__main__":
    {"random": random_models, "smollm2": smollm2}[sys.argv[1]](*sys.argv[2:])
