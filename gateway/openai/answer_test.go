package openai

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/model/sample"
	"github.com/farlabs/inference/pipeline"
)

var update = flag.Bool("update", false, "write goldens")

// byteVocab has a token per byte, and a beginning-of-text token 256.
type byteVocab struct{}

func (byteVocab) Bytes(id inference.TokenID) []byte {
	if id == 256 {
		return []byte("<s>")
	}
	return []byte{byte(id)}
}

// token returns a token of one byte, with two alternatives.
func token(b byte, p float64) pipeline.Token {
	return pipeline.Token{
		ID: inference.TokenID(b), Bytes: []byte{b}, LogProb: p,
		Top: []sample.LogProb{{ID: inference.TokenID(b), LogProb: p}, {ID: inference.TokenID(b) ^ 1, LogProb: math.Inf(-1)}},
	}
}

func tokens(s string) (l []pipeline.Token) {
	for i := range len(s) {
		l = append(l, token(s[i], -float64(i+1)/4))
	}
	return l
}

func route(epoch inference.Epoch) *pipeline.RouteInfo {
	return &pipeline.RouteInfo{Session: "5e55", Epoch: epoch, Hops: []pipeline.HopInfo{
		{Peer: "12D3A", Name: "brave-otter", Blocks: "0:15", Direct: true, Wait: 120 * time.Microsecond, Compute: 4500 * time.Microsecond},
		{Peer: "12D3B", Name: "calm-lynx", Blocks: "15:30", Direct: true, Compute: 4 * time.Millisecond, Gap: 300 * time.Microsecond},
	}}
}

// scripts are what a pipeline would tell, for a prompt of "Hey" (three tokens,
// and one in front), by the name that a golden asks for.
var scripts = map[string][]pipeline.Delta{
	"plain": {
		{Text: "Hi", Tokens: tokens("Hi"), Route: route(1)},
		{Text: " <there>", Tokens: tokens(" <there>")},
		{Finish: pipeline.FinishStop, Usage: &inference.Usage{PromptTokens: 4, CompletionTokens: 11, CachedTokens: 2}, Route: route(1)},
	},
	// "é" comes as two tokens, of which the first shows nothing.
	"split": {
		{Tokens: []pipeline.Token{token(0xc3, -1)}, Route: route(1)},
		{Text: "é", Tokens: []pipeline.Token{token(0xa9, -2)}},
		{Text: "!", Tokens: tokens("!"), Finish: pipeline.FinishLength, Usage: &inference.Usage{PromptTokens: 4, CompletionTokens: 3}, Route: route(1)},
	},
	"rerouted": {
		{Text: "a", Tokens: tokens("a"), Route: route(1)},
		{Route: route(2)},
		{Text: "b", Tokens: tokens("b"), Finish: pipeline.FinishLength, Usage: &inference.Usage{PromptTokens: 4, CompletionTokens: 2}, Route: route(2)},
	},
	"two choices": {
		{Choice: 0, Text: "x", Tokens: tokens("x"), Route: route(1)},
		{Choice: 1, Text: "y", Tokens: tokens("y"), Finish: pipeline.FinishStop},
		{Choice: 0, Text: "z", Tokens: tokens("z"), Finish: pipeline.FinishLength, Usage: &inference.Usage{PromptTokens: 4, CompletionTokens: 4}, Route: route(1)},
	},
	"prompt only": {
		{
			Prompt: append([]pipeline.Token{{ID: 256, Bytes: []byte("<s>")}}, tokens("Hey")...), Finish: pipeline.FinishLength,
			Usage: &inference.Usage{PromptTokens: 4}, Route: route(1),
		},
	},
	"with prompt": {
		{Text: "!", Tokens: tokens("!"), Prompt: append([]pipeline.Token{{ID: 256, Bytes: []byte("<s>")}}, tokens("Hey")...), Route: route(1)},
		{Finish: pipeline.FinishStop, Usage: &inference.Usage{PromptTokens: 4, CompletionTokens: 2}, Route: route(1)},
	},
}

// TestAnswersAreAsTheGoldensSay: each file has a request, the scripts of its
// prompts, and the answer both ways.
func TestAnswersAreAsTheGoldensSay(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d goldens: %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			part := map[string]string{}
			for _, f := range a.Files {
				part[f.Name] = string(f.Data)
			}
			want := []string{part["stream"], part["whole"]}
			names := strings.Split(strings.TrimSpace(part["scripts"]), "\n")
			got := []string{streamed(t, part["request"], names), gathered(t, part["request"], names)}
			if *update {
				a.Files = append(a.Files[:2], txtar.File{Name: "stream", Data: []byte(got[0])}, txtar.File{Name: "whole", Data: []byte(got[1])})
				if err := os.WriteFile(file, txtar.Format(a), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func parse(t *testing.T, body string, stream bool) *Call {
	t.Helper()
	p := ParseCompletion
	if strings.Contains(body, `"messages"`) {
		p = ParseChat
	}
	c, err := p([]byte(strings.Replace(body, "{", fmt.Sprintf(`{"model":"m","stream":%v,`, stream), 1)))
	if err != nil {
		t.Fatal(err)
	}
	if c.NeedsIDs() {
		for i := range c.Prompts {
			c.SetIDs(i, []inference.TokenID{256, 'H', 'e', 'y'})
		}
	}
	return c
}

// head opts in to the route where a request has a field (an unknown one) of
// that name.
func head(c *Call, body string) Header {
	return Header{ID: c.NewID("1"), Created: 1700000000, Model: "m:q4_1", Fingerprint: "fp_1", Route: strings.Contains(body, `"route"`)}
}

func streamed(t *testing.T, body string, names []string) string {
	c := parse(t, body, true)
	h := head(c, body)
	s := NewStream(c, h, byteVocab{})
	var out bytes.Buffer
	for prompt, name := range names {
		for _, d := range scripts[name] {
			out.Write(s.Delta(prompt, d))
		}
	}
	out.Write(s.End())
	return out.String()
}

func gathered(t *testing.T, body string, names []string) string {
	c := parse(t, body, false)
	h := head(c, body)
	r := NewResponse(c, h, byteVocab{})
	for prompt, name := range names {
		for _, d := range scripts[name] {
			r.Delta(prompt, d)
		}
	}
	var out bytes.Buffer
	if err := json.Indent(&out, r.JSON(), "", " "); err != nil {
		t.Fatal(err)
	}
	return out.String() + "\n"
}

func TestEveryErrorKeyIsThere(t *testing.T) {
	b, err := json.Marshal(APIError{Message: "no", Type: "invalid_request_error"})
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"message":"no","type":"invalid_request_error","param":null,"code":null}`; string(b) != want {
		t.Errorf("%s\nwant %s", b, want)
	}
	s := NewStream(&Call{Kind: Chat, N: 1, Prompts: make([]pipeline.Request, 1)}, Header{}, byteVocab{})
	if got := string(s.Fail(APIError{Message: "no", Type: "server_error", Code: "c"})); got != "data: {\"error\":{\"message\":\"no\",\"type\":\"server_error\",\"param\":null,\"code\":\"c\"}}\n\n" {
		t.Error(got)
	}
}

func TestKeepAliveIsAChunkThatSaysNothing(t *testing.T) {
	for _, kind := range []Kind{Chat, Completion} {
		s := NewStream(&Call{Kind: kind, N: 2, Prompts: make([]pipeline.Request, 1)}, Header{}, byteVocab{})
		roles := 0
		for i := range 4 {
			if i == 2 {
				roles += strings.Count(string(s.Delta(0, pipeline.Delta{Text: "☃", Finish: pipeline.FinishStop})), `"role"`)
			}
			b := string(s.KeepAlive())
			if !strings.HasPrefix(b, `data: {"id"`) || strings.Contains(b, "☃") {
				t.Errorf("keep-alive %q", b)
			}
			roles += strings.Count(b, `"role"`)
		}
		if kind == Chat && roles != 2 {
			t.Errorf("the role was sent %d times for two choices", roles)
		}
		s.Delta(0, pipeline.Delta{Choice: 1, Finish: pipeline.FinishStop})
		if b := s.KeepAlive(); b != nil {
			t.Errorf("after the end: %q", b)
		}
	}
}

// A choice's streamed text and tokens, joined, are those of the whole answer,
// and its tokens' bytes are the text.
func TestStreamAndWholeAnswerSayTheSame(t *testing.T) {
	for name := range scripts {
		n := 1
		if name == "two choices" {
			n = 2
		}
		body := fmt.Sprintf(`{"messages":[{"role":"user","content":"Hey"}],"n":%d,"logprobs":true,"top_logprobs":2}`, n)
		type choice struct {
			Index   int
			Delta   struct{ Content string }
			Message struct{ Content string }
			Logs    *chatLogProbs `json:"logprobs"`
			Finish  *string       `json:"finish_reason"`
		}
		var full struct{ Choices []choice }
		if err := json.Unmarshal([]byte(gathered(t, body, []string{name})), &full); err != nil {
			t.Fatal(err)
		}
		text, spelled, reasons := make([]string, n), make([]string, n), make([]int, n)
		for line := range strings.Lines(streamed(t, body, []string{name})) {
			data, ok := strings.CutPrefix(line, "data: {")
			if !ok {
				continue
			}
			var chunk struct{ Choices []choice }
			if err := json.Unmarshal([]byte("{"+data), &chunk); err != nil {
				t.Fatal(err)
			}
			for _, c := range chunk.Choices {
				text[c.Index] += c.Delta.Content
				if c.Finish != nil {
					reasons[c.Index]++
				}
				if c.Logs != nil {
					for _, p := range c.Logs.Content {
						for _, b := range p.Bytes {
							spelled[c.Index] += string([]byte{byte(b)})
						}
					}
				}
			}
		}
		for i, c := range full.Choices {
			if text[i] != c.Message.Content || spelled[i] != text[i] || reasons[i] != 1 || c.Finish == nil {
				t.Errorf("%s, choice %d: streamed %q, tokens %q, %d reasons; whole %q", name, i, text[i], spelled[i], reasons[i], c.Message.Content)
			}
		}
	}
}

func TestOffsetsCountCharactersOverSplitTokens(t *testing.T) {
	o := offsets{skip: 3}
	var got []int
	for _, b := range []string{"<s>", "a", "\xe2", "\x82", "\xac", "bc", "\xff", "d", "\xe2"} {
		got = append(got, o.next([]byte(b)))
	}
	if d := cmp.Diff([]int{0, 0, 1, 1, 1, 2, 4, 5, 6}, got); d != "" {
		t.Error(d)
	}
}

func TestTokensThatAreNoTextAreSpelledApart(t *testing.T) {
	if got := spell([]byte{0xe2, 0x80}); got != `bytes:\xe2\x80` {
		t.Error(got)
	}
	if got := finite(math.NaN()); got != -9999 {
		t.Error(got)
	}
}

// As with vLLM the ids of a choice are all that were drawn, the end-of-text token
// too, as many as usage counts.
func TestTokenIDsIncludeTheEnd(t *testing.T) {
	deltas := []pipeline.Delta{
		{Text: "Hi", Tokens: tokens("Hi"), Route: route(1)},
		{Finish: pipeline.FinishStop, Cut: []inference.TokenID{256}, Usage: &inference.Usage{PromptTokens: 4, CompletionTokens: 3}},
	}
	for _, body := range []string{
		`{"messages":[{"role":"user","content":"Hey"}],"return_token_ids":true,"logprobs":true`,
		`{"prompt":"Hey","return_token_ids":true,"logprobs":0`,
	} {
		a := NewResponse(parse(t, body+"}", false), Header{}, byteVocab{})
		s := NewStream(parse(t, body+`,"stream_options":{"continuous_usage_stats":true}}`, true), Header{}, byteVocab{})
		var events []byte
		for _, d := range deltas {
			a.Delta(0, d)
			events = append(events, s.Delta(0, d)...)
		}
		whole := string(a.JSON())
		if !strings.Contains(whole, `"token_ids":[72,105,256]`) || strings.Contains(whole, "<s>") {
			t.Error(whole)
		}
		last := events[bytes.LastIndex(events, []byte("data: ")):]
		if !bytes.Contains(last, []byte(`"token_ids":[256]`)) || !bytes.Contains(last, []byte(`"completion_tokens":3`)) || bytes.Contains(events, []byte("<s>")) {
			t.Errorf("%s", events)
		}
	}
}
