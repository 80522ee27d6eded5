"""Writes dequant.safetensors and half.safetensors: golden vectors of the
Python package gguf.

    python generate.py          (gguf 0.19, numpy 2; seed fixed below)

dequant: for each dtype T, "T.raw" (U8, packed blocks of random bits whose
scales span normal, subnormal, zero and negative binary16 values) and "T.want"
(F32, gguf.quants.dequantize of it).
half: "f32" (F32, hard cases: ties, limits, subnormals, infinities, random
bits), "f16" and "bf16" (U16, the rounding of each by numpy and by gguf).
"""

import json
import struct
from pathlib import Path

import gguf
import numpy as np
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType as T

HERE = Path(__file__).parent
rng = np.random.default_rng(20260801)
ELEMS = 2048

# Byte offsets of the binary16 values in a block.
HALVES = {
    T.Q4_0: [0], T.Q4_1: [0, 2], T.Q5_0: [0], T.Q5_1: [0, 2], T.Q8_0: [0],
    T.Q4_K: [0, 2], T.Q5_K: [0, 2], T.Q6_K: [208],
}
SPECIAL = np.array([0, -0.0, 6e-8, -3e-6, 6.1e-5, 1, -1, 65504], np.float16)


def save(path, tensors):
    names = {"uint8": "U8", "uint16": "U16", "float32": "F32"}
    header, blob = {}, b""
    for name, a in tensors.items():
        b = a.tobytes()
        header[name] = {"dtype": names[a.dtype.name], "shape": list(a.shape), "data_offsets": [len(blob), len(blob) + len(b)]}
        blob += b
    h = json.dumps(header).encode()
    h += b" " * (-len(h) % 8)
    path.write_bytes(struct.pack("<Q", len(h)) + h + blob)


def halves(n):
    x = (rng.standard_normal(n) * 0.02).astype(np.float16)
    pick = rng.integers(0, 4, n) == 0
    x[pick] = rng.choice(SPECIAL, pick.sum())
    return x


def raw(t):
    size, width = GGML_QUANT_SIZES[t]
    n = ELEMS // size
    if t == T.F32:
        return rng.standard_normal(ELEMS).astype(np.float32).view(np.uint8)
    if t == T.F16:
        return halves(ELEMS).view(np.uint8)
    if t == T.BF16:
        return gguf.quants.quantize(rng.standard_normal((1, ELEMS)).astype(np.float32), t).reshape(-1).view(np.uint8)
    b = rng.integers(0, 256, (n, width), dtype=np.uint8)
    for o in HALVES[t]:
        b[:, o : o + 2] = halves(n).view(np.uint8).reshape(n, 2)
    return b.reshape(-1)


out = {}
for t in [T.F32, T.F16, T.BF16, *HALVES]:
    r = raw(t)
    out[t.name + ".raw"] = r
    src = r.view(np.float32) if t == T.F32 else r.view(np.float16) if t == T.F16 else r
    out[t.name + ".want"] = gguf.quants.dequantize(src, t).reshape(-1).astype(np.float32)
    assert out[t.name + ".want"].size == ELEMS
save(HERE / "dequant.safetensors", out)

h = rng.integers(0, 0x7C00, 1500).astype(np.uint16)
lo, hi = h.view(np.float16).astype(np.float32), (h + 1).astype(np.uint16).view(np.float16).astype(np.float32)
mid = (lo + np.where(np.isinf(hi), np.float32(65536), hi)) / 2
near = np.concatenate([mid, np.nextafter(mid, np.float32(0)), np.nextafter(mid, np.float32(np.inf)), lo])
bits = rng.integers(0, 1 << 32, 3000, dtype=np.uint32)
edge = bits.copy()
edge[1000:] = edge[1000:] & 0xFFFF0000 | 0x8000  # ties of bfloat16
fixed = np.array([0, -0.0, 65504, 65519.996, 65520, 65536, 2**-14, 2**-24, 2**-25, 2**-26, 3.4028235e38, np.inf, -np.inf, 1e-45], np.float32)
x = np.concatenate([near, -near[:500], edge.view(np.float32), fixed])
x = x[~np.isnan(x)]
with np.errstate(over="ignore"):
    save(HERE / "half.safetensors", {
        "f32": x,
        "f16": x.astype(np.float16).view(np.uint16),
        "bf16": gguf.quants.quantize(x.reshape(1, -1), T.BF16).reshape(-1).view(np.uint16),
    })
