package openai

import (
	"errors"
	"testing"
	"unicode/utf8"

	"github.com/farlabs/inference/pipeline"
)

// check says what every outcome of reading a request has to be.
func check(t *testing.T, c *Call, err error) {
	if err != nil {
		var e *Error
		if !errors.As(err, &e) || e.Message == "" || !utf8.ValidString(e.Message) {
			t.Errorf("error %T %v", err, err)
		}
		return
	}
	if c.Model == "" || len(c.Prompts) == 0 || c.N < 1 {
		t.Errorf("call %+v", c)
	}
	for _, r := range c.Prompts {
		kinds := 0
		for _, set := range []bool{len(r.Messages) > 0, r.Prompt != "", len(r.IDs) > 0} {
			if set {
				kinds++
			}
		}
		if kinds != 1 || r.N != c.N || r.MaxTokens < 0 {
			t.Errorf("request %+v", r)
		}
		if err := r.Sampling.Validate(); err != nil {
			t.Error(err)
		}
	}
	s := NewStream(c, Header{}, byteVocab{})
	w := NewResponse(c, Header{}, byteVocab{})
	if c.NeedsIDs() {
		for i := range c.Prompts {
			c.SetIDs(i, nil)
		}
	}
	for i := range c.Prompts {
		for _, d := range []pipeline.Delta{{Text: "a", Tokens: tokens("a"), Prompt: tokens("x")}, scripts["plain"][2]} {
			s.Delta(i, d)
			w.Delta(i, d)
		}
	}
	s.End()
	w.JSON()
}

func FuzzParseChat(f *testing.F) {
	f.Add([]byte(`{"model":"m","messages":[{"role":"user","content":"Hey"}],"stream":true,"stream_options":{"include_usage":true},"logprobs":true,"top_logprobs":3}`))
	f.Add([]byte(`{"model":"m","messages":[{"role":"system","content":[{"type":"text","text":"a"}]}],"logit_bias":{"1":-1},"stop":["a","b"],"seed":18446744073709551615}`))
	f.Add([]byte(`{"model":"m","messages":[{"role":"user","content":"x"}],"tools":[],"n":2,"max_tokens":0,"return_token_ids":true}`))
	f.Add([]byte(`{"messages":[{}],"temperature":1e999}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ParseChat(b)
		check(t, c, err)
	})
}

func FuzzParseCompletion(f *testing.F) {
	f.Add([]byte(`{"model":"m","prompt":"Hey","echo":true,"logprobs":2,"max_tokens":0}`))
	f.Add([]byte(`{"model":"m","prompt":["a","b"],"n":2,"suffix":"","best_of":1}`))
	f.Add([]byte(`{"model":"m","prompt":[[1,2],[3]],"echo":true,"stream":true}`))
	f.Add([]byte(`{"model":"m","prompt":[1,2,3],"top_p":0,"repetition_penalty":1.1,"logprobs":true}`))
	f.Add([]byte("{\"model\":\"m\",\"prompt\":\"\xff\",\"max_price\":0.5}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ParseCompletion(b)
		check(t, c, err)
	})
}
