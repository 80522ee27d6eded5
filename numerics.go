package inference

import (
	"fmt"
	"strconv"
)

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
