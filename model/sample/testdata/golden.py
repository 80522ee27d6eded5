#!/usr/bin/env python3
"""Writes golden.json: distributions that transformers samples from.

Needs torch and transformers; run from anywhere, without arguments.
"""
import json, os, random
import torch, transformers
from transformers import LogitsProcessorList, MinPLogitsWarper, RepetitionPenaltyLogitsProcessor, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

r = random.Random(1)
cases = []
for i in range(60):
    v = r.choice([1, 2, 7, 64])
    logits = [round(r.gauss(0, r.choice([0.5, 2, 6])), 3) for _ in range(v)]
    if i % 7 == 0:
        logits[r.randrange(v)] = -1e4
    p = {"temperature": r.choice([0.3, 0.7, 1.0, 1.5])}
    steps = LogitsProcessorList()
    prompt = [r.randrange(v) for _ in range(r.randrange(1, 6))]
    generated = [r.randrange(v) for _ in range(r.randrange(6))]
    if i % 2:
        p["repetition_penalty"] = r.choice([0.8, 1.1, 1.3, 2.0])
        steps.append(RepetitionPenaltyLogitsProcessor(p["repetition_penalty"]))
    steps.append(TemperatureLogitsWarper(p["temperature"]))
    if i % 3 == 0:
        p["top_k"] = r.choice([1, 2, 5, 40])
        steps.append(TopKLogitsWarper(p["top_k"]))
    if i % 4 < 2:
        p["top_p"] = r.choice([0.05, 0.5, 0.8, 0.95])
        steps.append(TopPLogitsWarper(p["top_p"]))
    if i % 5 < 2:
        p["min_p"] = r.choice([0.02, 0.1, 0.5])
        steps.append(MinPLogitsWarper(p["min_p"]))
    out = steps(torch.tensor([prompt + generated]), torch.tensor([logits], dtype=torch.float64))
    cases.append({"params": p, "logits": logits, "prompt": prompt, "generated": generated,
                  "probs": [float("%.9g" % x) for x in torch.softmax(out, -1)[0].tolist()]})
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden.json"), "w") as f:
    json.dump({"transformers": transformers.__version__, "cases": cases}, f, separators=(",", ":"))
