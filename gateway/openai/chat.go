package openai

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/farlabs/inference/model/chat"
)

// ParseChat reads the body of a chat completion request. Errors are *Error.
func ParseChat(body []byte) (*Call, error) {
	f, err := parseFields(body)
	if err != nil {
		return nil, err
	}
	if err := refuseUnserved(f); err != nil {
		return nil, err
	}
	c := &Call{Kind: Chat}
	r := c.options(f)
	r.Messages = messages(f)
	// An absent limit means as many as fit, as OpenAI does for chats.
	n := f.int("max_tokens", -1, 0, 1<<31-1)
	length(&r, f.int("max_completion_tokens", n, 0, 1<<31-1))
	c.LogProbs = f.bool("logprobs", false)
	c.TopLogProbs = int(f.int("top_logprobs", 0, 0, maxTop))
	if c.TopLogProbs > 0 && !c.LogProbs {
		f.fail("top_logprobs", "logprobs has to be true")
	}
	if f.bool("echo", false) {
		f.refuse("echo", "not served for chats")
	}
	r.LogProbs, r.TopLogProbs = c.LogProbs, c.TopLogProbs
	c.Prompts = append(c.Prompts, r)
	if f.err != nil {
		return nil, f.err
	}
	return c, nil
}

func messages(f *fields) []chat.Message {
	list := f.list("messages")
	if len(list) == 0 {
		f.fail("messages", "want at least one message")
		return nil
	}
	var out []chat.Message
	for i, r := range list {
		m := &fields{path: fmt.Sprintf("%smessages[%d].", f.path, i)}
		if json.Unmarshal(r, &m.raw) != nil || m.raw == nil {
			f.fail(fmt.Sprintf("messages[%d]", i), "want an object")
			return nil
		}
		out = append(out, message(m))
		if f.take(m); f.err != nil {
			return nil
		}
	}
	return out
}

// roles that are served, and what templates call them.
var roles = map[string]string{"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}

func message(f *fields) chat.Message {
	role := f.string("role")
	m := chat.Message{Role: roles[role], Name: f.string("name")}
	switch {
	case role == "tool" || role == "function":
		f.refuse("role", "%s messages are not served yet, as no tools are: send the result in a user message", role)
	case role == "":
		f.fail("role", "want system, developer, user or assistant")
	case m.Role == "":
		f.fail("role", "%s: want system, developer, user or assistant", printable(role))
	}
	for _, name := range []string{"tool_calls", "function_call", "tool_call_id", "audio"} {
		if r, ok := f.get(name); ok && !empty(r) {
			f.refuse(name, "not served yet; leave it out")
		}
	}
	m.Content = content(f, role)
	return m
}

// content returns the text of a message. Parts are joined by newlines, because
// templates of text models want one string.
func content(f *fields, role string) string {
	r, ok := f.get("content")
	if !ok {
		if role == "assistant" {
			return f.string("refusal")
		}
		f.fail("content", "want a string or a list of parts")
		return ""
	}
	if kind(r) == '"' {
		return f.string("content")
	}
	var texts []string
	for i, r := range f.list("content") {
		p := &fields{path: fmt.Sprintf("%scontent[%d].", f.path, i)}
		if json.Unmarshal(r, &p.raw) != nil || p.raw == nil {
			f.fail(fmt.Sprintf("content[%d]", i), "want an object with type and text")
			return ""
		}
		switch t := p.string("type"); t {
		case "text", "refusal":
			if _, ok := p.get(t); !ok {
				p.fail(t, "want a string")
			}
			texts = append(texts, p.string(t))
		case "image_url", "input_image", "input_audio", "file", "video_url":
			p.refuse("type", "%s parts are not served yet; send text only", t)
		case "":
			p.fail("type", "want text")
		default:
			p.fail("type", "%s: want text", printable(t))
		}
		if f.take(p); f.err != nil {
			return ""
		}
	}
	if len(texts) == 0 {
		f.fail("content", "want a string or a list of parts")
	}
	return strings.Join(texts, "\n")
}
