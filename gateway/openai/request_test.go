package openai

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/pipeline"
)

func TestErrorsNameTheField(t *testing.T) {
	chat := func(s string) string { return `{"model":"m","messages":[{"role":"user","content":"Hey"}],` + s + `}` }
	text := func(s string) string { return `{"model":"m","prompt":"Hey",` + s + `}` }
	for _, c := range []struct{ body, param string }{
		{``, ""}, {`null`, ""}, {`[]`, ""}, {`{"model":"m"`, ""}, {`{"model":"m"}x`, ""}, {`"x"`, ""},
		{strings.Repeat("[", 100000), ""},
		{`{"model":"m","x":` + strings.Repeat(`{"a":`, 200) + "1" + strings.Repeat("}", 200) + "}", ""},
		{`{"messages":[{"role":"user","content":"Hey"}]}`, "model"},
		{`{"model":7,"messages":[{"role":"user","content":"Hey"}]}`, "model"},
		{`{"model":"m","messages":[]}`, "messages"},
		{`{"model":"m","messages":"Hey"}`, "messages"},
		{`{"model":"m","messages":[null]}`, "messages[0]"},
		{`{"model":"m","messages":[{"role":"user","content":"Hey"},{"role":"king","content":"x"}]}`, "messages[1].role"},
		{`{"model":"m","messages":[{"content":"x"}]}`, "messages[0].role"},
		{`{"model":"m","messages":[{"role":"tool","content":"x","tool_call_id":"1"}]}`, "messages[0].role"},
		{`{"model":"m","messages":[{"role":"user"}]}`, "messages[0].content"},
		{`{"model":"m","messages":[{"role":"user","content":[]}]}`, "messages[0].content"},
		{`{"model":"m","messages":[{"role":"user","content":{}}]}`, "messages[0].content"},
		{`{"model":"m","messages":[{"role":"assistant","content":null,"tool_calls":[{"id":"1"}]}]}`, "messages[0].tool_calls"},
		{`{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"image_url","image_url":{"url":"data:"}}]}]}`, "messages[0].content[1].type"},
		{`{"model":"m","messages":[{"role":"user","content":[{"type":"text"}]}]}`, "messages[0].content[0].text"},
		{chat(`"temperature":2.5`), "temperature"}, {chat(`"temperature":"hot"`), "temperature"},
		{chat(`"top_p":-0.1`), "top_p"}, {chat(`"top_k":-2`), "top_k"}, {chat(`"min_p":2`), "min_p"},
		{chat(`"repetition_penalty":0`), "repetition_penalty"}, {chat(`"presence_penalty":3`), "presence_penalty"},
		{chat(`"frequency_penalty":-3`), "frequency_penalty"}, {chat(`"n":0`), "n"}, {chat(`"n":129`), "n"}, {chat(`"n":1.5`), "n"},
		{chat(`"max_tokens":-1`), "max_tokens"}, {chat(`"max_completion_tokens":-1`), "max_completion_tokens"},
		{chat(`"stop":7`), "stop"}, {chat(`"stop":[""]`), "stop"}, {chat(`"stop":[null]`), "stop"},
		{chat(`"seed":1.5`), "seed"}, {chat(`"seed":"1"`), "seed"},
		{chat(`"logit_bias":{"foo":1}`), "logit_bias"}, {chat(`"logit_bias":{"1":101}`), "logit_bias"}, {chat(`"logit_bias":[]`), "logit_bias"},
		{chat(`"top_logprobs":2`), "top_logprobs"}, {chat(`"logprobs":true,"top_logprobs":21`), "top_logprobs"}, {chat(`"logprobs":2`), "logprobs"},
		{chat(`"stream":1`), "stream"}, {chat(`"stream":true,"stream_options":{"include_usage":1}`), "stream_options.include_usage"},
		{chat(`"stream_options":7`), "stream_options"}, {chat(`"max_price":-1`), "max_price"}, {chat(`"echo":true`), "echo"},
		{chat(`"tools":[{"type":"function"}]`), "tools"}, {chat(`"tool_choice":"required"`), "tool_choice"},
		{chat(`"functions":[{"name":"f"}]`), "functions"}, {chat(`"response_format":{"type":"json_object"}`), "response_format"},
		{chat(`"response_format":{"type":"json_schema","json_schema":{}}`), "response_format"}, {chat(`"response_format":"x"`), "response_format"},
		{chat(`"modalities":["text","audio"]`), "modalities"}, {chat(`"audio":{"voice":"x"}`), "audio"},
		{chat(`"store":true`), "store"}, {chat(`"web_search_options":{}`), "web_search_options"},
		{text(`"suffix":"x"`), "suffix"}, {text(`"best_of":2`), "best_of"}, {text(`"logprobs":21`), "logprobs"}, {text(`"logprobs":"x"`), "logprobs"},
		{`{"model":"m"}`, "messages"}, {`{"model":"m","prompt":null}`, "prompt"}, {`{"model":"m","prompt":""}`, "prompt"}, {`{"model":"m","prompt":[]}`, "prompt"},
		{`{"model":"m","prompt":["a",1]}`, "prompt"}, {`{"model":"m","prompt":[[1],"a"]}`, "prompt"}, {`{"model":"m","prompt":[[1],[]]}`, "prompt"},
		{`{"model":"m","prompt":[1,null]}`, "prompt"}, {`{"model":"m","prompt":[1.5]}`, "prompt"}, {`{"model":"m","prompt":[4294967296]}`, "prompt"},
		{`{"model":"m","prompt":{}}`, "prompt"}, {`{"model":"m","prompt":true}`, "prompt"},
	} {
		p := ParseChat
		if strings.Contains(c.body, `"prompt"`) {
			p = ParseCompletion
		}
		_, err := p([]byte(c.body))
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%.120s: error %v", c.body, err)
			continue
		}
		if e.Param != c.param || e.Message == "" || !strings.Contains(e.Message, c.param) {
			t.Errorf("%.120s: param %q, message %q; want %q", c.body, e.Param, e.Message, c.param)
		}
	}
}

func TestEveryUnservedFieldIsNamed(t *testing.T) {
	_, err := ParseChat([]byte(`{"model":"m","messages":[{"role":"user","content":"x"}],"tools":[1],"grammar":"root","guided_json":{}}`))
	if err == nil || !strings.Contains(err.Error(), "grammar, guided_json, tools") {
		t.Error(err)
	}
	for _, message := range []string{
		`{"role":"tool","content":"x","tool_call_id":"1"}`, `{"role":"assistant","content":"x","tool_calls":[{}]}`,
		`{"role":"user","content":[{"type":"image_url","image_url":"data:"}]}`,
	} {
		_, err := ParseChat([]byte(`{"model":"m","messages":[` + message + `]}`))
		var e *Error
		if !errors.As(err, &e) || e.Code != "unsupported_parameter" || !strings.HasPrefix(e.Param, "messages[0].") {
			t.Errorf("%s: %+v", message, e)
		}
	}
}

func TestFieldsThatAskForNothingAreAccepted(t *testing.T) {
	c, err := ParseChat([]byte(`{"model":"m","messages":[{"role":"developer","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}],"name":"n"},
		{"role":"user","content":"Hey","unknown":1},{"role":"assistant","content":null,"refusal":"no"},{"role":"user","content":""}],
		"tools":[],"tool_choice":"auto","functions":null,"response_format":{"type":"text"},"modalities":["text"],"audio":null,"store":false,
		"n":null,"stop":null,"logit_bias":{"foo":0,"5":-100},"metadata":{"a":"b"},"user":"u","service_tier":"auto","frobnicate":{"x":[1]},
		"best_of":1,"parallel_tool_calls":true,"reasoning_effort":"low","temperature":0,"top_p":0,"top_k":-1,"seed":-1,"max_tokens":16.0,
		"stream_options":{"include_usage":true},"max_price":0}`))
	if err != nil {
		t.Fatal(err)
	}
	r := c.Prompts[0]
	if m := r.Messages; len(m) != 4 || m[0].Role != "system" || m[0].Content != "a\nb" || m[0].Name != "n" || m[2].Content != "no" || m[3].Content != "" {
		t.Errorf("messages %+v", m)
	}
	if s := r.Sampling; s.Temperature != 0 || s.TopP <= 0 || s.TopP > 1e-6 || s.TopK != 0 || len(s.LogitBias) != 1 || s.LogitBias[5] != -100 {
		t.Errorf("sampling %+v", s)
	}
	if *r.Seed != math.MaxUint64 || r.MaxTokens != 16 || *c.MaxPrice != 0 || c.IncludeUsage {
		t.Errorf("seed %d, max tokens %d, max price %v, usage %v", *r.Seed, r.MaxTokens, *c.MaxPrice, c.IncludeUsage)
	}
}

func TestBoundsOfARequestAreKept(t *testing.T) {
	list := func(n int, item string) string { return strings.Repeat(item+",", n-1) + item }
	bias := func(n int) string {
		var b []string
		for i := range n {
			b = append(b, fmt.Sprintf(`"%d":1`, i))
		}
		return "{" + strings.Join(b, ",") + "}"
	}
	for _, c := range []struct {
		field string
		good  bool
	}{
		{`"stop":[` + list(maxStops, `"a"`) + `]`, true},
		{`"stop":[` + list(maxStops+1, `"a"`) + `]`, false},
		{`"stop":["a",null]`, false},
		{`"stop":["a",7]`, false},
		{`"logit_bias":` + bias(maxBias), true},
		{`"logit_bias":` + bias(maxBias+1), false},
		{`"logit_bias":{"-1":1}`, false},
		// Braces within text, behind an escaped quote too, are no nesting.
		{`"user":"\\\"` + strings.Repeat("[{", maxDepth) + `"`, true},
		{`"metadata":[` + list(2*maxDepth, "[],{}") + `]`, true},
		{`"metadata":` + strings.Repeat("[", maxDepth-1) + strings.Repeat("]", maxDepth-1), true},
		{`"metadata":` + strings.Repeat("[", maxDepth) + strings.Repeat("]", maxDepth), false},
		{`"user":"\"","metadata":` + strings.Repeat("[", maxDepth) + strings.Repeat("]", maxDepth), false},
	} {
		_, err := ParseCompletion([]byte(`{"model":"m","prompt":"x",` + c.field + `}`))
		if (err == nil) != c.good {
			t.Errorf("%.60s: %v", c.field, err)
		}
	}
}

func TestDefaultsAreOpenAIs(t *testing.T) {
	c, err := ParseChat([]byte(`{"model":"m","messages":[{"role":"user","content":"x"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if r := c.Prompts[0]; r.Sampling.Temperature != 1 || r.Sampling.TopP != 1 || r.MaxTokens != 0 || r.Seed != nil || r.N != 1 || r.PromptLogProbs {
		t.Errorf("chat: %+v", r)
	}
	if c, err = ParseCompletion([]byte(`{"model":"m","prompt":"x"}`)); err != nil {
		t.Fatal(err)
	}
	if r := c.Prompts[0]; r.MaxTokens != 16 || r.Sampling.Temperature != 1 {
		t.Errorf("completion: %+v", r)
	}
	if c, err = ParseChat([]byte(`{"model":"m","messages":[{"role":"user","content":"x"}],"max_tokens":5,"max_completion_tokens":7}`)); err != nil || c.Prompts[0].MaxTokens != 7 {
		t.Errorf("max_completion_tokens does not beat max_tokens: %v", err)
	}
}

func TestPromptsComeInFourShapes(t *testing.T) {
	for _, c := range []struct {
		prompt string
		want   []pipeline.Request
	}{
		{`"a"`, []pipeline.Request{{Prompt: "a"}}},
		{` [ "a", "b" ]`, []pipeline.Request{{Prompt: "a"}, {Prompt: "b"}}},
		{`[ 1,2]`, []pipeline.Request{{IDs: []inference.TokenID{1, 2}}}},
		{`[[1,2], [3]]`, []pipeline.Request{{IDs: []inference.TokenID{1, 2}}, {IDs: []inference.TokenID{3}}}},
	} {
		call, err := ParseCompletion([]byte(`{"model":"m","prompt":` + c.prompt + `}`))
		if err != nil {
			t.Errorf("%s: %v", c.prompt, err)
			continue
		}
		var got []pipeline.Request
		for _, r := range call.Prompts {
			got = append(got, pipeline.Request{Prompt: r.Prompt, IDs: r.IDs})
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s: %s", c.prompt, d)
		}
	}
}
