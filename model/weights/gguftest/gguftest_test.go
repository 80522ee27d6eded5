package gguftest

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/farlabs/inference/kernels/quant"
	"github.com/farlabs/inference/kernels/tensor"
)

func TestRandomWeightsHaveTheAskedSpread(t *testing.T) {
	for d := range types {
		if d == tensor.I32 {
			continue
		}
		r := rand.New(rand.NewPCG(1, 2))
		x := Random(r, "w", d, 0.02, 64, 512)
		w := make([]float32, 64*512)
		if err := quant.Dequantize(w, d, x.Data); err != nil {
			t.Fatal(err)
		}
		var sum, squares float64
		for _, v := range w {
			sum += float64(v)
			squares += float64(v) * float64(v)
		}
		n := float64(len(w))
		mean, std := sum/n, math.Sqrt(squares/n)
		if math.Abs(mean) > 0.003 || // the integers −8 … 7 of Q4_0 have mean −½
			std < 0.016 || std > 0.028 {
			t.Errorf("%s: mean %.4f, standard deviation %.4f, want 0 and 0.02", d, mean, std)
		}
	}
}

func TestEncodeRefusesWhatGGUFLacks(t *testing.T) {
	if _, err := Encode(map[string]any{"a": struct{}{}}, nil); err == nil {
		t.Error("a struct was written")
	}
	if _, err := Encode(nil, []Tensor{{Name: "w", DType: 99}}); err == nil {
		t.Error("an unknown dtype was written")
	}
}
