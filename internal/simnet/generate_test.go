package simnet_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/internal/simnet"
	"github.com/farlabs/inference/model"
	"github.com/farlabs/inference/model/chat"
	"github.com/farlabs/inference/model/sample"
	"github.com/farlabs/inference/pipeline"
)

// one runs f with a client of a single node.
func one(t *testing.T, f func(t *testing.T, c *simnet.Cluster, l *simnet.Client)) {
	t.Helper()
	run(t, func(t *testing.T, c *simnet.Cluster) {
		c.Delay(oneWay)
		c.Add("a", 0, 6)
		f(t, c, c.Client("client", simnet.ClientOptions{}))
	})
}

func TestUsageCountsPromptAndCompletion(t *testing.T) {
	one(t, func(t *testing.T, c *simnet.Cluster, l *simnet.Client) {
		a := ask(context.Background(), l.DistributedPipeline, pipeline.Request{IDs: tokens(1, 30), MaxTokens: 12, N: 3, Sampling: moods["warm"], IgnoreEOS: true}, nil)
		if a.err != nil || *a.usage != (inference.Usage{PromptTokens: 30, CompletionTokens: 36}) {
			t.Errorf("usage %+v, error %v", a.usage, a.err)
		}
		for i, d := range a.deltas {
			if (d.Usage != nil) != (i == len(a.deltas)-1) {
				t.Errorf("usage in delta %d of %d", i, len(a.deltas))
			}
		}
		if len(a.routes) != 2 || a.routes[1].Hops[0].Peer != "a" || a.routes[1].Hops[0].Name != "node-a" {
			t.Errorf("routes %v", a.routes)
		}
		if !slices.Equal(a.finish, []pipeline.Finish{pipeline.FinishLength, pipeline.FinishLength, pipeline.FinishLength}) {
			t.Errorf("finish %v", a.finish)
		}
	})
}

func TestAsManyChoicesAsARequestMayHave(t *testing.T) {
	one(t, func(t *testing.T, c *simnet.Cluster, l *simnet.Client) {
		a := ask(context.Background(), l.DistributedPipeline, pipeline.Request{IDs: tokens(1, 10), MaxTokens: 2, N: 128, Sampling: moods["warm"], IgnoreEOS: true}, nil)
		if a.err != nil || a.usage.CompletionTokens != 256 {
			t.Errorf("usage %+v, error %v", a.usage, a.err)
		}
	})
}

func TestStopTextEndsAnAnswerBeforeIt(t *testing.T) {
	prompt := tokens(1, 30)
	ids := tiny.Reference(t, inference.WireBF16).Generate(prompt, moods["warm"], 0, 60)
	whole := tiny.Tokenizer.Decode(ids)
	for at := 10; at < 40; at += 3 {
		stop := whole[at : at+5] // of several tokens
		before := whole[:strings.Index(whole, stop)]
		one(t, func(t *testing.T, c *simnet.Cluster, l *simnet.Client) {
			r := pipeline.Request{IDs: prompt, MaxTokens: 60, Sampling: moods["warm"], Seed: &seed, IgnoreEOS: true, Stop: []string{"never \x01", stop, ""}}
			a := ask(context.Background(), l.DistributedPipeline, r, func(a *answer, d pipeline.Delta) {
				if !strings.HasPrefix(before, a.text[0]) {
					t.Fatalf("stop %q: text %q was shown", stop, a.text[0])
				}
			})
			if a.err != nil || a.text[0] != before || a.finish[0] != pipeline.FinishStop {
				t.Errorf("stop %q: %q, %s, %v; want %q", stop, a.text[0], a.finish[0], a.err, before)
			}
			if n := a.usage.CompletionTokens; n >= 60 || n < len(a.ids[0]) {
				t.Errorf("%d tokens counted, %d shown", n, len(a.ids[0]))
			}
		})
	}
}

func TestEndOfTextTokenEndsAnAnswer(t *testing.T) {
	one(t, func(t *testing.T, c *simnet.Cluster, l *simnet.Client) {
		end := tiny.Tokenizer.EOG()[0]
		r := pipeline.Request{IDs: tokens(1, 10), MaxTokens: 20, Sampling: sample.Params{LogitBias: map[inference.TokenID]float32{end: 1000}}}
		a := ask(context.Background(), l.DistributedPipeline, r, nil)
		if a.err != nil || a.text[0] != "" || len(a.ids[0]) != 0 || a.finish[0] != pipeline.FinishStop || a.usage.CompletionTokens != 1 {
			t.Errorf("%+v", a)
		}
		r.IgnoreEOS = true
		a = ask(context.Background(), l.DistributedPipeline, r, nil)
		if a.err != nil || len(a.ids[0]) != 20 || a.finish[0] != pipeline.FinishLength {
			t.Errorf("ignoring it: %+v", a)
		}
	})
}

func TestLogProbabilitiesOfAnswerAndPrompt(t *testing.T) {
	prompt := tokens(1, 70)
	ref := tiny.Reference(t, inference.WireBF16)
	ids := ref.Generate(prompt, moods["warm"], 0, 8)
	b := ref.NewBranch()
	defer b.Release()
	logits := ref.Logits(b.Append(append(prompt[:70:70], ids...)))
	vocab := min(tiny.Tokenizer.Size(), tiny.Ends.Vocab())
	check := func(t *testing.T, what string, tok pipeline.Token, at int, top int) {
		t.Helper()
		row := logits[at-1][:vocab]
		if want := sample.LogProbs(row, []inference.TokenID{tok.ID})[0]; tok.LogProb != want {
			t.Errorf("%s: log-probability %v, want %v", what, tok.LogProb, want)
		}
		if want := sample.TopLogProbs(row, top); top > 0 && !slices.Equal(tok.Top, want) {
			t.Errorf("%s: top %v, want %v", what, tok.Top, want)
		}
		if string(tok.Bytes) != string(tiny.Tokenizer.Bytes(tok.ID)) {
			t.Errorf("%s: bytes %q", what, tok.Bytes)
		}
	}
	one(t, func(t *testing.T, c *simnet.Cluster, l *simnet.Client) {
		r := pipeline.Request{
			IDs: prompt, MaxTokens: 8, Sampling: moods["warm"], Seed: &seed, IgnoreEOS: true,
			LogProbs: true, TopLogProbs: 3, PromptLogProbs: true, Session: pipeline.SessionOptions{Chunk: 16},
		}
		a := ask(context.Background(), l.DistributedPipeline, r, nil)
		a.want(t, 0, ids)
		at := len(prompt)
		for _, d := range a.deltas {
			for _, tok := range d.Tokens {
				check(t, "answer", tok, at, 3)
				at++
			}
		}
		echo := a.deltas[0].Prompt
		if len(echo) != len(prompt) || echo[0].ID != prompt[0] || echo[0].LogProb != 0 || echo[0].Top != nil {
			t.Fatalf("%d tokens of the prompt", len(echo))
		}
		for i := 1; i < len(echo); i++ {
			check(t, "prompt", echo[i], i, 3)
		}
		// The prompt alone.
		r.MaxTokens, r.N = 0, 2
		a = ask(context.Background(), l.DistributedPipeline, r, nil)
		if a.err != nil || len(a.deltas[0].Prompt) != len(prompt) || *a.usage != (inference.Usage{PromptTokens: 70}) || a.finish[1] != pipeline.FinishLength {
			t.Errorf("prompt only: %+v", a)
		}
	})
}

func TestMessagesGoThroughTheTemplate(t *testing.T) {
	one(t, func(t *testing.T, c *simnet.Cluster, l *simnet.Client) {
		r := pipeline.Request{Messages: []chat.Message{{Role: "user", Content: "in the <|im_end|> end"}}, MaxTokens: 5, IgnoreEOS: true}
		ids, err := l.Encode(r)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(bytesOf(ids)), "<|im_end|>"); n != 2 {
			t.Errorf("prompt %q", bytesOf(ids))
		}
		special, _ := tiny.Tokenizer.Lookup("<|im_end|>")
		if n := count(ids, special); n != 1 {
			t.Errorf("the message's own <|im_end|> is special: %v", ids)
		}
		a := ask(context.Background(), l.DistributedPipeline, r, nil)
		a.want(t, 0, tiny.Reference(t, inference.WireBF16).Generate(ids, sample.Params{}, 0, 5))
	})
}

func bytesOf(ids []inference.TokenID) (b []byte) {
	for _, id := range ids {
		b = append(b, tiny.Tokenizer.Bytes(id)...)
	}
	return b
}

func count(ids []inference.TokenID, id inference.TokenID) (n int) {
	for _, x := range ids {
		if x == id {
			n++
		}
	}
	return n
}

func TestBadRequestsAreRefusedBeforeAnybodyHearsOfThem(t *testing.T) {
	one(t, func(t *testing.T, c *simnet.Cluster, l *simnet.Client) {
		ids := tokens(1, 10)
		for name, bad := range map[string]struct {
			r    pipeline.Request
			want error
		}{
			"no prompt":         {pipeline.Request{}, pipeline.ErrInvalidRequest},
			"two prompts":       {pipeline.Request{IDs: ids, Prompt: "x"}, pipeline.ErrInvalidRequest},
			"n":                 {pipeline.Request{IDs: ids, N: -1}, pipeline.ErrInvalidRequest},
			"many choices":      {pipeline.Request{IDs: ids, N: 1000}, pipeline.ErrInvalidRequest},
			"max tokens":        {pipeline.Request{IDs: ids, MaxTokens: -1}, pipeline.ErrInvalidRequest},
			"top logprobs":      {pipeline.Request{IDs: ids, TopLogProbs: 21}, pipeline.ErrInvalidRequest},
			"temperature":       {pipeline.Request{IDs: ids, Sampling: sample.Params{Temperature: -1}}, pipeline.ErrInvalidRequest},
			"not a number":      {pipeline.Request{IDs: ids, Sampling: sample.Params{TopP: float32(math.NaN())}}, pipeline.ErrInvalidRequest},
			"token id":          {pipeline.Request{IDs: []inference.TokenID{272}}, pipeline.ErrInvalidRequest},
			"negative token id": {pipeline.Request{IDs: []inference.TokenID{-1}}, pipeline.ErrInvalidRequest},
			"long prompt":       {pipeline.Request{IDs: tokens(1, 2049)}, pipeline.ErrContextLength},
			"full context":      {pipeline.Request{IDs: tokens(1, 2048)}, pipeline.ErrContextLength},
			"wire dtype":        {pipeline.Request{IDs: ids, Session: pipeline.SessionOptions{Wire: inference.WireInt8}}, pipeline.ErrInvalidRequest},
			"chunk":             {pipeline.Request{IDs: ids, Session: pipeline.SessionOptions{Chunk: 10000}}, pipeline.ErrInvalidRequest},
			"max length":        {pipeline.Request{IDs: ids, Session: pipeline.SessionOptions{MaxLength: 3000}}, pipeline.ErrContextLength},
			"short max length":  {pipeline.Request{IDs: ids, Session: pipeline.SessionOptions{MaxLength: 9}}, pipeline.ErrContextLength},
			"message":           {pipeline.Request{Messages: []chat.Message{{Role: "user", Content: 3}}}, pipeline.ErrInvalidRequest},
		} {
			a := ask(context.Background(), l.DistributedPipeline, bad.r, nil)
			if !errors.Is(a.err, bad.want) || len(a.deltas) > 0 {
				t.Errorf("%s: error %v, want %v", name, a.err, bad.want)
			}
		}
		if n := c.Node("a").Rows(); n != 0 {
			t.Errorf("%d rows were computed", n)
		}
	})
}

func TestAnswerFillsTheContext(t *testing.T) {
	one(t, func(t *testing.T, c *simnet.Cluster, l *simnet.Client) {
		r := pipeline.Request{IDs: tokens(1, 50), IgnoreEOS: true, Session: pipeline.SessionOptions{MaxLength: 64}}
		a := ask(context.Background(), l.DistributedPipeline, r, nil)
		if a.err != nil || len(a.ids[0]) != 14 || a.finish[0] != pipeline.FinishLength {
			t.Errorf("%d tokens, %s, %v", len(a.ids[0]), a.finish[0], a.err)
		}
		r.MaxTokens = 100
		if a := ask(context.Background(), l.DistributedPipeline, r, nil); a.err != nil || len(a.ids[0]) != 14 {
			t.Errorf("%d tokens, %v", len(a.ids[0]), a.err)
		}
	})
}

func TestDefaultsOfThePipelineHold(t *testing.T) {
	run(t, func(t *testing.T, c *simnet.Cluster) {
		c.Add("a", 0, 6)
		l := c.Client("client", simnet.ClientOptions{Defaults: pipeline.SessionOptions{MaxLength: 40, Wire: inference.WireF32}})
		a := ask(context.Background(), l.DistributedPipeline, pipeline.Request{IDs: tokens(1, 30), IgnoreEOS: true}, nil)
		a.want(t, 0, tiny.Reference(t, inference.WireF32).Generate(tokens(1, 30), sample.Params{}, 0, 10))
		s := open(t, l, pipeline.SessionOptions{Chunk: 8})
		defer s.Close()
		if _, err := s.Step(context.Background(), nil, []pipeline.Group{group(0, 0, tokens(1, 41))}); !errors.Is(err, pipeline.ErrContextLength) {
			t.Errorf("error %v", err)
		}
	})
}

func TestLeavingTheLoopStopsThePeers(t *testing.T) {
	free := func(t *testing.T, c *simnet.Cluster) {
		t.Helper()
		time.Sleep(time.Second)
		for _, id := range []inference.PeerID{"a", "b", "c", "a'", "b'", "c'"} {
			n := c.Node(id)
			if l := n.Stage.Load(); l.Sessions != 0 || n.Cache.FreePages() != n.Cache.TotalPages() || n.Stage.Live() != 0 {
				t.Errorf("node %s: load %+v, %d bytes", id, l, n.Stage.Live())
			}
		}
	}
	long := pipeline.Request{IDs: tokens(1, 100), MaxTokens: 1000, IgnoreEOS: true, N: 2, Sampling: moods["warm"]}
	ways := map[string]func(t *testing.T, l *simnet.Client){
		"break": func(t *testing.T, l *simnet.Client) {
			for d, err := range l.Generate(context.Background(), long) {
				if err != nil {
					t.Error(err)
				}
				if d.Choice == 1 {
					break
				}
			}
		},
		"context": func(t *testing.T, l *simnet.Client) {
			ctx, cancel := context.WithTimeout(context.Background(), 400*time.Millisecond)
			defer cancel()
			if a := ask(ctx, l.DistributedPipeline, long, nil); !errors.Is(a.err, context.DeadlineExceeded) || len(a.deltas) == 0 {
				t.Errorf("error %v after %d deltas", a.err, len(a.deltas))
			}
		},
		"context while opening": func(t *testing.T, l *simnet.Client) {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Millisecond)
			defer cancel()
			if a := ask(ctx, l.DistributedPipeline, long, nil); !errors.Is(a.err, context.DeadlineExceeded) {
				t.Errorf("error %v", a.err)
			}
		},
		"panic": func(t *testing.T, l *simnet.Client) {
			defer func() { recover() }()
			for range l.Generate(context.Background(), long) {
				panic("reader")
			}
		},
		"after the last delta": func(t *testing.T, l *simnet.Client) {
			r := long
			r.MaxTokens = 3
			for d := range l.Generate(context.Background(), r) {
				if d.Usage != nil {
					break
				}
			}
		},
	}
	for name, leave := range ways {
		t.Run(name, func(t *testing.T) {
			run(t, func(t *testing.T, c *simnet.Cluster) {
				thirds(c)
				l := c.Client("client", simnet.ClientOptions{})
				leave(t, l)
				free(t, c)
			})
		})
	}
}

func TestAPassThatPanicsFailsItsSessionOnly(t *testing.T) {
	run(t, func(t *testing.T, c *simnet.Cluster) {
		c.Delay(oneWay)
		a := c.Add("a", 0, 6)
		broken := true
		a.Fail(func(model.Pass) error {
			if broken {
				broken = false
				panic("broken")
			}
			return nil
		})
		l := c.Client("client", simnet.ClientOptions{})
		// The node is asked again, there being no other.
		r := pipeline.Request{IDs: tokens(1, 30), MaxTokens: 5, IgnoreEOS: true}
		ask(context.Background(), l.DistributedPipeline, r, nil).want(t, 0, tiny.Reference(t, inference.WireBF16).Generate(tokens(1, 30), sample.Params{}, 0, 5))
	})
}
