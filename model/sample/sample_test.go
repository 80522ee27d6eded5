package sample

import (
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/kernels/device"
	"github.com/farlabs/inference/kernels/logits"
)

var inf = float32(math.Inf(1))
var nan = float32(math.NaN())

// TestPhiloxGivesThePublishedVectors: the known answers of Random123.
func TestPhiloxGivesThePublishedVectors(t *testing.T) {
	const ones = ^uint32(0)
	for _, v := range []struct {
		counter [4]uint32
		key     [2]uint32
		want    [4]uint32
	}{
		{[4]uint32{}, [2]uint32{}, [4]uint32{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
		{[4]uint32{ones, ones, ones, ones}, [2]uint32{ones, ones}, [4]uint32{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
		{[4]uint32{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, [2]uint32{0xa4093822, 0x299f31d0}, [4]uint32{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
	} {
		if got := philox(v.counter, v.key); got != v.want {
			t.Errorf("philox(%x, %x) = %x, want %x", v.counter, v.key, got, v.want)
		}
	}
	// Seed, branch and position each reach their words.
	r := philox([4]uint32{0x89abcdef, 0x01234567, 7, 0}, [2]uint32{0x55667788, 0x11223344})
	want := float64((uint64(r[1])<<32|uint64(r[0]))>>11) / (1 << 53)
	if got := uniform(0x1122334455667788, 7, 0x0123456789abcdef); got != want {
		t.Errorf("uniform = %v, want %v", got, want)
	}
}

func TestExpAndLogAreAccurate(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200000 {
		x := -r.Float64() * math.Pow(10, r.Float64()*5-2)
		if want := math.Exp(x); x > -708 && math.Abs(logits.Exp(x)-want) > 4e-16*want {
			t.Fatalf("exp(%v) = %v, want %v", x, logits.Exp(x), want)
		}
		y := math.Exp(r.Float64()*80 - 40)
		if want := math.Log(y); math.Abs(log(y)-want) > 4e-16*math.Abs(want) {
			t.Fatalf("log(%v) = %v, want %v", y, log(y), want)
		}
	}
	for x, want := range map[float64]float64{0: 1, -709: 0, math.Inf(-1): 0, math.NaN(): 0} {
		if got := logits.Exp(x); got != want {
			t.Errorf("exp(%v) = %v, want %v", x, got, want)
		}
	}
	if log(1) != 0 {
		t.Errorf("log(1) = %v", log(1))
	}
}

// TestExpAndLogHaveTheseBits pins results that must be equal on every
// processor.
func TestExpAndLogHaveTheseBits(t *testing.T) {
	var sum uint64
	for i := range 10000 {
		x := -float64(i) / 37
		sum = sum*0x9E3779B97F4A7C15 + math.Float64bits(logits.Exp(x)) ^ math.Float64bits(log(1+float64(i)/19))
	}
	if sum != pinnedBits {
		t.Errorf("digest %#x, want %#x", sum, uint64(pinnedBits))
	}
}

func TestGreedyTakesTheLowerOfEquals(t *testing.T) {
	for _, c := range []struct {
		logits []float32
		want   inference.TokenID
	}{
		{[]float32{1, 3, 3, 2}, 1},
		{[]float32{nan, -inf, -5, nan}, 2},
		{[]float32{1, inf, inf}, 1},
		{[]float32{inf, math.MaxFloat32}, 0},
		{[]float32{-inf, nan, -inf}, None},
		{nil, None},
	} {
		for _, p := range []Params{{}, {Temperature: 1, TopK: 1}, {Temperature: -1}, {Temperature: nan}} {
			got := Sample(c.logits, &p, History{}, 3, 1)
			if got.ID != c.want || (got.ID != None) != (got.Prob == 1) {
				t.Errorf("%v, %+v: got %+v, want %d", c.logits, p, got, c.want)
			}
		}
	}
}

func TestNaNAndInfinityAreNeverDrawnOrSpread(t *testing.T) {
	logits := []float32{nan, 1, -inf, 1, nan, 0}
	for _, p := range []Params{{Temperature: 1}, {Temperature: 1, TopK: 5}, {Temperature: 1, TopP: 0.99}, {Temperature: 1, MinP: 0.01}, {Temperature: 1e-30, RepetitionPenalty: 1e-30}, {Temperature: 100, PresencePenalty: nan}} {
		for position := range 200 {
			got := Sample(logits, &p, History{Generated: []inference.TokenID{0, 2, 3}}, position, 0)
			if got.ID != 1 && got.ID != 3 && got.ID != 5 || !(got.Prob > 0 && got.Prob <= 1) {
				t.Fatalf("%+v: got %+v", p, got)
			}
		}
	}
	// Several +∞ are equally likely, and nothing else is.
	seen := map[inference.TokenID]int{}
	for position := range 400 {
		got := Sample([]float32{inf, 5, inf, nan}, &Params{Temperature: 1}, History{}, position, 0)
		if got.Prob != 0.5 {
			t.Fatalf("got %+v", got)
		}
		seen[got.ID]++
	}
	if len(seen) != 2 || seen[0] < 150 || seen[2] < 150 {
		t.Errorf("got %v", seen)
	}
	for _, p := range []Params{{Temperature: 1}, {Temperature: 1, TopK: 2, TopP: 0.5, MinP: 0.5}} {
		if got := Sample([]float32{nan, -inf}, &p, History{}, 0, 0); got != (Choice{ID: None}) {
			t.Errorf("got %+v, want None", got)
		}
	}
}

func TestPenaltiesFollowTheirFormulas(t *testing.T) {
	logits := []float32{4, -4, 4, -4, 4}
	h := History{Prompt: []inference.TokenID{0, 0, 1}, Generated: []inference.TokenID{2, 2, 3, 2}}
	for _, c := range []struct {
		p    Params
		want []float32
	}{
		{Params{RepetitionPenalty: 2}, []float32{2, -8, 2, -8, 4}},
		{Params{RepetitionPenalty: 1}, logits},
		{Params{PresencePenalty: 0.5}, []float32{4, -4, 3.5, -4.5, 4}},
		{Params{FrequencyPenalty: 0.5}, []float32{4, -4, 2.5, -4.5, 4}},
		{Params{RepetitionPenalty: 2, PresencePenalty: 1, FrequencyPenalty: 1}, []float32{2, -8, -2, -10, 4}},
		{Params{RepetitionPenalty: 2, LogitBias: map[inference.TokenID]float32{0: 1, 4: -1}}, []float32{3, -8, 2, -8, 3}},
		{Params{PresencePenalty: -2}, []float32{4, -4, 6, -2, 4}},
	} {
		var s Sampler
		c.p.Temperature = 1 // a greedy row that nothing changes is not copied
		s.Sample(logits, &c.p, h, 0, 0)
		if !slices.Equal(s.logits, c.want) {
			t.Errorf("%+v: got %v, want %v", c.p, s.logits, c.want)
		}
	}
}

func TestResultDoesNotDependOnEarlierCalls(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	logits := make([]float32, 500)
	for i := range logits {
		logits[i] = float32(r.NormFloat64() * 3)
	}
	type call struct {
		p        Params
		h        History
		position int
		branch   uint32
		logits   []float32
	}
	var calls []call
	for i := range 300 {
		p := chiCases[i%len(chiCases)].p
		p.Seed = uint64(i / 50)
		calls = append(calls, call{p, History{Generated: []inference.TokenID{inference.TokenID(i), 7}}, i % 40, uint32(i % 3), logits[:20+i]})
	}
	var want []Choice
	for _, c := range calls {
		var fresh Sampler
		want = append(want, fresh.Sample(c.logits, &c.p, c.h, c.position, c.branch))
	}
	var shared Sampler
	for _, i := range r.Perm(len(calls)) {
		c := calls[i]
		before := slices.Clone(c.logits)
		if got := shared.Sample(c.logits, &c.p, c.h, c.position, c.branch); got != want[i] {
			t.Errorf("call %d: got %+v, want %+v", i, got, want[i])
		}
		if got := Sample(c.logits, &c.p, c.h, c.position, c.branch); got != want[i] {
			t.Errorf("call %d: pooled: got %+v, want %+v", i, got, want[i])
		}
		if !slices.Equal(before, c.logits) {
			t.Fatal("logits were changed")
		}
	}
}

// TestSameSeedAndPositionGiveTheseTokens pins results: a session that moves to
// another machine or release goes on as it began.
func TestSameSeedAndPositionGiveTheseTokens(t *testing.T) {
	logits := make([]float32, 1000)
	for i := range logits {
		logits[i] = float32(math.Mod(float64(i)*float64(i)*0.37, 11)) / 2
	}
	p := Params{Temperature: 0.8, TopP: 0.9, Seed: 42}
	var got []inference.TokenID
	for position := range 8 {
		got = append(got, Sample(logits, &p, History{}, position, 0).ID)
	}
	if want := pinnedTokens; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestNucleusIsTheSameHoweverItIsFound(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for range 2000 {
		var c []candidate
		mass := 0.0
		for i := range 1 + r.IntN(200) {
			x := float32(r.IntN(50)) / 8 // many ties; sums of such weights are exact
			c = append(c, candidate{weight: float64(1 + r.IntN(9)), logit: x, id: inference.TokenID(i)})
			mass += c[i].weight
		}
		missing := mass * r.Float64()
		sorted := reach(slices.Clone(c), missing, 0)
		for _, rounds := range []int{1, 3, 64} {
			if got := reach(slices.Clone(c), missing, rounds); got != sorted {
				t.Fatalf("after %d rounds %+v, sorted %+v", rounds, got, sorted)
			}
		}
	}
}

func TestSteadyStateAllocatesNothing(t *testing.T) {
	logits := make([]float32, 5000)
	for i := range logits {
		logits[i] = float32(i%97) / 10
	}
	h := History{Prompt: []inference.TokenID{1, 2, 3}, Generated: []inference.TokenID{4, 5, 4}}
	for _, c := range chiCases {
		var s Sampler
		position := 0
		s.Sample(logits, &c.p, h, 0, 0)
		if n := testing.AllocsPerRun(20, func() { position++; s.Sample(logits, &c.p, h, position, 0) }); n != 0 {
			t.Errorf("%s: %v allocations", c.name, n)
		}
	}
}

func TestValidateNamesEveryFault(t *testing.T) {
	ok := Params{Temperature: 2, TopK: 5, TopP: 1, MinP: 0.1, RepetitionPenalty: 1.1, PresencePenalty: -2, FrequencyPenalty: 2, LogitBias: map[inference.TokenID]float32{3: -100}}
	for _, p := range []Params{{}, ok} {
		if err := p.Validate(); err != nil {
			t.Errorf("%+v: %v", p, err)
		}
	}
	bad := Params{Temperature: -1, TopK: -1, TopP: 1.5, MinP: nan, RepetitionPenalty: -3, PresencePenalty: inf, FrequencyPenalty: nan, LogitBias: map[inference.TokenID]float32{-1: 0}, Vocab: -1}
	err := bad.Validate()
	if !errors.Is(err, inference.ErrInvalid) {
		t.Fatalf("got %v", err)
	}
	for _, field := range []string{"temperature", "top_k", "top_p", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty", "logit_bias", "vocab"} {
		if !strings.Contains(err.Error(), field) {
			t.Errorf("%v does not name %s", err, field)
		}
	}
}

func TestLogProbsAreOfTheUnmodifiedLogits(t *testing.T) {
	logits := []float32{1, 3, -2, 3, nan, -inf, 0.5}
	sum := 0.0
	for _, x := range []float64{1, 3, -2, 3, 0.5} {
		sum += math.Exp(x)
	}
	ids := []inference.TokenID{0, 1, 2, 4, 5, 6, 7, -1}
	got := LogProbs(logits, ids)
	for i, want := range []float64{1 - math.Log(sum), 3 - math.Log(sum), -2 - math.Log(sum), math.Inf(-1), math.Inf(-1), 0.5 - math.Log(sum), math.Inf(-1), math.Inf(-1)} {
		if got[i] != want && !(math.Abs(got[i]-want) < 1e-14) {
			t.Errorf("id %d: got %v, want %v", ids[i], got[i], want)
		}
	}
	top := TopLogProbs(logits, 3)
	if len(top) != 3 || top[0].ID != 1 || top[1].ID != 3 || top[2].ID != 0 || top[0].LogProb != got[1] {
		t.Errorf("top 3: %v", top)
	}
	if top := TopLogProbs(logits, 100); len(top) != 5 || top[4].ID != 2 {
		t.Errorf("top 100: %v", top)
	}
	if TopLogProbs(logits, 0) != nil || TopLogProbs(nil, 3) == nil || len(TopLogProbs(nil, 3)) != 0 {
		t.Error("top of nothing")
	}
	// Huge logits do not overflow; without any the answer is −∞, not NaN.
	if got := LogProbs([]float32{inf, inf, 88}, []inference.TokenID{0, 2}); math.Abs(got[0]+math.Ln2) > 1e-9 || !(got[1] < -1e38) {
		t.Errorf("got %v", got)
	}
	if got := LogProbs([]float32{nan, -inf}, []inference.TokenID{0, 1}); !math.IsInf(got[0], -1) || !math.IsInf(got[1], -1) {
		t.Errorf("of nothing: %v", got)
	}
}

// FuzzSample: any logits and parameters give None or an id that the reference
// allows, without panic.
func FuzzSample(f *testing.F) {
	row := func(xs ...float32) (b []byte) {
		for _, x := range xs {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
		}
		return b
	}
	f.Add(row(1, 2, 3, nan, inf, -inf), float32(1), 3, float32(0.9), float32(0.1), float32(1.1), float32(0.5), float32(0.5), float32(-1), uint64(1), 0, []byte{0, 1, 1})
	f.Add(row(-1, -1, -1), float32(1e-38), 0, float32(1e-9), float32(1), float32(0), nan, inf, nan, uint64(2), 2, []byte{250})
	f.Add(row(3e38, -3e38, 1e-40), float32(3e38), -4, nan, float32(2), float32(1e38), float32(-3e38), float32(3e38), inf, uint64(3), -9, []byte{2, 2})
	f.Fuzz(func(t *testing.T, raw []byte, temperature float32, topK int, topP, minP, repetition, presence, frequency, bias float32, seed uint64, vocab int, ids []byte) {
		var logits []float32
		for ; len(raw) >= 4 && len(logits) < 300; raw = raw[4:] {
			logits = append(logits, math.Float32frombits(binary.LittleEndian.Uint32(raw)))
		}
		p := Params{Temperature: temperature, TopK: topK, TopP: topP, MinP: minP, RepetitionPenalty: repetition, PresencePenalty: presence, FrequencyPenalty: frequency,
			LogitBias: map[inference.TokenID]float32{1: bias, -2: bias, 1 << 30: bias}, Seed: seed, Vocab: vocab}
		var h History
		for i, b := range ids {
			if i%2 == 0 {
				h.Prompt = append(h.Prompt, inference.TokenID(b)-1)
			} else {
				h.Generated = append(h.Generated, inference.TokenID(b)-1)
			}
		}
		got := Sample(logits, &p, h, topK, uint32(len(ids)))
		want := reference(logits, &p, h)
		if got.ID == None {
			if want != nil {
				t.Fatalf("None, want one of %v", want)
			}
			return
		}
		if want == nil || int(got.ID) >= len(want) || !(got.Prob > 0 && got.Prob <= 1) {
			t.Fatalf("got %+v of %v", got, want)
		}
		// At the very edge of top-p or min-p rounding may let one id more in.
		if math.Abs(want[got.ID]-got.Prob) > 1e-6 && p.TopP == 0 && p.MinP == 0 {
			t.Fatalf("got %+v, want probability %v", got, want[got.ID])
		}
		for _, lp := range TopLogProbs(logits, 5) {
			if !(lp.LogProb <= 0) {
				t.Fatalf("NaN in log-probabilities of %v", logits)
			}
		}
	})
}

// TestChoicesAreThoseOfPlainGo: a token does not depend on the kernels.
func TestChoicesAreThoseOfPlainGo(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	for i := range 120 {
		row := make([]float32, []int{1, 17, 1000, 4099}[i%4])
		for j := range row {
			row[j] = float32(r.NormFloat64() * 4)
		}
		p := chiCases[i%len(chiCases)].p
		var want Choice
		var wantTop []LogProb
		for _, set := range device.Supported() {
			func() {
				defer device.UseKernels(set)()
				got, top := Sample(row, &p, History{Generated: []inference.TokenID{3, 3, 5}}, i, 0), TopLogProbs(row, 5)
				if set == device.Generic {
					want, wantTop = got, top
				}
				if got != want || !slices.Equal(top, wantTop) {
					t.Fatalf("%s, %+v: %+v, want %+v; top %v, want %v", set, p, got, want, top, wantTop)
				}
			}()
		}
	}
}

func BenchmarkSample(b *testing.B) {
	r := rand.New(rand.NewPCG(5, 6))
	row := make([]float32, 49152)
	for i := range row {
		row[i] = float32(r.NormFloat64() * 2)
	}
	for _, c := range []struct {
		name string
		p    Params
	}{
		{"greedy", Params{}},
		{"temperature", Params{Temperature: 1}},
		{"top-k=40", Params{Temperature: 1, TopK: 40}},
		{"top-p=0.9", Params{Temperature: 1, TopP: 0.9}},
		{"min-p=0.05", Params{Temperature: 1, MinP: 0.05}},
		{"top-k=40,top-p=0.9", Params{Temperature: 1, TopK: 40, TopP: 0.9}},
	} {
		for _, set := range device.Supported() {
			b.Run(c.name+"/impl="+set.String(), func(b *testing.B) {
				defer device.UseKernels(set)()
				var s Sampler
				position := 0
				for b.Loop() {
					position++
					s.Sample(row, &c.p, History{}, position, 0)
				}
			})
		}
	}
}

const pinnedBits = 0xf66a35fbaadbb073

var pinnedTokens = []inference.TokenID{448, 329, 697, 704, 858, 288, 774, 403}
