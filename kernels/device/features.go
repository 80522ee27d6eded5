package device

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
)

// KernelSet names one way in which this program computes the ops of a CPU. All
// give the same bits.
type KernelSet uint8

// The sets, from the one that runs anywhere to the fastest.
const (
	Generic KernelSet = iota // plain Go
	AVX2                     // amd64 with AVX2, FMA and F16C
	AVX512                   // amd64 with AVX-512 F, BW, DQ, VL and VNNI, and what AVX2 wants
	numKernelSets
)

var kernelNames = [numKernelSets]string{"generic", "avx2", "avx512"}

// String returns "generic", "avx2" or "avx512".
func (s KernelSet) String() string {
	if s < numKernelSets {
		return kernelNames[s]
	}
	return fmt.Sprintf("kernel set %d", uint8(s))
}

// KernelsVar is the environment variable that chooses a set by its name; unset
// or empty: the fastest that runs here.
const KernelsVar = "FARLABS_KERNELS"

// KernelsFault says that KernelsVar names no set, or one that cannot run here.
type KernelsFault struct {
	Name      string      // as the variable says it
	Supported []KernelSet // what can run here
}

// Error implements error.
func (e *KernelsFault) Error() string {
	var names []string
	for _, s := range e.Supported {
		names = append(names, s.String())
	}
	why := "no such kernels"
	if slices.Contains(kernelNames[:], e.Name) {
		why = "this processor or build cannot run them"
	}
	return fmt.Sprintf("%s=%s: %s; here: %s", KernelsVar, e.Name, why, strings.Join(names, ", "))
}

// The set in use, and what was wrong with the choice.
var (
	kernels      atomic.Uint32
	kernelsFault error
)

func init() {
	var set KernelSet
	set, kernelsFault = choose(os.Getenv(KernelsVar), Supported())
	kernels.Store(uint32(set))
}

// choose returns the set of that name, or the last of those supported, and an
// error if there was a name that is not among them.
func choose(name string, supported []KernelSet) (KernelSet, error) {
	best := supported[len(supported)-1]
	if name == "" {
		return best, nil
	}
	for _, s := range supported {
		if s.String() == name {
			return s, nil
		}
	}
	return best, &KernelsFault{Name: name, Supported: supported}
}

// Kernels returns the set in use: what KernelsVar says, else the fastest that
// runs here. Ops ask once per call.
func Kernels() KernelSet { return KernelSet(kernels.Load()) }

// KernelsError returns a [*KernelsFault] when KernelsVar asked for what cannot
// be had. A program checks it before it serves; one that does not goes on with
// the fastest set.
func KernelsError() error { return kernelsFault }

// Supported returns the sets that this processor and build can run, Generic
// first, the fastest last.
func Supported() []KernelSet {
	sets := []KernelSet{Generic}
	avx2, avx512 := features()
	if avx2 {
		sets = append(sets, AVX2)
	}
	if avx2 && avx512 {
		sets = append(sets, AVX512)
	}
	return sets
}

// UseKernels changes the set in use until restore is called, for tests. No op
// may run meanwhile. It panics when set is not supported.
func UseKernels(set KernelSet) (restore func()) {
	if !slices.Contains(Supported(), set) {
		panic("device: " + set.String() + " kernels cannot run here")
	}
	was := kernels.Swap(uint32(set))
	return func() { kernels.Store(was) }
}
