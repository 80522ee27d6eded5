package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/model/chat"
	"github.com/farlabs/inference/pipeline"
)

// echo answers "re: " and the last message in two pieces, and fails where that
// is "fail". It keeps what it was asked.
type echo struct{ asked [][]chat.Message }

func (e *echo) generate(_ context.Context, r pipeline.Request) iter.Seq2[pipeline.Delta, error] {
	e.asked = append(e.asked, r.Messages)
	last := fmt.Sprint(r.Messages[len(r.Messages)-1].Content)
	return func(yield func(pipeline.Delta, error) bool) {
		if !yield(pipeline.Delta{Text: "re: ", Route: &pipeline.RouteInfo{Epoch: 1}}, nil) {
			return
		}
		if last == "fail" {
			yield(pipeline.Delta{}, fmt.Errorf("hop 2: %w", pipeline.ErrNoRoute))
			return
		}
		yield(pipeline.Delta{Text: last, Finish: "stop", Usage: &inference.Usage{PromptTokens: 3, CompletionTokens: 2}}, nil)
	}
}

// converse runs chat over lines and returns what it printed.
func converse(t *testing.T, f *asking, e *echo, lines ...string) (out, errs string) {
	t.Helper()
	var o, r strings.Builder
	c := talk{asking: f, in: strings.NewReader(strings.Join(lines, "\n") + "\n"), out: &o, errs: &r, generate: e.generate}
	if err := c.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	return o.String(), r.String()
}

func TestChatKeepsTheConversationUntilReset(t *testing.T) {
	e := &echo{}
	out, errs := converse(t, &asking{system: "be brief"}, e, "one", "", "two", "/reset", "three", "/exit", "four")
	if out != "re: one\nre: two\nre: three\n" || errs != "" {
		t.Errorf("printed %q and %q", out, errs)
	}
	system := chat.Message{Role: "system", Content: "be brief"}
	user := func(s string) chat.Message { return chat.Message{Role: "user", Content: s} }
	want := [][]chat.Message{
		{system, user("one")},
		{system, user("one"), {Role: "assistant", Content: "re: one"}, user("two")},
		{system, user("three")},
	}
	if d := cmp.Diff(want, e.asked); d != "" {
		t.Errorf("asked: want -, got +\n%s", d)
	}
}

func TestChatForgetsAQuestionThatFailed(t *testing.T) {
	e := &echo{}
	_, errs := converse(t, &asking{}, e, "fail", "one")
	if !strings.Contains(errs, "hop 2") || !strings.Contains(errs, "farclient network") {
		t.Errorf("said %q", errs)
	}
	if d := cmp.Diff([]chat.Message{{Role: "user", Content: "one"}}, e.asked[1]); d != "" {
		t.Error(d)
	}
}

func TestChatEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe() // a person who says nothing
	defer w.Close()
	done := make(chan error, 1)
	c := talk{asking: &asking{}, in: r, out: &strings.Builder{}, errs: &strings.Builder{}, generate: (&echo{}).generate}
	go func() { done <- c.run(ctx) }()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestAnErrorSaysWhatToDoNext(t *testing.T) {
	for cause, want := range map[error]string{
		pipeline.ErrNoRoute:       "start_node --model",
		pipeline.ErrContextLength: "Shorten the prompt",
		pipeline.ErrPriceCeiling:  "--max-price",
		pipeline.ErrNoProgress:    "--timeout",
		errors.New("other"):       "other",
	} {
		err := explain(fmt.Errorf("generate: %w", cause))
		if !errors.Is(err, cause) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %q", cause, err)
		}
	}
}

func TestAnErrorNamesNoSession(t *testing.T) {
	for _, where := range []string{"prompt", "token 17"} {
		err := explain(fmt.Errorf("%s: session 0123abcd: %w", where, pipeline.ErrNoRoute))
		if !errors.Is(err, pipeline.ErrNoRoute) || !strings.HasPrefix(err.Error(), "no route") {
			t.Errorf("%q", err)
		}
	}
}

func TestAnAnswerKeepsRouteUsageAndFinish(t *testing.T) {
	var out strings.Builder
	f := &asking{}
	a, err := f.stream(t.Context(), &out, (&echo{}).generate, f.request(f.messages("hello")))
	if err != nil || a.Text != "re: hello" || out.String() != a.Text || a.Finish != "stop" ||
		a.Usage.CompletionTokens != 2 || a.Route.Epoch != 1 || a.First <= 0 || a.Seconds < a.First {
		t.Errorf("%+v, %v, printed %q", a, err, out.String())
	}
}

func TestALineThatBeginsWithASlashIsACommand(t *testing.T) {
	for _, forget := range []string{"/reset", "/clear", " /reset "} {
		e := &echo{}
		converse(t, &asking{}, e, "one", forget, "two")
		if len(e.asked) != 2 || len(e.asked[1]) != 1 {
			t.Errorf("after %q the model heard %v", forget, e.asked)
		}
	}
	for _, end := range []string{"/exit", "/quit"} {
		e := &echo{}
		converse(t, &asking{}, e, end, "one")
		if len(e.asked) != 0 {
			t.Errorf("after %q the model heard %v", end, e.asked)
		}
	}
	e := &echo{}
	out, errs := converse(t, &asking{}, e, "/help")
	if out != "" || len(e.asked) != 0 || !strings.Contains(errs, "/reset, /clear") || !strings.Contains(errs, "Ctrl-C") {
		t.Errorf("help: printed %q and %q, the model heard %v", out, errs, e.asked)
	}
	out, errs = converse(t, &asking{}, e, "/foo bar", "/Exit", "/")
	want := "There is no command /foo. /help lists them; to say it to the model: //foo bar\n" +
		"There is no command /Exit. /help lists them; to say it to the model: //Exit\n" +
		"There is no command /. /help lists them; to say it to the model: //\n"
	if out != "" || len(e.asked) != 0 || errs != want {
		t.Errorf("unknown: printed %q and %q, the model heard %v", out, errs, e.asked)
	}
	if out, errs = converse(t, &asking{}, e, "//foo // bar", "a /reset b"); out != "re: /foo // bar\nre: a /reset b\n" || errs != "" {
		t.Errorf("said: printed %q and %q", out, errs)
	}
}

// slow answers a word and then waits for its context.
func slow(started chan<- struct{}, word string) generate {
	return func(ctx context.Context, _ pipeline.Request) iter.Seq2[pipeline.Delta, error] {
		return func(yield func(pipeline.Delta, error) bool) {
			if word != "" && !yield(pipeline.Delta{Text: word, Route: &pipeline.RouteInfo{Epoch: 1}}, nil) {
				return
			}
			started <- struct{}{}
			<-ctx.Done()
			yield(pipeline.Delta{}, fmt.Errorf("token 1: %w", context.Cause(ctx)))
		}
	}
}

func TestCtrlCStopsTheAnswerAndTheConversationGoesOn(t *testing.T) {
	for word, said := range map[string]string{"the": "(stopped)", "": "(stopped; the question is forgotten)"} {
		synctest.Test(t, func(t *testing.T) {
			var out, errs strings.Builder
			started := make(chan struct{})
			var interrupt func()
			e := &echo{}
			answers := slow(started, word)
			c := talk{
				asking: &asking{}, in: strings.NewReader("one\ntwo\n"), out: &out, errs: &errs,
				generate: func(ctx context.Context, r pipeline.Request) iter.Seq2[pipeline.Delta, error] {
					defer func() { answers = e.generate }()
					return answers(ctx, r)
				},
				onInterrupt: func(f func()) func() {
					interrupt = f
					return func() { interrupt = nil }
				},
			}
			done := make(chan error, 1)
			go func() { done <- c.run(t.Context()) }()
			<-started
			interrupt()
			if err := <-done; err != nil {
				t.Error(err)
			}
			if out.String() != word+"\nre: two\n" || errs.String() != said+"\n" {
				t.Errorf("printed %q and %q", out.String(), errs.String())
			}
			want := []chat.Message{{Role: "user", Content: "two"}}
			if word != "" {
				want = append([]chat.Message{{Role: "user", Content: "one"}, {Role: "assistant", Content: word}}, want...)
			}
			if len(e.asked) != 1 || !cmp.Equal(want, e.asked[0]) {
				t.Errorf("asked %v, want %v", e.asked, want)
			}
			if interrupt != nil {
				t.Error("Ctrl-C at the prompt would not end the conversation")
			}
		})
	}
}

// full is a disk without room.
type full struct{ writes int }

func (f *full) Write([]byte) (int, error) {
	f.writes++
	return 0, errors.New("no space left on device")
}

func TestAnAnswerThatCannotBeWrittenStops(t *testing.T) {
	pieces := 0
	endless := func(context.Context, pipeline.Request) iter.Seq2[pipeline.Delta, error] {
		return func(yield func(pipeline.Delta, error) bool) {
			for pieces = 1; yield(pipeline.Delta{Text: "more "}, nil) && pieces < 100; pieces++ {
			}
		}
	}
	f := &asking{}
	if _, err := f.stream(t.Context(), &full{}, endless, f.request(nil)); err == nil || pieces != 1 {
		t.Errorf("after %d pieces: %v", pieces, err)
	}
	c := talk{asking: f, in: strings.NewReader("one\ntwo\n"), out: &full{}, errs: &strings.Builder{}, generate: endless}
	if err := c.run(t.Context()); err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("a conversation: %v", err)
	}
}
