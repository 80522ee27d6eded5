package model

import (
	"testing"

	inference "github.com/farlabs/inference"
)

// tolerance is how far float32 sums in another order may lie from the
// reference's, in logits of size about 10.
const tolerance = 2e-4

func TestRandomModelsMatchTransformers(t *testing.T) {
	g := readRandomGolden(t)
	for _, m := range g.models() {
		c := m.model.Open(t)
		w := whole(t, c, inference.WireF32)
		lps, last, err := w.logProbs(w.sequence(), g.IDs, len(g.IDs))
		if err != nil {
			t.Fatal(err)
		}
		d := m.want.distance(lps, last)
		t.Logf("%s: largest difference %.2g", m.name, d)
		if !(d <= tolerance) {
			t.Errorf("%s: log-probabilities or logits differ by %.3g", m.name, d)
		}
	}
}
