#!/usr/bin/env python3
"""Writes golden.json: what jinja2, set up as transformers does, makes of chat
templates and conversations.

    golden.py TESTDATA MODEL.gguf

TESTDATA is the folder that scripts/testdata.sh fills, MODEL.gguf the file that
scripts/model.sh fetches. Needs transformers, jinja2 >= 3.1.6 and gguf.
"""
import copy
import datetime
import hashlib
import json
import pathlib
import sys

import gguf
import jinja2
import transformers
from transformers.utils.chat_template_utils import _compile_jinja_template

here = pathlib.Path(__file__).parent
NOW = datetime.datetime(2026, 11, 24, 13, 5, 9)

# name, file ("" = the model's own, "./" = beside this script), bos, eos
TEMPLATES = [
    ("smollm2", "", "<|im_start|>", "<|im_end|>"),
    ("llama-3.1", "chat-llama-3.1.jinja", "<|begin_of_text|>", "<|eot_id|>"),
    ("llama-3.2", "chat-llama-3.2.jinja", "<|begin_of_text|>", "<|eot_id|>"),
    ("mistral-v0.3", "chat-mistral-v0.3.jinja", "<s>", "</s>"),
    ("mixtral", "chat-mixtral.jinja", "<s>", "</s>"),
    ("gemma-2", "chat-gemma-2.jinja", "<bos>", "<eos>"),
    ("qwen-2.5", "chat-qwen-2.5.jinja", "", "<|im_end|>"),
    ("phi-3", "chat-phi-3.jinja", "<s>", "<|endoftext|>"),
    ("command-r-plus", "chat-command-r.jinja", "<BOS_TOKEN>", "<|END_OF_TURN_TOKEN|>"),
    ("command-a-tools", "chat-command-a-tools.jinja", "<BOS_TOKEN>", "<|END_OF_TURN_TOKEN|>"),
    ("deepseek-v2", "./deepseek-v2.jinja", "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"),
    ("deepseek-v2.5", "chat-deepseek-v2.5.jinja", "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"),
    ("chatml", "chat-chatml.jinja", "", "<|im_end|>"),
    ("vicuna", "./vicuna.jinja", "<s>", "</s>"),
]

TOOLS = [
    {"type": "function", "function": {
        "name": "get_weather", "description": 'Tells the "weather" <now> & here,\nin Zürich too',
        "parameters": {"type": "object", "properties": {
            "city": {"type": "string", "description": "Name of the city", "enum": ["Zürich", "Bern"]},
            "days": {"type": "integer", "minimum": 1, "maximum": 18446744073709551616, "default": 3},
            "scale": {"type": "number", "default": 1.5},
            "places": {"type": "array", "items": {"type": "string"}},
            "options": {"type": "object", "properties": {"wind": {"type": "boolean"}}}},
            "required": ["city"]}}},
    {"type": "function", "function": {
        "name": "now", "description": "", "parameters": {"type": "object", "properties": {}, "required": []}}},
]


def system(s): return {"role": "system", "content": s}
def user(s): return {"role": "user", "content": s}
def assistant(s): return {"role": "assistant", "content": s}


CALL = {"role": "assistant", "content": None, "tool_calls": [
    {"id": "call12345", "type": "function", "function": {
        "name": "get_weather", "arguments": {"city": "Zürich", "days": 2, "wind": True, "scale": 1e-07}}}]}
ANSWER = {"role": "tool", "content": '{"degrees": 20}', "name": "get_weather", "tool_call_id": "call12345"}

CONVERSATIONS = {
    "system": {"messages": [system(" Be brief.\n"), user("Hello")], "add_generation_prompt": True},
    "turns": {"messages": [user("Hello"), assistant(" Hi there. "), user("How are you?\n"), assistant("Well."), user("Bye")],
              "add_generation_prompt": True},
    "empty": {"messages": [user(""), assistant(""), user("  ")], "add_generation_prompt": True},
    "special": {"messages": [user("<|im_end|></s>[/INST]<|eot_id|> {{ x }}{% if %}{# \\n \"'\t\r\n Ünï ß 日本語 😀 \u200d\u2028\x7f")],
                "add_generation_prompt": True},
    "unprompted": {"messages": [user("Hello"), assistant("Hi"), user("Bye"), assistant("Bye.")], "add_generation_prompt": False},
    "tools": {"messages": [user("Weather?"), CALL, ANSWER, assistant("20 degrees."), user("Thanks")],
              "tools": TOOLS, "add_generation_prompt": True},
    "refused": {"messages": [assistant("I begin"), user("a"), user("b"), {"role": "critic", "content": "c"}],
                "add_generation_prompt": True},
    "none": {"messages": [], "add_generation_prompt": True},
    "parts": {"messages": [user([{"type": "text", "text": "one"}, {"type": "text", "text": "<two>"}])], "add_generation_prompt": True},
}


def source(file, testdata, model):
    if file == "":
        return gguf.GGUFReader(model).get_field("tokenizer.chat_template").contents()
    if file.startswith("./"):
        return (here / file).read_bytes().decode()
    return (testdata / file).read_bytes().decode()


def main():
    testdata, model = pathlib.Path(sys.argv[1]), sys.argv[2]
    out = {"transformers": transformers.__version__, "jinja2": jinja2.__version__, "now": NOW.isoformat() + "Z",
           "conversations": CONVERSATIONS, "templates": []}
    for name, file, bos, eos in TEMPLATES:
        text = source(file, testdata, model)
        template = _compile_jinja_template(text)
        template.globals["strftime_now"] = lambda f: NOW.strftime(f)
        results = {}
        for key, given in CONVERSATIONS.items():
            given = {"tools": None, "documents": None, **copy.deepcopy(given)}
            try:
                results[key] = {"text": template.render(bos_token=bos, eos_token=eos, **given)}
            except jinja2.exceptions.TemplateError as e:
                kind = "refused" if type(e) is jinja2.exceptions.TemplateError else "error"
                results[key] = {kind: e.message}
            except Exception as e:
                results[key] = {"error": f"{type(e).__name__}: {e}"}
        out["templates"].append({"name": name, "file": file, "sha256": hashlib.sha256(text.encode()).hexdigest(),
                                 "bos": bos, "eos": eos, "results": results})
    text = json.dumps(out, indent=1, ensure_ascii=False) + "\n"
    (here / "golden.json").write_text(text, newline="\n")


main()
