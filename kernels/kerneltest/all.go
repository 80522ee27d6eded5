package kerneltest

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/farlabs/inference/kernels/device"
)

// Implementation is one way to compute ops.
type Implementation struct {
	Name    string
	Ops     []string      // "matmul", … ; nil: all
	Missing func() string // why this machine cannot run it; "" if it can
	Use     func() (restore func())
}

// registry lists the implementations; other devices will join here.
var registry = []Implementation{ofSet(device.Generic), ofSet(device.AVX2), ofSet(device.AVX512)}

// ofSet is the implementation of every op by a kernel set.
func ofSet(set device.KernelSet) Implementation {
	return Implementation{
		Name: set.String(),
		Missing: func() string {
			if !slices.Contains(device.Supported(), set) {
				return "this processor or build cannot run it"
			}
			return ""
		},
		Use: func() func() { return device.UseKernels(set) },
	}
}

// All runs f as a subtest on each implementation of op. Hardware that is
// missing skips, unless FARLABS_EXPECT, a list with commas, promised its name.
// FARLABS_KERNELS, a name, limits the run to one implementation. Subtests of
// f must not outlive it (no t.Parallel): the implementation is process-wide.
func All(t *testing.T, op string, f func(t *testing.T, impl string)) {
	t.Helper()
	run(t, registry, os.Getenv("FARLABS_KERNELS"), os.Getenv("FARLABS_EXPECT"), op, f)
}

// Generic calls f with the plain Go kernels: what every other set must equal.
func Generic(f func()) {
	defer device.UseKernels(device.Generic)()
	f()
}

// EachSet calls f with each kernel set that runs here, Generic first: for a
// fuzz target, which has no subtests. f gets the set's name.
func EachSet(f func(impl string)) {
	for _, set := range device.Supported() {
		func() {
			defer device.UseKernels(set)()
			f(set.String())
		}()
	}
}

func run(t *testing.T, registry []Implementation, only, expect, op string, f func(t *testing.T, impl string)) {
	t.Helper()
	if only != "" && !slices.ContainsFunc(registry, func(i Implementation) bool { return i.Name == only }) {
		t.Fatalf("FARLABS_KERNELS=%s: no such implementation", only)
	}
	for _, i := range registry {
		if only != "" && only != i.Name || i.Ops != nil && !slices.Contains(i.Ops, op) {
			continue
		}
		t.Run(i.Name, func(t *testing.T) {
			if why := i.Missing(); why != "" {
				if slices.Contains(strings.Split(expect, ","), i.Name) {
					t.Fatalf("expected here, but %s", why)
				}
				t.Skip(why)
			}
			defer i.Use()()
			f(t, i.Name)
		})
	}
}
