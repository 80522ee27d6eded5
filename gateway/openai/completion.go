package openai

import (
	"bytes"
	"encoding/json"

	"github.com/farlabs/inference"
)

// defaultTokens is how many tokens a completion has when nobody says.
const defaultTokens = 16

// ParseCompletion reads the body of a completion request. Errors are *Error.
func ParseCompletion(body []byte) (*Call, error) {
	f, err := parseFields(body)
	if err != nil {
		return nil, err
	}
	if err := refuseUnserved(f); err != nil {
		return nil, err
	}
	c := &Call{Kind: Completion}
	r := c.options(f)
	n := f.int("max_tokens", defaultTokens, 0, 1<<31-1)
	length(&r, f.int("max_completion_tokens", n, 0, 1<<31-1))
	c.Echo = f.bool("echo", false)
	if v, ok := f.get("logprobs"); ok && string(v) != "false" {
		c.LogProbs = true
		if string(v) != "true" {
			c.TopLogProbs = int(f.int("logprobs", 0, 0, maxTop))
		}
	}
	r.LogProbs, r.TopLogProbs = c.LogProbs, c.TopLogProbs
	r.PromptLogProbs = r.PromptLogProbs || c.Echo && c.LogProbs
	prompts(f, func(text string, ids []inference.TokenID) {
		p := r
		p.Prompt, p.IDs = text, ids
		c.Prompts = append(c.Prompts, p)
		c.texts = append(c.texts, text)
	})
	if f.err != nil {
		return nil, f.err
	}
	return c, nil
}

// maxPrompts bounds what is kept of a request; a server may allow fewer.
const maxPrompts = 2048

// prompts reads a string, a list of strings, a list of ids, or a list of those.
func prompts(f *fields, add func(text string, ids []inference.TokenID)) {
	const want = "want a string, a list of strings, a list of token ids, or a list of those"
	r, ok := f.get("prompt")
	if !ok {
		f.fail("prompt", want)
		return
	}
	if kind(r) != '[' {
		onePrompt(f, r, add)
		return
	}
	first := kind(bytes.TrimLeft(r, " \t\r\n")[1:])
	if first != '"' && first != '[' {
		onePrompt(f, r, add)
		return
	}
	list := f.list("prompt")
	if len(list) > maxPrompts {
		f.fail("prompt", "%d prompts, want at most %d", len(list), maxPrompts)
	}
	for _, r := range list {
		if f.err == nil && kind(r) != first {
			f.fail("prompt", want)
		}
		if f.err != nil {
			return
		}
		onePrompt(f, r, add)
	}
}

func onePrompt(f *fields, r json.RawMessage, add func(text string, ids []inference.TokenID)) {
	switch kind(r) {
	case '"':
		var s string
		if json.Unmarshal(r, &s) != nil {
			f.fail("prompt", "want a string")
			return
		}
		if s == "" {
			f.fail("prompt", "is empty")
			return
		}
		add(s, nil)
	case '[':
		var ids []inference.TokenID
		// A null would be read as id 0.
		if json.Unmarshal(r, &ids) != nil || bytes.Contains(r, []byte("null")) {
			f.fail("prompt", "want token ids, whole numbers of at most 31 bits")
			return
		}
		if len(ids) == 0 {
			f.fail("prompt", "is empty")
			return
		}
		add("", ids)
	default:
		f.fail("prompt", "want a string, a list of strings, a list of token ids, or a list of those")
	}
}
