// Package gguftest writes small GGUF files for tests: [Write] to a path,
// [Encode] to memory, from metadata and tensors whose bytes are already packed.
// [Random] makes a tensor of any dtype with seeded random weights, [F32] one
// with given values.
//
// It is the inverse of package weights and shares no code with it, so that each
// checks the other. It knows nothing of architectures, and no program imports it.
package gguftest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"

	"github.com/farlabs/inference/kernels/quant"
	"github.com/farlabs/inference/kernels/tensor"
)

// Alignment of tensor data where the metadata do not set general.alignment.
const Alignment = 32

// Tensor is one tensor to write.
type Tensor struct {
	Name  string
	DType tensor.DType
	Shape []int  // outermost first: [out, in]
	Data  []byte // packed elements; Write does not check their number
}

// Write writes a GGUF v3 file. Values of meta are bool, string, any fixed-size
// integer, float32, float64, or slices of those; keys are written in ascending
// order, tensors in the order given.
func Write(path string, meta map[string]any, tensors []Tensor) error {
	b, err := Encode(meta, tensors)
	if err != nil {
		return err
	}
	return os.WriteFile(path, b, 0o644)
}

// Encode returns the bytes that Write writes.
func Encode(meta map[string]any, tensors []Tensor) ([]byte, error) {
	align := Alignment
	if v, ok := meta["general.alignment"].(uint32); ok {
		align = max(1, int(v)) // a test of readers may well say 0
	}
	b := []byte("GGUF")
	b = binary.LittleEndian.AppendUint32(b, 3)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(tensors)))
	b = binary.LittleEndian.AppendUint64(b, uint64(len(meta)))
	for _, key := range slices.Sorted(maps.Keys(meta)) {
		b = appendString(b, key)
		var err error
		if b, err = appendValue(b, meta[key]); err != nil {
			return nil, fmt.Errorf("key %q: %w", key, err)
		}
	}
	offset := 0
	for _, t := range tensors {
		ggml, ok := types[t.DType]
		if !ok {
			return nil, fmt.Errorf("tensor %q: %s has no GGUF type", t.Name, t.DType)
		}
		b = appendString(b, t.Name)
		b = binary.LittleEndian.AppendUint32(b, uint32(len(t.Shape)))
		for _, n := range slices.Backward(t.Shape) {
			b = binary.LittleEndian.AppendUint64(b, uint64(n))
		}
		b = binary.LittleEndian.AppendUint32(b, ggml)
		b = binary.LittleEndian.AppendUint64(b, uint64(offset))
		offset = roundUp(offset+len(t.Data), align)
	}
	b = pad(b, align)
	for _, t := range tensors {
		b = pad(append(b, t.Data...), align)
	}
	return b, nil
}

var types = map[tensor.DType]uint32{
	tensor.F32: 0, tensor.F16: 1, tensor.Q4_0: 2, tensor.Q4_1: 3, tensor.Q5_0: 6, tensor.Q5_1: 7,
	tensor.Q8_0: 8, tensor.Q4_K: 12, tensor.Q5_K: 13, tensor.Q6_K: 14, tensor.I32: 26, tensor.BF16: 30,
}

func roundUp(n, align int) int { return (n + align - 1) / align * align }

func pad(b []byte, align int) []byte {
	return append(b, make([]byte, roundUp(len(b), align)-len(b))...)
}

func appendString(b []byte, s string) []byte {
	return append(binary.LittleEndian.AppendUint64(b, uint64(len(s))), s...)
}

// appendValue writes the value's type and the value.
func appendValue(b []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case string:
		return appendString(binary.LittleEndian.AppendUint32(b, 8), v), nil
	case []string:
		b = binary.LittleEndian.AppendUint32(b, 9)
		b = binary.LittleEndian.AppendUint32(b, 8)
		b = binary.LittleEndian.AppendUint64(b, uint64(len(v)))
		for _, s := range v {
			b = appendString(b, s)
		}
		return b, nil
	}
	if kind, ok := scalarKind(v); ok {
		return binary.Append(binary.LittleEndian.AppendUint32(b, kind), binary.LittleEndian, v)
	}
	kind, n, ok := arrayKind(v)
	if !ok {
		return nil, fmt.Errorf("a %T is no GGUF value", v)
	}
	b = binary.LittleEndian.AppendUint32(b, 9)
	b = binary.LittleEndian.AppendUint32(b, kind)
	b = binary.LittleEndian.AppendUint64(b, uint64(n))
	return binary.Append(b, binary.LittleEndian, v)
}

func scalarKind(v any) (uint32, bool) {
	switch v.(type) {
	case uint8:
		return 0, true
	case int8:
		return 1, true
	case uint16:
		return 2, true
	case int16:
		return 3, true
	case uint32:
		return 4, true
	case int32:
		return 5, true
	case float32:
		return 6, true
	case bool:
		return 7, true
	case uint64:
		return 10, true
	case int64:
		return 11, true
	case float64:
		return 12, true
	}
	return 0, false
}

func arrayKind(v any) (kind uint32, n int, ok bool) {
	switch v := v.(type) {
	case []uint8:
		return 0, len(v), true
	case []int8:
		return 1, len(v), true
	case []uint16:
		return 2, len(v), true
	case []int16:
		return 3, len(v), true
	case []uint32:
		return 4, len(v), true
	case []int32:
		return 5, len(v), true
	case []float32:
		return 6, len(v), true
	case []bool:
		return 7, len(v), true
	case []uint64:
		return 10, len(v), true
	case []int64:
		return 11, len(v), true
	case []float64:
		return 12, len(v), true
	}
	return 0, 0, false
}

// F32 returns an F32 tensor with the given values.
func F32(name string, values []float32, shape ...int) Tensor {
	var b bytes.Buffer
	for _, v := range values {
		b.Write(binary.LittleEndian.AppendUint32(nil, math.Float32bits(v)))
	}
	return Tensor{Name: name, DType: tensor.F32, Shape: shape, Data: b.Bytes()}
}

// Q8_0 returns an F32 tensor, its rows whole blocks of 32, rounded to Q8_0.
func Q8_0(t Tensor) Tensor {
	const block = 32
	var b []byte
	for raw := t.Data; len(raw) > 0; raw = raw[4*block:] {
		var x [block]float32
		var most float32
		for i := range x {
			x[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
			most = max(most, x[i], -x[i])
		}
		scale := quant.F16ToF32(quant.F32ToF16(most / 127))
		b = binary.LittleEndian.AppendUint16(b, quant.F32ToF16(scale))
		for _, v := range x {
			q := 0.0
			if scale > 0 {
				q = math.RoundToEven(float64(v / scale))
			}
			b = append(b, byte(int8(max(-127, min(127, q)))))
		}
	}
	return Tensor{Name: t.Name, DType: tensor.Q8_0, Shape: t.Shape, Data: b}
}
