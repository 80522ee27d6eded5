package inference

import (
	"fmt"
	"strconv"
	"strings"
)

// Numerics is what a peer chooses of its arithmetic. Zero fields stand for the
// defaults.
type Numerics struct {
	Activations Activations
	KV          KVDType
}

// WithDefaults returns n with its zero fields filled in.
func (n Numerics) WithDefaults() Numerics {
	if n.Activations == 0 {
		n.Activations = DefaultActivations
	}
	if n.KV == 0 {
		n.KV = DefaultKV
	}
	return n
}

// Class returns the class of what CPUs compute with n, such as
// "cpu-int8-f16kv-v1".
func (n Numerics) Class() NumericsClass {
	n = n.WithDefaults()
	return NumericsClass(fmt.Sprintf("cpu-%s-%skv-v1", n.Activations, n.KV))
}

// Activations is the dtype in which activations meet quantised weights; weights
// of 16 and 32 bits always meet f32. It is part of the numerics class.
type Activations uint8

// The dtypes of activations. Int8 has a scale per row and 32 elements.
const (
	ActivationsInt8 Activations = 1
	ActivationsF32  Activations = 2

	// DefaultActivations lose little beside quantised weights, at several times
	// the speed of f32.
	DefaultActivations = ActivationsInt8
)

// String returns "int8" or "f32".
func (a Activations) String() string {
	switch a {
	case ActivationsInt8:
		return "int8"
	case ActivationsF32:
		return "f32"
	}
	return "activations " + strconv.Itoa(int(a))
}

// ParseActivations reads the form that String writes.
func ParseActivations(s string) (Activations, error) {
	for a := ActivationsInt8; a <= ActivationsF32; a++ {
		if a.String() == s {
			return a, nil
		}
	}
	return 0, fmt.Errorf("activations %q: want int8 or f32", s)
}

// KVDType is the dtype in which keys and values are kept between passes. It is
// part of the numerics class.
type KVDType uint8

// The KV dtypes. Q8 is int8 with a scale per position, head and 32 dimensions.
const (
	KVF16 KVDType = 1
	KVF32 KVDType = 2
	KVQ8  KVDType = 3

	// DefaultKV loses little beside quantised weights, in half the memory of f32.
	DefaultKV = KVF16
)

// String returns "f16", "f32" or "q8".
func (k KVDType) String() string {
	switch k {
	case KVF16:
		return "f16"
	case KVF32:
		return "f32"
	case KVQ8:
		return "q8"
	}
	return "kv dtype " + strconv.Itoa(int(k))
}

// Validate reports whether k is one of the KV dtypes.
func (k KVDType) Validate() error {
	if k < KVF16 || k > KVQ8 {
		return fmt.Errorf("%s: want f16, f32 or q8: %w", k, ErrInvalid)
	}
	return nil
}

// ParseKVDType reads the form that String writes.
func ParseKVDType(s string) (KVDType, error) {
	for k := KVF16; k <= KVQ8; k++ {
		if k.String() == s {
			return k, nil
		}
	}
	return 0, fmt.Errorf("KV dtype %q: want f16, f32 or q8", s)
}

// KV returns the dtype in which peers of class c keep keys and values, 0 for a
// class whose name has another form than [Numerics.Class] gives it.
func (c NumericsClass) KV() KVDType {
	for k := KVF16; k <= KVQ8; k++ {
		if strings.Contains(string(c), "-"+k.String()+"kv-") {
			return k
		}
	}
	return 0
}
