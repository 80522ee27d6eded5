package clienttest

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
)

// connect returns a client of the gateway, and the model to ask.
func connect(t *testing.T) (*openai.Client, string, context.Context) {
	t.Helper()
	if os.Getenv("OPENAI_BASE_URL") == "" {
		t.Skip("OPENAI_BASE_URL is not set: no gateway to ask")
	}
	options := []option.RequestOption{option.WithMaxRetries(0)}
	if os.Getenv("OPENAI_API_KEY") == "" {
		options = append(options, option.WithAPIKey("none"))
	}
	c := openai.NewClient(options...)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	if m := os.Getenv("FARLABS_TEST_MODEL"); m != "" {
		return &c, m, ctx
	}
	page, err := c.Models.List(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if len(page.Data) == 0 {
		t.Fatal("the gateway lists no model")
	}
	return &c, page.Data[0].ID, ctx
}

func question(model string) openai.ChatCompletionNewParams {
	return openai.ChatCompletionNewParams{
		Model: model, MaxCompletionTokens: openai.Int(12), Temperature: openai.Float(0),
		Messages: []openai.ChatCompletionMessageParamUnion{
			openai.SystemMessage("Answer in one word."),
			openai.UserMessage("What is the capital of France?"),
		},
	}
}

func TestModelsAreListed(t *testing.T) {
	c, model, ctx := connect(t)
	n := 0
	for pages := c.Models.ListAutoPaging(ctx); pages.Next(); n++ {
		if m := pages.Current(); m.ID == "" || m.Object != "model" || m.Created == 0 {
			t.Errorf("model %+v", m)
		}
	}
	m, err := c.Models.Get(ctx, model)
	if err != nil || n == 0 || m.OwnedBy == "" {
		t.Errorf("%d models, %+v: %v", n, m, err)
	}
}

func TestChat(t *testing.T) {
	c, model, ctx := connect(t)
	a, err := c.Chat.Completions.New(ctx, question(model))
	if err != nil {
		t.Fatal(err)
	}
	if len(a.Choices) != 1 || a.Choices[0].Message.Content == "" || a.Choices[0].Message.Role != "assistant" || a.Choices[0].FinishReason == "" {
		t.Errorf("answer %s", a.RawJSON())
	}
	if u := a.Usage; u.PromptTokens == 0 || u.CompletionTokens == 0 || u.TotalTokens != u.PromptTokens+u.CompletionTokens {
		t.Errorf("usage %+v", u)
	}
	if a.SystemFingerprint == "" {
		t.Error("no fingerprint")
	}
}

func TestStreamSaysWhatTheWholeAnswerSays(t *testing.T) {
	c, model, ctx := connect(t)
	q := question(model)
	whole, err := c.Chat.Completions.New(ctx, q)
	if err != nil {
		t.Fatal(err)
	}
	q.StreamOptions = openai.ChatCompletionStreamOptionsParam{IncludeUsage: openai.Bool(true)}
	s := c.Chat.Completions.NewStreaming(ctx, q)
	var acc openai.ChatCompletionAccumulator
	for s.Next() {
		if !acc.AddChunk(s.Current()) {
			t.Errorf("chunk %s does not fit", s.Current().RawJSON())
		}
	}
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
	if len(acc.Choices) != 1 || acc.Choices[0].Message.Content != whole.Choices[0].Message.Content || acc.Choices[0].FinishReason != whole.Choices[0].FinishReason {
		t.Errorf("streamed %+v, whole %s", acc.Choices, whole.RawJSON())
	}
	if acc.Usage.CompletionTokens != whole.Usage.CompletionTokens || acc.Usage.PromptTokens != whole.Usage.PromptTokens {
		t.Errorf("usage streamed %+v, whole %+v", acc.Usage, whole.Usage)
	}
}

func TestChoicesLogProbsAndSeed(t *testing.T) {
	c, model, ctx := connect(t)
	q := question(model)
	q.N, q.Seed, q.Temperature = openai.Int(2), openai.Int(7), openai.Float(1)
	q.Logprobs, q.TopLogprobs = openai.Bool(true), openai.Int(3)
	first, err := c.Chat.Completions.New(ctx, q)
	if err != nil {
		t.Fatal(err)
	}
	second, err := c.Chat.Completions.New(ctx, q)
	if err != nil {
		t.Fatal(err)
	}
	if len(first.Choices) != 2 || len(second.Choices) != 2 {
		t.Fatalf("%d and %d choices", len(first.Choices), len(second.Choices))
	}
	for i, a := range first.Choices {
		if a.Message.Content != second.Choices[i].Message.Content {
			t.Errorf("choice %d: the same seed gave %q and %q", i, a.Message.Content, second.Choices[i].Message.Content)
		}
		var text []byte
		for _, p := range a.Logprobs.Content {
			for _, b := range p.Bytes {
				text = append(text, byte(b))
			}
			if p.Logprob > 0 || len(p.TopLogprobs) != 3 {
				t.Errorf("token %+v", p)
			}
		}
		if string(text) != a.Message.Content {
			t.Errorf("tokens spell %q, the text is %q", text, a.Message.Content)
		}
	}
}

func TestCompletionsOfSeveralPrompts(t *testing.T) {
	c, model, ctx := connect(t)
	a, err := c.Completions.New(ctx, openai.CompletionNewParams{
		Model: openai.CompletionNewParamsModel(model), MaxTokens: openai.Int(4), Temperature: openai.Float(0),
		Prompt: openai.CompletionNewParamsPromptUnion{OfArrayOfStrings: []string{"One, two,", "The sky is"}},
		Echo:   openai.Bool(true), Logprobs: openai.Int(1),
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(a.Choices) != 2 || !strings.HasPrefix(a.Choices[0].Text, "One, two,") || !strings.HasPrefix(a.Choices[1].Text, "The sky is") {
		t.Fatalf("answer %s", a.RawJSON())
	}
	for _, choice := range a.Choices {
		l := choice.Logprobs
		n := len(l.Tokens)
		if n == 0 || len(l.TextOffset) != n || len(l.TokenLogprobs) != n {
			t.Errorf("log-probabilities %s", l.RawJSON())
		}
	}
	// The client reads no top_logprobs of an echo: the null of the prompt's first
	// token, which OpenAI sends too, is not one of its maps.
	plain, err := c.Completions.New(ctx, openai.CompletionNewParams{
		Model: openai.CompletionNewParamsModel(model), MaxTokens: openai.Int(4), Temperature: openai.Float(0),
		Prompt:   openai.CompletionNewParamsPromptUnion{OfArrayOfTokens: []int64{1, 2, 3}},
		Logprobs: openai.Int(2),
	})
	if err != nil {
		t.Fatal(err)
	}
	if l := plain.Choices[0].Logprobs; len(l.TopLogprobs) != len(l.Tokens) || len(l.TopLogprobs[0]) < 2 {
		t.Errorf("log-probabilities %s", l.RawJSON())
	}
	s := c.Completions.NewStreaming(ctx, openai.CompletionNewParams{
		Model: openai.CompletionNewParamsModel(model), MaxTokens: openai.Int(4), Temperature: openai.Float(0),
		Prompt: openai.CompletionNewParamsPromptUnion{OfString: openai.String("One, two,")},
	})
	var text strings.Builder
	for s.Next() {
		for _, choice := range s.Current().Choices {
			text.WriteString(choice.Text)
		}
	}
	if err := s.Err(); err != nil || "One, two,"+text.String() != a.Choices[0].Text {
		t.Errorf("streamed %q, whole %q: %v", text.String(), a.Choices[0].Text, err)
	}
}

func TestStopTextIsNotInTheAnswer(t *testing.T) {
	c, model, ctx := connect(t)
	q := question(model)
	whole, err := c.Chat.Completions.New(ctx, q)
	if err != nil {
		t.Fatal(err)
	}
	text := whole.Choices[0].Message.Content
	if len(text) < 3 {
		t.Fatalf("%q is too short to cut", text)
	}
	stop := text[1:3]
	q.Stop = openai.ChatCompletionNewParamsStopUnion{OfStringArray: []string{stop}}
	a, err := c.Chat.Completions.New(ctx, q)
	if err != nil {
		t.Fatal(err)
	}
	want, _, _ := strings.Cut(text, stop)
	if got := a.Choices[0]; got.Message.Content != want || got.FinishReason != "stop" {
		t.Errorf("%q (%s), want %q", got.Message.Content, got.FinishReason, want)
	}
}

func TestErrorsHaveStatusAndCode(t *testing.T) {
	c, model, ctx := connect(t)
	for _, x := range []struct {
		name   string
		change func(*openai.ChatCompletionNewParams)
		status int
		code   string
		param  string
	}{
		{"unknown model", func(q *openai.ChatCompletionNewParams) { q.Model = "no-such-model" }, 404, "model_not_found", ""},
		{"temperature", func(q *openai.ChatCompletionNewParams) { q.Temperature = openai.Float(3) }, 400, "", "temperature"},
		{"tools", func(q *openai.ChatCompletionNewParams) {
			q.Tools = []openai.ChatCompletionToolUnionParam{openai.ChatCompletionFunctionTool(openai.FunctionDefinitionParam{Name: "f"})}
		}, 400, "unsupported_parameter", "tools"},
		{"too long", func(q *openai.ChatCompletionNewParams) {
			q.Messages = append(q.Messages, openai.UserMessage(strings.Repeat("word ", 200_000)))
		}, 400, "context_length_exceeded", ""},
	} {
		q := question(model)
		x.change(&q)
		_, err := c.Chat.Completions.New(ctx, q)
		var e *openai.Error
		if !errors.As(err, &e) || e.StatusCode != x.status || e.Code != x.code || e.Param != x.param || e.Message == "" {
			t.Errorf("%s: %v", x.name, err)
		}
		s := c.Chat.Completions.NewStreaming(ctx, q)
		for s.Next() {
			t.Errorf("%s: chunk %s", x.name, s.Current().RawJSON())
		}
		if !errors.As(s.Err(), &e) || e.StatusCode != x.status {
			t.Errorf("%s, streaming: %v", x.name, s.Err())
		}
	}
}
