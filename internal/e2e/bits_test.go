//go:build unix

package e2e

import (
	"math"
	"testing"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/model/chat"
	"github.com/farlabs/inference/model/sample"
	"github.com/farlabs/inference/pipeline"
)

const novel = "It is a truth universally acknowledged, that a single man in possession of a good fortune, must be in want of a wife."

// TestAnswerDoesNotDependOnWhoServesIt compares log-probabilities bit by bit.
func TestAnswerDoesNotDependOnWhoServesIt(t *testing.T) {
	three, one := Shared(t), Whole(t)
	c3 := Dial(t, ClientOptions{Bootstrap: []string{three[0].Addr}})
	c1 := Dial(t, ClientOptions{Bootstrap: []string{one.Addr}})
	c3.Sees(t, three...)
	c1.Sees(t, one)
	for _, w := range []inference.WireDType{inference.WireF32, inference.WireBF16} {
		t.Run(w.String(), func(t *testing.T) {
			r := pipeline.Request{
				Prompt: novel, MaxTokens: 12, LogProbs: true, TopLogProbs: 5, PromptLogProbs: true, IgnoreEOS: true,
				Session: pipeline.SessionOptions{Wire: w},
			}
			a1, a3 := c1.Ask(t, r), c3.Ask(t, r)
			if n1, n3 := len(a1.Route().Hops), len(a3.Route().Hops); n1 != 1 || n3 != 3 {
				t.Fatalf("routes of %d and %d hops, want 1 and 3", n1, n3)
			}
			sameTokens(t, "prompt", a1.Prompt, a3.Prompt)
			sameTokens(t, "answer", a1.Tokens, a3.Tokens)
			if len(a1.Tokens) != 12 || len(a1.Prompt) < 20 {
				t.Errorf("%d prompt tokens and %d of the answer were compared", len(a1.Prompt), len(a1.Tokens))
			}
			// In smaller steps the prompt comes to the same.
			r.Session.Chunk = 7
			sameTokens(t, "prompt in steps of 7", a1.Prompt, c3.Ask(t, r).Prompt)
		})
	}
}

func sameTokens(t *testing.T, what string, a, b []pipeline.Token) {
	t.Helper()
	if len(a) != len(b) {
		t.Fatalf("%s: %d and %d tokens", what, len(a), len(b))
	}
	for i := range a {
		if a[i].ID != b[i].ID || !sameBits(a[i].LogProb, b[i].LogProb) {
			t.Fatalf("%s, token %d: %d at %x, %d at %x", what, i, a[i].ID, a[i].LogProb, b[i].ID, b[i].LogProb)
		}
		if len(a[i].Top) != len(b[i].Top) {
			t.Fatalf("%s, token %d: %d and %d alternatives", what, i, len(a[i].Top), len(b[i].Top))
		}
		for j := range a[i].Top {
			if x, y := a[i].Top[j], b[i].Top[j]; x.ID != y.ID || !sameBits(x.LogProb, y.LogProb) {
				t.Fatalf("%s, token %d, alternative %d: %v and %v", what, i, j, x, y)
			}
		}
	}
}

func sameBits(a, b float64) bool { return math.Float64bits(a) == math.Float64bits(b) }

func TestSeedRepeatsTheTextOverOneAndThreeNodes(t *testing.T) {
	three, one := Shared(t), Whole(t)
	c3 := Dial(t, ClientOptions{Bootstrap: []string{three[1].Addr}})
	c1 := Dial(t, ClientOptions{Bootstrap: []string{one.Addr}})
	ask := func(c *Client, seed uint64) Answer {
		r := pipeline.Request{
			Messages: []chat.Message{{Role: "user", Content: "Tell me a story about a lighthouse."}},
			Seed:     &seed, Sampling: sample.Params{Temperature: 1, TopP: 0.95}, MaxTokens: 24, IgnoreEOS: true,
		}
		return c.Ask(t, r)
	}
	first := ask(c1, 7)
	if again := ask(c3, 7); again.Text != first.Text {
		t.Errorf("seed 7 over three nodes: %q, over one: %q", again.Text, first.Text)
	}
	if other := ask(c1, 8); other.Text == first.Text {
		t.Errorf("seeds 7 and 8 give the same text %q", other.Text)
	}
}
