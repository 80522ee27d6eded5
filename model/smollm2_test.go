package model

import (
	"math"
	"testing"

	inference "github.com/farlabs/inference"
	"github.com/farlabs/inference/kernels/tensor"
	"github.com/farlabs/inference/model/catalog"
	"github.com/farlabs/inference/model/weights"
)

// smolGolden is testdata/smollm2.json: greedy continuations of chat prompts and
// the log-probabilities of a text.
type smolGolden struct {
	Prompts []struct {
		IDs    []inference.TokenID `json:"ids"`
		Tokens []inference.TokenID `json:"tokens"` // 128, also beyond an end of turn
		Best   []float64           `json:"best"`   // logit of each token
		Second []float64           `json:"second"` // logit of the next best
	} `json:"prompts"`
	Text struct {
		IDs        []inference.TokenID `json:"ids"`
		LogProbs   []float64           `json:"logprobs"` // of all but the first
		Perplexity float64             `json:"perplexity"`
	} `json:"text"`
}

func openSmolLM2(tb testing.TB) (*weights.Checkpoint, *smolGolden) {
	tb.Helper()
	if raceEnabled {
		tb.Skip("numbers of a big model: too slow under the race detector, which watches the small ones")
	}
	source, err := catalog.Resolve("smollm2-135m-instruct", catalog.CacheDir())
	if err != nil {
		tb.Fatalf("%v\nThis test runs the real model: fetch it once with `make model`.", err)
	}
	c, err := weights.Open(source.Path)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { c.Close() })
	g := &smolGolden{}
	readJSON(tb, "testdata/smollm2.json", g)
	return c, g
}

// TestBestTokensOfSmolLM2AreTheReferences feeds the reference's greedy answers
// to 8 chat prompts: the best token after each position is the reference's,
// unless its two best logits are within 0.02.
func TestBestTokensOfSmolLM2AreTheReferences(t *testing.T) {
	c, g := openSmolLM2(t)
	m := whole(t, c, inference.WireF32)
	const chunk = 512
	type place struct{ prompt, token int }
	var parts []part
	var places []place
	var worst float64
	total := 0
	flush := func() {
		hidden, err := m.pass(parts...)
		if err != nil {
			t.Fatal(err)
		}
		logits, err := m.logits(pick(hidden, func(row int) bool { return places[row].token >= 0 }))
		if err != nil {
			t.Fatal(err)
		}
		row := 0
		for _, at := range places {
			if at.token < 0 {
				continue
			}
			p := g.Prompts[at.prompt]
			want := p.Tokens[at.token]
			_, best := logProb(logits.Row(row), want)
			worst = max(worst, math.Abs(float64(logits.Row(row)[want])-p.Best[at.token]))
			if margin := p.Best[at.token] - p.Second[at.token]; best != want && margin > 0.02 {
				t.Errorf("prompt %d, token %d: best is %d, the reference's is %d by %.3f", at.prompt, at.token, best, want, margin)
			}
			row++
		}
		total += row
		parts, places = nil, nil
	}
	for i, p := range g.Prompts {
		ids := append(append([]inference.TokenID{}, p.IDs...), p.Tokens[:len(p.Tokens)-1]...)
		seq := m.sequence()
		for at := 0; at < len(ids); {
			n := min(len(ids)-at, chunk-len(places))
			parts = append(parts, part{seq, ids[at : at+n]})
			for j := range n {
				places = append(places, place{i, at + j - len(p.IDs) + 1})
			}
			if at += n; len(places) == chunk {
				flush()
			}
		}
	}
	flush()
	if total != 8*128 {
		t.Errorf("%d positions compared, want %d", total, 8*128)
	}
	t.Logf("largest difference of a best logit from the reference's: %.2g", worst)
	if worst > 0.01 {
		t.Errorf("a best logit differs from the reference's by %.3g", worst)
	}
}

// pick returns the rows of hidden that are wanted.
func pick(hidden tensor.Buffer, wanted func(row int) bool) tensor.Buffer {
	var rows []float32
	for i := range hidden.Rows {
		if wanted(i) {
			rows = append(rows, hidden.Row(i)...)
		}
	}
	return tensor.Of(rows, len(rows)/hidden.Cols, hidden.Cols)
}

func TestPerplexityOfSmolLM2IsTheReferences(t *testing.T) {
	c, g := openSmolLM2(t)
	for _, w := range []struct {
		wire inference.WireDType
		want float64 // relative difference
	}{{inference.WireF32, 0.0005}, {inference.WireBF16, 0.003}} {
		m := whole(t, c, w.wire)
		lps, _, err := m.logProbs(m.sequence(), g.Text.IDs, 512)
		if err != nil {
			t.Fatal(err)
		}
		var sum, worst float64
		for i, lp := range lps {
			sum += lp
			worst = max(worst, math.Abs(lp-g.Text.LogProbs[i]))
		}
		got := math.Exp(-sum / float64(len(lps)))
		off := math.Abs(got/g.Text.Perplexity - 1)
		t.Logf("%s: perplexity %.5f, %.4f%% from the reference's; largest difference of a log-probability %.2g", w.wire, got, 100*off, worst)
		if len(lps) != 599 || !(off <= w.want) {
			t.Errorf("%s: perplexity %.5f over %d tokens, want %.5f within %.2f%%", w.wire, got, len(lps), g.Text.Perplexity, 100*w.want)
		}
	}
}
