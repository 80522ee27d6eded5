package device

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestTheFastestSetIsChosenUnlessAnotherIsNamed(t *testing.T) {
	three := []KernelSet{Generic, AVX2, AVX512}
	for _, c := range []struct {
		name      string
		supported []KernelSet
		want      KernelSet
		fault     string
	}{
		{"", three, AVX512, ""},
		{"", three[:1], Generic, ""},
		{"generic", three, Generic, ""},
		{"avx2", three, AVX2, ""},
		{"avx512", three[:2], AVX2, "FARLABS_KERNELS=avx512: this processor or build cannot run them; here: generic, avx2"},
		{"AVX2", three, AVX512, "FARLABS_KERNELS=AVX2: no such kernels; here: generic, avx2, avx512"},
	} {
		set, err := choose(c.name, c.supported)
		var fault *KernelsFault
		if set != c.want || (err != nil) != (c.fault != "") || err != nil && (!errors.As(err, &fault) || err.Error() != c.fault) {
			t.Errorf("%q of %v: %v, %v", c.name, c.supported, set, err)
		}
	}
}

func TestSupportedSetsBeginWithGeneric(t *testing.T) {
	s := Supported()
	if s[0] != Generic || !slices.IsSorted(s) || !slices.Contains(s, Kernels()) {
		t.Errorf("supported %v, in use %v", s, Kernels())
	}
	if KernelsError() != nil {
		t.Error(KernelsError())
	}
}

func TestUseKernelsIsUndone(t *testing.T) {
	was := Kernels()
	for _, s := range Supported() {
		restore := UseKernels(s)
		if Kernels() != s {
			t.Errorf("%v in use, want %v", Kernels(), s)
		}
		restore()
		if Kernels() != was {
			t.Errorf("%v in use after restore, want %v", Kernels(), was)
		}
	}
	defer func() {
		if p := recover(); p == nil || !strings.Contains(p.(string), "kernel set 9") {
			t.Errorf("recovered %v", p)
		}
	}()
	UseKernels(9)
}
