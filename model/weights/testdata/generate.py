"""Writes tiny.gguf with the Python package gguf, and tiny.manifest and
tiny.json from it with nothing but hashlib and struct: an independent reading of
the construction in manifest.go.

    python generate.py          (gguf 0.19, numpy 2; seed fixed below)

tiny.json: metadata as the package's reader decodes them, and for each tensor
its type, shape, and the float32 sum of its dequantised elements as hexadecimal.
"""

import hashlib
import json
import struct
from pathlib import Path

import gguf
import numpy as np
from gguf.constants import GGMLQuantizationType as T

HERE = Path(__file__).parent
rng = np.random.default_rng(7)
path = HERE / "tiny.gguf"


def write():
    w = gguf.GGUFWriter(path, "llama")
    w.add_name("Tiny")
    w.add_block_count(2)
    w.add_context_length(64)
    w.add_rope_freq_base(10000.0)
    w.add_float64("llama.test.double", 0.1)
    w.add_bool("llama.test.flag", True)
    w.add_int8("llama.test.i8", -3)
    w.add_uint8("llama.test.u8", 250)
    w.add_int16("llama.test.i16", -30000)
    w.add_uint16("llama.test.u16", 60000)
    w.add_int32("llama.test.i32", -5)
    w.add_int64("llama.test.i64", -(1 << 40))
    w.add_uint64("llama.test.u64", (1 << 64) - 1)
    w.add_array("llama.test.floats", [0.5, -1.25])
    w.add_array("llama.test.ints", [1, -2, 3])
    w.add_array("llama.test.bools", [True, False])
    w.add_quantization_version(2)
    w.add_tokenizer_model("gpt2")
    w.add_token_list(["<s>", "a", "Ġb", "漢", ""])
    w.add_token_types([3, 1, 1, 1, 1])
    w.add_token_scores([0.0, -1.0, -2.0, -3.0, -4.0])
    w.add_chat_template("{{ messages }}")
    tensors = [("token_embd.weight", T.Q8_0, (5, 64)), ("output_norm.weight", T.F32, (64,))]
    tensors += [("blk.0.attn_q.weight", T.Q4_1, (32, 256))]
    for i in range(2):
        tensors += [(f"blk.{i}.attn_norm.weight", T.F32, (63,)), (f"blk.{i}.ffn_up.weight", T.Q6_K, (3, 256))]
    tensors += [("blk.1.ffn_down.weight", T.BF16, (3, 5)), ("blk.1.attn_k.weight", T.F16, (2, 3, 5)), ("blk.1.attn_v.weight", T.Q4_K, (2, 256))]
    for name, t, shape in tensors:
        x = (rng.standard_normal(shape) * 0.05).astype(np.float32)
        if t in (T.Q4_K, T.Q6_K):  # the package only reads these
            size = {T.Q4_K: 144, T.Q6_K: 210}[t]
            raw = rng.integers(0, 256, (x.size // 256, size), dtype=np.uint8)
            for o in {T.Q4_K: (0, 2), T.Q6_K: (208,)}[t]:
                raw[:, o : o + 2] = np.full(len(raw), 0.001, np.float16).view(np.uint8).reshape(-1, 2)
            data = raw.reshape(*shape[:-1], -1)
        elif t == T.F32:
            data = x
        else:
            data = gguf.quants.quantize(x, t)
        w.add_tensor(name, data, raw_dtype=t, raw_shape=None if t in (T.F32, T.F16) else data.shape)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


SIZES = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}


def manifest(b):
    """The text of the manifest of a GGUF file, from its bytes."""
    at = 8
    def take(fmt):
        nonlocal at
        v = struct.unpack_from("<" + fmt, b, at)[0]
        at += struct.calcsize("<" + fmt)
        return v
    def string():
        nonlocal at
        n = take("Q")
        at += n
        return b[at - n : at]
    def skip(kind):
        if kind == 8:
            string()
        elif kind == 9:
            inner, n = take("I"), take("Q")
            for _ in range(n):
                skip(inner)
        else:
            take(SIZES[kind])

    count, pairs = take("Q"), take("Q")
    meta = {}
    for _ in range(pairs):
        start = at
        key = string()
        skip(take("I"))
        meta[key] = hashlib.sha256(b[start:at]).digest()
    table = []
    for _ in range(count):
        name = string()
        dims = [take("Q") for _ in range(take("I"))]
        table.append((name, T(take("I")), dims[::-1], take("Q")))
    data = (at + 31) // 32 * 32

    def group(key):
        if key in (b"tokenizer.chat_template", b"tokenizer.chat_templates") or key.startswith(b"tokenizer.chat_template."):
            return "template"
        if key.startswith(b"tokenizer."):
            return "tokenizer"
        if key in (b"general.architecture", b"general.quantization_version"):
            return "config"
        if key.startswith((b"general.", b"split.", b"quantize.")):
            return None
        return "config"

    text = b"far-manifest 1\n"
    for g in ("config", "tokenizer", "template"):
        sums = b"".join(meta[k] for k in sorted(meta) if group(k) == g)
        text += f"{g} {hashlib.sha256(sums).hexdigest()}\n".encode()
    for name, t, shape, offset in sorted(table):
        block, size = gguf.constants.GGML_QUANT_SIZES[t]
        n = int(np.prod(shape)) // block * size
        sha = hashlib.sha256(b[data + offset : data + offset + n]).hexdigest()
        text += f"tensor {sha} {t.name} {'x'.join(map(str, shape))} ".encode() + name + b"\n"
    return text


def describe():
    r = gguf.GGUFReader(path)
    meta = {f.name: f.contents() for f in r.fields.values() if not f.name.startswith("GGUF.")}
    tensors = {}
    for t in r.tensors:
        x = gguf.quants.dequantize(t.data, t.tensor_type).astype(np.float64)
        tensors[t.name] = {"dtype": t.tensor_type.name, "shape": [int(n) for n in reversed(t.shape)], "sum": float(x.sum()).hex()}
    return {"meta": meta, "tensors": tensors}


if __name__ == "__main__":
    write()
    (HERE / "tiny.manifest").write_bytes(manifest(path.read_bytes()))
    (HERE / "tiny.json").write_text(json.dumps(describe(), indent=1, ensure_ascii=False) + "\n")
