// Package chat turns messages into the text a model was trained to continue,
// by running the model's own chat template.
//
// In: the template (a GGUF file's tokenizer.chat_template) and an [Input] of
// messages, tools and the marker texts. Out: the prompt, as one string
// ([Template.Render]) or cut into parts of which each says whether its bytes
// came from the template or from the caller's data ([Template.RenderParts]),
// so that a tokenizer may read "<|im_end|>" as a special token where the
// template wrote it, and as plain text where a user did.
//
// The package owns how messages look to a template and which of their strings
// are data. The template language is model/chat/jinja. It knows nothing of
// tokens, models, HTTP or the network, and never keeps or logs a message.
package chat

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/farlabs/inference/model/chat/jinja"
)

// ErrNoTemplate is returned by [New] for a model file without a chat template:
// such a model completes text, and nothing is guessed for it.
var ErrNoTemplate = errors.New("the model has no chat template")

// ErrLimit is wrapped by errors of a template that exceeds the limits of
// model/chat/jinja on size, nesting, steps or output.
var ErrLimit = jinja.ErrLimit

// RefusedError says that the template itself refused the input, for example
// because roles do not alternate or a system message is not supported: the
// fault is in the request.
type RefusedError struct {
	Message string // the template author's words
}

// Error returns the template author's words.
func (e *RefusedError) Error() string { return "the model's chat template refused: " + e.Message }

// Message is one turn of a conversation. Strings in it are data, but for a role
// made of letters, digits, '-' and '_': some templates build a special token
// from the role.
type Message struct {
	Role       string         // "system", "user", "assistant", "tool" or what the template knows
	Content    any            // a string, nil, or a list of parts as in OpenAI's API; see [jinja.From]
	Name       string         // absent when empty
	ToolCalls  any            // absent when nil; a list of {"id", "type", "function": {"name", "arguments"}}
	ToolCallID string         // absent when empty
	Extra      map[string]any // further keys, such as "reasoning_content"; none of the above
}

// Input is what a template is rendered with. Values of type any go through
// [jinja.From]; json.RawMessage keeps the order of keys, which shows in what
// templates print of tools.
type Input struct {
	Messages []Message
	// AddGenerationPrompt asks for the opening of an assistant's turn at the end.
	AddGenerationPrompt bool
	BOS, EOS            string    // bos_token and eos_token, template text
	Tools               any       // nil: none
	Now                 time.Time // what strftime_now formats; zero: time.Now()
	// Extra holds further variables, such as "documents" or "enable_thinking".
	// It may not replace those above.
	Extra map[string]any
}

// Part is a piece of a rendered prompt.
type Part struct {
	Text string
	Data bool // the text came from the input's data, not from the template
}

// Template is a parsed chat template, safe for concurrent use.
type Template struct{ t *jinja.Template }

// New parses a template. Errors: [ErrNoTemplate], [ErrLimit], or *[jinja.Error]
// with line and reason.
func New(template string) (*Template, error) {
	if template == "" {
		return nil, ErrNoTemplate
	}
	t, err := jinja.Parse(template)
	if err != nil {
		return nil, fmt.Errorf("chat: %w", err)
	}
	return &Template{t}, nil
}

// Render returns the prompt. Errors: *[RefusedError] when the template refused
// the input, [ErrLimit], or *[jinja.Error].
func (t *Template) Render(in Input) (string, error) {
	s, err := t.render(in)
	return s.String(), err
}

// RenderParts returns the prompt of [Template.Render] in pieces: neighbours
// differ in Data, none is empty, and joined they are the prompt.
func (t *Template) RenderParts(in Input) ([]Part, error) {
	s, err := t.render(in)
	if err != nil {
		return nil, err
	}
	var parts []Part
	s.Segments(func(text string, data bool) { parts = append(parts, Part{text, data}) })
	return parts, nil
}

func (t *Template) render(in Input) (jinja.Str, error) {
	vars, err := in.vars()
	if err != nil {
		return jinja.Str{}, fmt.Errorf("chat: %w", err)
	}
	now := in.Now
	if now.IsZero() {
		now = time.Now()
	}
	s, err := t.t.Render(vars, now)
	var raised *jinja.RaisedError
	if errors.As(err, &raised) {
		return jinja.Str{}, &RefusedError{raised.Message}
	}
	if err != nil {
		return jinja.Str{}, fmt.Errorf("chat: %w", err)
	}
	return s, nil
}

// vars are the names that a template may use, as transformers gives them:
// tools and documents are None when there are none.
func (in Input) vars() (*jinja.Dict, error) {
	vars := jinja.NewDict()
	list := make([]jinja.Value, len(in.Messages))
	for i, m := range in.Messages {
		d, err := m.dict()
		if err != nil {
			return nil, fmt.Errorf("message %d: %w", i+1, err)
		}
		list[i] = d
	}
	tools, err := jinja.From(in.Tools)
	if err != nil {
		return nil, fmt.Errorf("tools: %w", err)
	}
	set := func(k string, v jinja.Value) { vars.Set(jinja.Text(k), v) }
	set("messages", jinja.NewList(list...))
	set("tools", tools)
	set("documents", nil)
	set("add_generation_prompt", in.AddGenerationPrompt)
	set("bos_token", jinja.Text(valid(in.BOS)))
	set("eos_token", jinja.Text(valid(in.EOS)))
	return vars, extend(vars, in.Extra, "documents")
}

// extend adds extra to d, in the order of its keys. It must not replace what
// is there, but for the names in free.
func extend(d *jinja.Dict, extra map[string]any, free ...string) error {
	keys := make([]string, 0, len(extra))
	for k := range extra {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		if _, ok := d.Get(k); ok && !slices.Contains(free, k) {
			return fmt.Errorf("extra value %q would replace one of the input's own", k)
		}
		v, err := jinja.From(extra[k])
		if err != nil {
			return fmt.Errorf("extra value %q: %w", k, err)
		}
		d.Set(jinja.Text(valid(k)), v)
	}
	return nil
}

// dict is the message as a template sees it.
func (m Message) dict() (*jinja.Dict, error) {
	d := jinja.NewDict()
	role := jinja.Data(valid(m.Role))
	if isPlainRole(m.Role) {
		role = jinja.Text(m.Role)
	}
	d.Set(jinja.Text("role"), role)
	set := func(k string, v any) error {
		x, err := jinja.From(v)
		if err != nil {
			return fmt.Errorf("%s: %w", k, err)
		}
		d.Set(jinja.Text(k), x)
		return nil
	}
	if err := set("content", m.Content); err != nil {
		return nil, err
	}
	if m.Name != "" {
		if err := set("name", m.Name); err != nil {
			return nil, err
		}
	}
	if m.ToolCalls != nil {
		if err := set("tool_calls", m.ToolCalls); err != nil {
			return nil, err
		}
	}
	if m.ToolCallID != "" {
		if err := set("tool_call_id", m.ToolCallID); err != nil {
			return nil, err
		}
	}
	return d, extend(d, m.Extra)
}

// isPlainRole reports whether a role can hold no marker of any template.
func isPlainRole(s string) bool {
	for _, r := range s {
		ok := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_'
		if !ok {
			return false
		}
	}
	return len(s) <= 64
}

func valid(s string) string { return strings.ToValidUTF8(s, "\ufffd") }
