package pipeline

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/farlabs/inference/pipeline/wire"
)

func TestTimesOfHopsFitIntoTheStep(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		times []wire.HopTime
		took  time.Duration
		want  []time.Duration
	}{
		{nil, ms, []time.Duration{}},
		{[]wire.HopTime{{Wait: 1000, Compute: 2000}, {Compute: 4000}}, 10 * ms, []time.Duration{3 * ms, 4 * ms}},
		{[]wire.HopTime{{Compute: 11000}, {Compute: 4000}}, 10 * ms, []time.Duration{0, 4 * ms}},
		{[]wire.HopTime{{Compute: 10000}, {Wait: 9000, Compute: 1000}}, 10 * ms, []time.Duration{5 * ms, 5 * ms}},
		{[]wire.HopTime{{Wait: math.MaxUint32, Compute: 1001}}, 10 * ms, []time.Duration{0}},
	} {
		if got := credible(c.times, c.took); !slices.Equal(got, c.want) {
			t.Errorf("%v in %v: %v, want %v", c.times, c.took, got, c.want)
		}
	}
}
