"""Asks a running gateway with the official Python client, unmodified.

    OPENAI_BASE_URL=http://127.0.0.1:8080/v1 python3 openai_test.py

Needs the package openai. Exits 0 when every claim holds.
"""

import asyncio
import os
import sys

import openai

os.environ.setdefault("OPENAI_API_KEY", "none")
client = openai.OpenAI(max_retries=0, timeout=120)
MODEL = os.environ.get("FARLABS_TEST_MODEL") or client.models.list().data[0].id
CHAT = dict(
    model=MODEL,
    max_completion_tokens=12,
    temperature=0,
    messages=[
        {"role": "system", "content": "Answer in one word."},
        {"role": "user", "content": [{"type": "text", "text": "What is the capital of France?"}]},
    ],
)


def fails(kind, code=None, param=None, **change):
    try:
        client.chat.completions.create(**{**CHAT, **change})
    except kind as e:
        assert e.code == code and e.param == param, (e.code, e.param, e)
        return e
    raise AssertionError(f"{change.keys()}: no {kind.__name__}")


def models_are_listed():
    found = list(client.models.list())
    assert found and all(m.object == "model" and m.created and m.owned_by for m in found), found
    assert client.models.retrieve(MODEL).id


def chat_is_answered():
    a = client.chat.completions.create(**CHAT)
    c = a.choices[0]
    assert c.message.role == "assistant" and c.message.content and c.finish_reason in ("stop", "length"), a
    assert c.message.refusal is None and c.logprobs is None, a
    assert a.usage.total_tokens == a.usage.prompt_tokens + a.usage.completion_tokens > 0, a


def stream_says_what_the_whole_answer_says():
    whole = client.chat.completions.create(**CHAT)
    chunks = list(client.chat.completions.create(**CHAT, stream=True, stream_options={"include_usage": True}))
    assert chunks[0].choices[0].delta.role == "assistant" and chunks[0].choices[0].delta.content == "", chunks[0]
    assert chunks[-1].choices == [] and chunks[-1].usage.total_tokens == whole.usage.total_tokens, chunks[-1]
    assert all(c.usage is None and c.id == chunks[0].id for c in chunks[:-1])
    text = "".join(c.choices[0].delta.content or "" for c in chunks[:-1])
    assert text == whole.choices[0].message.content, (text, whole)
    reasons = [c.choices[0].finish_reason for c in chunks[:-1] if c.choices[0].finish_reason]
    assert reasons == [whole.choices[0].finish_reason], reasons
    with client.chat.completions.stream(**CHAT) as s:
        s.until_done()
        assert s.get_final_completion().choices[0].message.content == text


def raw_stream_keeps_the_rules():
    with client.chat.completions.with_streaming_response.create(**CHAT, stream=True) as r:
        assert r.headers["content-type"].startswith("text/event-stream") and r.headers["x-request-id"], r.headers
        lines = [line for line in r.iter_lines() if line]
    assert all(line.startswith("data: ") for line in lines), lines
    assert lines[-1] == "data: [DONE]" and '"error"' not in "".join(lines)


def choices_logprobs_and_seed():
    ask = dict(CHAT, n=2, seed=7, temperature=1, logprobs=True, top_logprobs=3)
    a, b = (client.chat.completions.create(**ask) for _ in range(2))
    for x, y in zip(a.choices, b.choices, strict=True):
        assert x.message.content == y.message.content, (x, y)
        spelled = b"".join(bytes(t.bytes) for t in x.logprobs.content).decode()
        assert spelled == x.message.content, (spelled, x)
        assert all(len(t.top_logprobs) == 3 and t.logprob <= 0 for t in x.logprobs.content)
    assert len(a.choices) == 2


def evaluators_get_the_prompt_scored():
    a = client.completions.create(model=MODEL, prompt="The sky is blue.", max_tokens=0, echo=True, logprobs=2, temperature=0)
    c = a.choices[0]
    assert c.text == "The sky is blue." and c.finish_reason == "length", c
    assert c.logprobs.token_logprobs[0] is None and all(p <= 0 for p in c.logprobs.token_logprobs[1:]), c
    assert all(c.text[at:].startswith(t) for at, t in zip(c.logprobs.text_offset, c.logprobs.tokens)), c


def prompts_come_in_four_shapes():
    def texts(prompt, **more):
        a = client.completions.create(model=MODEL, prompt=prompt, max_tokens=5, temperature=0, **more)
        assert [c.index for c in a.choices] == list(range(len(a.choices)))
        return a, [c.text for c in a.choices]

    a, (one,) = texts("One, two,", extra_body={"return_token_ids": True})
    ids = a.choices[0].prompt_token_ids
    assert len(ids) == a.usage.prompt_tokens and len(a.choices[0].token_ids) == a.usage.completion_tokens, a
    _, many = texts(["One, two,", "The sky is"], n=2)
    assert len(many) == 4 and many[0] == many[1] == one and many[2] == many[3], many
    assert texts(ids)[1] == [one]
    assert texts([ids, ids[:2]])[1][0] == one
    streamed = client.completions.create(model=MODEL, prompt="One, two,", max_tokens=5, temperature=0, stream=True)
    assert "".join(c.choices[0].text for c in streamed if c.choices) == one


def penalties_bias_and_ignore_eos_are_taken():
    a = client.chat.completions.create(
        **{**CHAT, "max_completion_tokens": 8}, presence_penalty=0.5, frequency_penalty=0.5, top_p=0.9,
        logit_bias={"5": -100}, extra_body={"ignore_eos": True, "top_k": 40, "min_p": 0.01, "repetition_penalty": 1.1},
    )
    assert a.usage.completion_tokens == 8 and a.choices[0].finish_reason == "length", a


def stop_text_is_not_in_the_answer():
    text = client.chat.completions.create(**CHAT).choices[0].message.content
    stop = text[1:3]
    a = client.chat.completions.create(**CHAT, stop=[stop])
    assert a.choices[0].message.content == text.split(stop)[0] and a.choices[0].finish_reason == "stop", (text, a)


def errors_have_status_code_and_param():
    fails(openai.NotFoundError, code="model_not_found", model="no-such-model")
    fails(openai.BadRequestError, param="temperature", temperature=3)
    fails(openai.BadRequestError, code="unsupported_parameter", param="tools", tools=[{"type": "function", "function": {"name": "f"}}])
    fails(openai.BadRequestError, code="unsupported_parameter", param="response_format", response_format={"type": "json_object"})
    fails(openai.BadRequestError, code="unsupported_parameter", param="messages[0].content[0].type",
          messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,"}}]}])
    fails(openai.BadRequestError, code="context_length_exceeded", messages=[{"role": "user", "content": "word " * 200_000}])


def route_is_told_on_demand():
    chunks = list(client.chat.completions.create(**CHAT, stream=True, extra_headers={"x-farlabs-route": "1"}))
    told = [c.farlabs for c in chunks if getattr(c, "farlabs", None)]
    assert told and told[0]["route"] and told[0]["route"][0]["blocks"].startswith("0:"), told
    assert not any(getattr(c, "farlabs", None) for c in client.chat.completions.create(**CHAT, stream=True))


def leaving_early_frees_the_server():
    for _ in range(3):
        s = client.chat.completions.create(**{**CHAT, "max_completion_tokens": 400}, stream=True, extra_body={"ignore_eos": True})
        next(iter(s))
        s.close()
    chat_is_answered()


def many_ask_at_once():
    async def ask():
        async with openai.AsyncOpenAI(max_retries=0, timeout=120) as c:
            return await asyncio.gather(*(c.chat.completions.create(**CHAT) for _ in range(4)))

    assert len({a.choices[0].message.content for a in asyncio.run(ask())}) == 1


CLAIMS = [
    models_are_listed, chat_is_answered, stream_says_what_the_whole_answer_says, raw_stream_keeps_the_rules,
    choices_logprobs_and_seed, evaluators_get_the_prompt_scored, prompts_come_in_four_shapes,
    penalties_bias_and_ignore_eos_are_taken, stop_text_is_not_in_the_answer, errors_have_status_code_and_param,
    route_is_told_on_demand, leaving_early_frees_the_server, many_ask_at_once,
]

if __name__ == "__main__":
    failed = 0
    for claim in CLAIMS:
        try:
            claim()
            print("ok   ", claim.__name__)
        except Exception as e:  # a claim that does not hold must not hide the others
            failed += 1
            print("FAIL ", claim.__name__, f"{type(e).__name__}: {e}")
    sys.exit(1 if failed else 0)
