package simnet_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/internal/simnet"
	"github.com/farlabs/inference/model/sample"
	"github.com/farlabs/inference/pipeline"
)

// chains cut the six blocks into 1, 2, 3 and 5 stages. In the second list the
// nodes host more than their role takes; the rates make the route unique.
var chains = map[string][][2]int{
	"1 stage": {{0, 6}}, "2 stages": {{0, 2}, {2, 6}}, "3 stages": {{0, 2}, {2, 4}, {4, 6}}, "5 stages": {{0, 1}, {1, 3}, {3, 4}, {4, 5}, {5, 6}},
	"overlapping spans": {{0, 3}, {1, 5}, {4, 6}},
}

// prompts are 8 of different lengths, so that a batch mixes positions.
func prompts() (l [][]inference.TokenID) {
	for i := range 8 {
		l = append(l, tokens(i, 20+7*i))
	}
	return l
}

// logProbs computes a prompt through a session of a client, then three tokens
// one by one, and returns the log-probability of each position's successor.
func logProbs(t *testing.T, s *pipeline.Session, ids, more []inference.TokenID) (lps []float64) {
	ctx := context.Background()
	take := func(h pipeline.Hidden, next []inference.TokenID) error {
		logits, err := s.Logits(h)
		for i, row := range logits {
			lps = append(lps, sample.LogProbs(row, next[i:i+1])[0])
		}
		return err
	}
	h, err := s.Step(ctx, nil, []pipeline.Group{group(0, 0, ids)})
	if err == nil {
		err = take(h[0], append(ids[1:len(ids):len(ids)], more[0]))
	}
	for i := 0; i+1 < len(more) && err == nil; i++ {
		if h, err = s.Step(ctx, nil, []pipeline.Group{group(0, len(ids)+i, more[i:i+1])}); err == nil {
			err = take(h[0], more[i+1:i+2])
		}
	}
	if err != nil {
		t.Error(err)
	}
	return lps
}

func TestLogProbabilitiesAreTheSameBitsHoweverTheyAreComputed(t *testing.T) {
	models := map[string]*simnet.Model{"small": small, "untied": untied}
	if raceEnabled {
		models = map[string]*simnet.Model{"tiny": tiny}
	}
	all, more := prompts(), tokens(9, 4)
	for name, m := range models {
		for _, dtype := range []inference.WireDType{inference.WireF32, inference.WireBF16} {
			want := map[int][]float64{}
			ref := m.Reference(t, dtype)
			for i, ids := range all {
				b := ref.NewBranch()
				seq := append(ids[:len(ids):len(ids)], more...)
				for j, row := range ref.Logits(b.Append(seq[:len(seq)-1])) {
					want[i] = append(want[i], sample.LogProbs(row, seq[j+1:j+2])[0])
				}
				b.Release()
			}
			for chain, spans := range chains {
				for _, batch := range []int{1, 8} {
					for _, chunk := range []int{1, 16, 512} {
						if m != small && (batch != 8 || chunk != 16) {
							continue // one shape of each chain is enough there
						}
						t.Run(fmt.Sprintf("%s/%s/%s/batch %d/chunk %d", name, dtype, chain, batch, chunk), func(t *testing.T) {
							runModel(t, m, func(t *testing.T, c *simnet.Cluster) {
								for i, s := range spans {
									c.Add(inference.PeerID(fmt.Sprintf("n%d", i)), s[0], s[1])
								}
								l := c.Client("client", simnet.ClientOptions{Defaults: pipeline.SessionOptions{Wire: dtype, Chunk: chunk}})
								got := make([][]float64, batch)
								var wg sync.WaitGroup
								for i := range batch {
									s := open(t, l, pipeline.SessionOptions{})
									defer s.Close()
									wg.Go(func() { got[i] = logProbs(t, s, all[i], more) })
								}
								wg.Wait()
								for i := range got {
									if len(got[i]) != len(want[i]) {
										t.Fatalf("session %d: %d log-probabilities, want %d", i, len(got[i]), len(want[i]))
									}
									for j, lp := range got[i] {
										if lp != want[i][j] {
											t.Fatalf("session %d, position %d: %v, want %v", i, j, lp, want[i][j])
										}
									}
								}
								if r := l.Routes()[0]; len(r.Hops) != len(spans) {
									t.Fatalf("route %s", r)
								}
							})
						})
					}
				}
			}
		}
	}
}
