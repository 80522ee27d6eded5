package main

import (
	"encoding/binary"
	"math"
	"testing"
)

func TestDivergenceAndLossAreTheTextbookOnes(t *testing.T) {
	logits := func(p ...float32) []byte {
		var b []byte
		for _, v := range p {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(float32(math.Log(float64(v)))+50)) // any constant may be added
		}
		return b
	}
	rows := make([][]float64, 3)
	for i, raw := range [][]byte{logits(0.5, 0.5), logits(0.25, 0.75), logits(0.5, 0.5)} {
		rows[i] = make([]float64, 2)
		logProbs(rows[i], raw)
	}
	var c comparison
	c.position(rows, 0)
	c.position(rows, -1) // the end of the text has no next token
	near := func(name string, got, want float64) {
		if math.Abs(got-want) > 1e-5 {
			t.Errorf("%s is %g, want %g", name, got, want)
		}
	}
	near("loss of the exact one", c.exact, math.Ln2)
	near("loss of the other", c.loss[0], math.Log(4))
	near("loss of an equal one", c.loss[1], math.Ln2)
	near("divergence", c.divergence[0], 2*(0.5*math.Log(0.5/0.25)+0.5*math.Log(0.5/0.75)))
	near("divergence of an equal one", c.divergence[1], 0)
}

func TestTextIsLongEnough(t *testing.T) {
	if n := len(opticks); n < 4*accuracyLength { // a token has about four letters
		t.Errorf("%d bytes", n)
	}
}
