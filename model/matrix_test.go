package model

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math"
	"testing"

	inference "github.com/farlabs/inference"
	"github.com/farlabs/inference/kernels/tensor"
	"github.com/farlabs/inference/model/modeltest"
)

// cuts of the six-layer model; the last ones hold more blocks than they serve.
var matrixCuts = []struct {
	name string
	cuts []cut
}{
	{"1", []cut{{blocks(0, 6), blocks(0, 6)}}},
	{"2", []cut{{blocks(0, 2), blocks(0, 2)}, {blocks(2, 6), blocks(2, 6)}}},
	{"3", []cut{{blocks(0, 2), blocks(0, 2)}, {blocks(2, 4), blocks(2, 4)}, {blocks(4, 6), blocks(4, 6)}}},
	{"5", []cut{{blocks(0, 1), blocks(0, 1)}, {blocks(1, 2), blocks(1, 2)}, {blocks(2, 3), blocks(2, 3)},
		{blocks(3, 5), blocks(3, 5)}, {blocks(5, 6), blocks(5, 6)}}},
	{"2 overlapping", []cut{{blocks(0, 4), blocks(0, 3)}, {blocks(1, 6), blocks(3, 6)}}},
	{"3 overlapping", []cut{{blocks(0, 4), blocks(0, 1)}, {blocks(0, 5), blocks(1, 4)}, {blocks(2, 6), blocks(4, 6)}}},
}

// matrixPrompts are eight of different lengths, the first as long as asked.
func matrixPrompts(long int) [][]inference.TokenID {
	prompts := make([][]inference.TokenID, 8)
	for i := range prompts {
		n := 5 + 9*i
		if i == 0 {
			n = long
		}
		for j := range n {
			prompts[i] = append(prompts[i], inference.TokenID((7*i+j*j+j/3)%262))
		}
	}
	return prompts
}

const matrixSteps = 4 // tokens decoded after the prompt

// TestSameBitsHoweverTheModelIsRun compares log-probabilities bit for bit over
// stages × batch × prompt chunk, for each wire dtype: those of the prompt's last
// positions and of decoded tokens. The wire dtypes meet the two ends of what may
// be chosen of the numerics.
func TestSameBitsHoweverTheModelIsRun(t *testing.T) {
	first := map[string]uint64{} // of each model and dtype
	numerics := map[inference.WireDType]inference.Numerics{inference.WireF32: exact, inference.WireBF16: {}}
	for _, variant := range []struct {
		name  string
		model modeltest.Llama
		long  int // above 256, so that attention adds up several blocks of positions
	}{
		{"small", modeltest.Small(), 300},
		{"untied", modeltest.Untied(), 530}, // so that a chunk of 512 is cut
		{"quantised", modeltest.Quantised(), 100},
	} {
		c, prompts := variant.model.Open(t), matrixPrompts(variant.long)
		for _, wire := range []inference.WireDType{inference.WireF32, inference.WireBF16} {
			var want []uint64 // by prompt
			if raceEnabled && wire != inference.WireBF16 {
				continue // ten times slower: one dtype, few cuts
			}
			if variant.name == "untied" && wire != inference.WireF32 || variant.name == "quantised" && wire != inference.WireBF16 {
				continue // the rounding, or the product, is the same code
			}
			for _, cuts := range matrixCuts {
				if (variant.name != "small" || raceEnabled) && cuts.name != "1" && cuts.name != "3 overlapping" {
					continue
				}
				m, err := newChain(t, c, nil, wire, numerics[wire], cuts.cuts...)
				if err != nil {
					t.Fatal(err)
				}
				for _, batch := range []int{1, 8} {
					for _, chunk := range []int{1, 16, 512} {
						if raceEnabled && chunk == 1 && batch == 1 {
							continue
						}
						name := fmt.Sprintf("%s %s: %s stages, batch %d, chunk %d", variant.name, wire, cuts.name, batch, chunk)
						var got []uint64
						for at := 0; at < len(prompts); at += batch {
							sums, err := m.fingerprint(prompts[at:at+batch], chunk)
							if err != nil {
								t.Fatalf("%s: %v", name, err)
							}
							got = append(got, sums...)
						}
						if want == nil {
							want = got
							first[fmt.Sprint(variant.name, wire)] = got[0]
						}
						for i := range want {
							if got[i] != want[i] {
								t.Errorf("%s: prompt %d: log-probabilities differ from those of 1 stage, batch 1, chunk 1", name, i)
							}
						}
					}
				}
				for _, st := range m.stages {
					if st.cache.FreePages() != st.cache.TotalPages() {
						t.Errorf("%s: %d pages leaked", cuts.name, st.cache.TotalPages()-st.cache.FreePages())
					}
					if n := st.span.pool.Live(); n != 0 {
						t.Errorf("%s: %d bytes of activations leaked", cuts.name, n)
					}
				}
			}
		}
	}
	if !raceEnabled && first["smallf32"] == first["smallbf16"] {
		t.Error("rounding to bf16 changed nothing")
	}
}

// state is one prompt on its way.
type state struct {
	seq  *sequence
	ids  []inference.TokenID // not yet fed
	left int                 // tokens to decode
	bits []byte
}

// take keeps the bits of all log-probabilities and returns the best id.
func (s *state) take(logits tensor.Buffer) (best inference.TokenID) {
	row := logits.Row(0)
	lp, best := logProb(row, 0)
	for _, v := range row {
		bits := math.Float64bits(lp + float64(v) - float64(row[0]))
		s.bits = binary.LittleEndian.AppendUint64(s.bits, bits)
	}
	return best
}

// fingerprint runs the prompts together, each in chunks, then decodes greedily,
// and returns a hash per prompt of the log-probabilities' bits. Rows of prompts
// in prefill and in decode share passes, since the lengths differ.
func (m *chain) fingerprint(prompts [][]inference.TokenID, chunk int) ([]uint64, error) {
	states := make([]state, len(prompts))
	for i, p := range prompts {
		states[i] = state{seq: m.sequence(), ids: p, left: matrixSteps}
		defer states[i].seq.release()
	}
	for {
		var parts []part
		var who []*state
		for i := range states {
			s := &states[i]
			if len(s.ids) > 0 {
				parts = append(parts, part{s.seq, s.ids[:min(chunk, len(s.ids))]})
				who = append(who, s)
			}
		}
		if len(parts) == 0 {
			break
		}
		hidden, err := m.pass(parts...)
		if err != nil {
			return nil, err
		}
		row := -1
		for i, s := range who {
			row += len(parts[i].ids)
			if s.ids = s.ids[len(parts[i].ids):]; len(s.ids) > 0 {
				continue
			}
			logits, err := m.logits(hidden.Slice(row, row+1))
			if err != nil {
				return nil, err
			}
			best := s.take(logits)
			if s.left--; s.left >= 0 {
				s.ids = []inference.TokenID{best}
			}
		}
	}
	out := make([]uint64, len(states))
	for i := range states {
		h := fnv.New64a()
		h.Write(states[i].bits)
		out[i] = h.Sum64()
	}
	return out, nil
}
