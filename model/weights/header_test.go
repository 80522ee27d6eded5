package weights

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/farlabs/inference/kernels/quant"
	"github.com/farlabs/inference/kernels/tensor"
	"github.com/farlabs/inference/model/weights/gguftest"
)

const tiny = "testdata/tiny.gguf"

func openTest(t testing.TB, path string) *Checkpoint {
	t.Helper()
	c, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// writeTest writes a GGUF file whose clock has settled.
func writeTest(t testing.TB, meta map[string]any, tensors ...gguftest.Tensor) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "test.gguf")
	if err := gguftest.Write(path, meta, tensors); err != nil {
		t.Fatal(err)
	}
	settle(t, path)
	return path
}

func TestOpenReadsWhatTheReferenceWrote(t *testing.T) {
	b, err := os.ReadFile("testdata/tiny.json")
	if err != nil {
		t.Fatal(err)
	}
	var want struct {
		Meta    map[string]json.RawMessage
		Tensors map[string]struct {
			DType string
			Shape []int
			Sum   string
		}
	}
	if err := json.Unmarshal(b, &want); err != nil {
		t.Fatal(err)
	}
	c := openTest(t, tiny)
	if c.Path() != tiny || len(c.Keys()) != len(want.Meta) || len(c.Tensors()) != len(want.Tensors) {
		t.Fatalf("%d keys, %d tensors, want %d and %d", len(c.Keys()), len(c.Tensors()), len(want.Meta), len(want.Tensors))
	}
	for key, value := range want.Meta {
		if got := anyValue(c, key); !sameJSON(got, value) {
			t.Errorf("%s = %v, want %s", key, got, value)
		}
	}
	for name, w := range want.Tensors {
		x, ok := c.Tensor(name)
		if !ok || x.DType.String() != w.DType || !slices.Equal(x.Shape, w.Shape) {
			t.Fatalf("%s: %+v, want %+v", name, x, w)
		}
		raw, err := c.Data(name)
		if err != nil {
			t.Fatal(err)
		}
		n := 1
		for _, d := range x.Shape {
			n *= d
		}
		values := make([]float32, n)
		if err := quant.Dequantize(values, x.DType, raw); err != nil {
			t.Fatal(err)
		}
		var sum float64
		for _, v := range values {
			sum += float64(v)
		}
		if ref, err := strconv.ParseFloat(w.Sum, 64); err != nil || math.Abs(sum-ref) > 1e-9 {
			t.Errorf("%s: sum %v, want %v (%v)", name, sum, ref, err)
		}
	}
}

// anyValue asks every getter; exactly one may answer.
func anyValue(c *Checkpoint, key string) any {
	var found []any
	add := func(v any, ok bool) {
		if ok {
			found = append(found, v)
		}
	}
	s, ok := c.String(key)
	add(s, ok)
	u, ok := c.Uint(key)
	add(u, ok)
	f, ok := c.Float(key)
	add(f, ok)
	b, ok := c.Bool(key)
	add(b, ok)
	ss, ok := c.Strings(key)
	add(ss, ok)
	is, ok := c.Ints(key)
	add(is, ok)
	fs, ok := c.Floats(key)
	add(fs, ok)
	bs, ok := c.Bools(key)
	add(bs, ok)
	if len(found) != 1 {
		return found
	}
	return found[0]
}

func sameJSON(got any, want json.RawMessage) bool {
	if list, ok := got.([]any); ok && len(list) == 0 {
		return bytes.HasPrefix(want, []byte("-")) // Uint alone reads scalars, and no negative ones
	}
	b, err := json.Marshal(got)
	var x, y any
	return err == nil && json.Unmarshal(b, &x) == nil && json.Unmarshal(want, &y) == nil &&
		string(must(json.Marshal(x))) == string(must(json.Marshal(y)))
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestUintReadsEveryIntegerKindAndRefusesNegatives(t *testing.T) {
	c := openTest(t, writeTest(t, map[string]any{
		"a": uint8(255), "b": int8(1), "c": uint16(65535), "d": int16(2), "e": uint32(1 << 31),
		"f": int32(3), "g": uint64(math.MaxUint64), "h": int64(4),
		"n": int32(-1), "x": float32(1), "y": []uint64{math.MaxUint64}, "z": []string{},
	}, gguftest.F32("w", []float32{1}, 1)))
	want := map[string]uint64{"a": 255, "b": 1, "c": 65535, "d": 2, "e": 1 << 31, "f": 3, "g": math.MaxUint64, "h": 4}
	for key, w := range want {
		if got, ok := c.Uint(key); !ok || got != w {
			t.Errorf("%s = %d, %v", key, got, ok)
		}
	}
	for _, key := range []string{"n", "x", "y", "absent"} {
		if got, ok := c.Uint(key); ok {
			t.Errorf("%s = %d", key, got)
		}
	}
	if _, ok := c.Ints("y"); ok {
		t.Error("a number beyond int64 was read as one")
	}
	if s, ok := c.Strings("z"); !ok || len(s) != 0 {
		t.Error("an empty array is an array")
	}
}

// valid returns the bytes of a small file that opens, with tensors "a" and "b".
func valid(t testing.TB) []byte {
	t.Helper()
	r := rand.New(rand.NewPCG(3, 4))
	b, err := gguftest.Encode(map[string]any{"general.architecture": "llama", "x.n": uint32(7), "x.s": []string{"p", "", "q"}, "x.i": []int32{1, 2}},
		[]gguftest.Tensor{gguftest.Random(r, "a", tensor.Q8_0, 1, 2, 32), gguftest.F32("b", make([]float32, 8), 8)})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func parseBytes(b []byte) (*header, error) {
	return parseHeader("test.gguf", bytes.NewReader(b), int64(len(b)))
}

func TestEveryTruncationIsAnErrorThatNamesTheFile(t *testing.T) {
	b := valid(t)
	if _, err := parseBytes(b); err != nil {
		t.Fatal(err)
	}
	for n := range len(b) {
		_, err := parseBytes(b[:n])
		var format *FormatError
		if !errors.As(err, &format) || format.Path != "test.gguf" {
			t.Fatalf("cut to %d of %d bytes: %v", n, len(b), err)
		}
	}
}

// patch returns b with the bytes that follow the first occurrence of mark
// (skipping skip more) replaced.
func patch(t *testing.T, b []byte, mark string, skip int, value any) []byte {
	t.Helper()
	i := bytes.Index(b, []byte(mark))
	if i < 0 {
		t.Fatalf("no %q", mark)
	}
	i += len(mark) + skip
	out := slices.Clone(b)
	n, err := binary.Encode(out[i:], binary.LittleEndian, value)
	if err != nil || n == 0 {
		t.Fatal(err)
	}
	return out
}

func TestHostileHeadersAreRefusedByName(t *testing.T) {
	b := valid(t)
	tensorA, tensorB := "\x01\x00\x00\x00\x00\x00\x00\x00a", "\x01\x00\x00\x00\x00\x00\x00\x00b"
	// After a tensor's name: dims 4, 8 per dim, type 4, offset 8.
	for name, c := range map[string]struct {
		file []byte
		want string
	}{
		"magic":             {patch(t, b, "", 0, uint32(0x67677566)), "not a GGUF file"},
		"version":           {patch(t, b, "GGUF", 0, uint32(1)), "version 1"},
		"big-endian":        {patch(t, b, "GGUF", 0, uint32(3<<24)), "big-endian"},
		"tensor count":      {patch(t, b, "GGUF", 4, uint64(math.MaxUint64)), "tensors, at most"},
		"one tensor more":   {patch(t, b, "GGUF", 4, uint64(3)), "tensor"},
		"pair count":        {patch(t, b, "GGUF", 12, uint64(math.MaxUint64)), "metadata keys, at most"},
		"key length":        {patch(t, b, "GGUF", 20, uint64(math.MaxUint64)), "key 0"},
		"key beyond file":   {patch(t, b, "GGUF", 20, uint64(60000)), "truncated"},
		"value type":        {patch(t, b, "x.n", 0, uint32(13)), `key "x.n": unknown value type 13`},
		"string length":     {patch(t, b, "general.architecture", 4, uint64(1<<62)), `key "general.architecture": string of`},
		"string beyond end": {patch(t, b, "general.architecture", 4, uint64(1<<20)), `key "general.architecture": truncated`},
		"array length":      {patch(t, b, "x.i", 8, uint64(1<<63)), `key "x.i": array of`},
		"array beyond end":  {patch(t, b, "x.i", 8, uint64(1<<20)), `key "x.i": truncated`},
		"strings beyond":    {patch(t, b, "x.s", 8, uint64(1<<20)), `key "x.s": truncated`},
		"nested array":      {patch(t, b, "x.i", 4, uint32(9)), `key "x.i": arrays of arrays`},
		"duplicate key":     {patch(t, b, "x.s", -1, uint8('n')), `key "x.n": appears twice`},
		"key not UTF-8":     {patch(t, b, "x.s", -1, uint8(0xff)), "not a valid key"},
		"no dimensions":     {patch(t, b, tensorA, 0, uint32(0)), `tensor "a": 0 dimensions`},
		"five dimensions":   {patch(t, b, tensorA, 0, uint32(5)), `tensor "a": 5 dimensions`},
		"empty dimension":   {patch(t, b, tensorA, 4, uint64(0)), `tensor "a": dimension of 0`},
		"huge dimension":    {patch(t, b, tensorA, 4, uint64(1<<63)), `tensor "a": dimension of`},
		"overflowing shape": {patch(t, patch(t, b, tensorA, 4, uint64(1<<31-32)), tensorA, 12, uint64(1<<31-1)), `tensor "a": impossible shape`},
		"part of a block":   {patch(t, b, tensorA, 4, uint64(33)), `tensor "a": rows of 33`},
		"offset overflow":   {patch(t, b, tensorA, 24, uint64(math.MaxUint64)), `tensor "a": truncated`},
		"offset beyond":     {patch(t, b, tensorA, 24, uint64(1<<20)), `tensor "a": truncated`},
		"offset unaligned":  {patch(t, b, tensorA, 24, uint64(4)), `tensor "a": offset 4 is not aligned`},
		"overlap":           {patch(t, b, tensorB, 16, uint64(32)), `tensor "b": overlaps tensor "a"`},
		"same offset":       {patch(t, b, tensorB, 16, uint64(0)), `tensor "b": overlaps tensor "a"`},
		"duplicate tensor":  {patch(t, b, tensorB, -1, uint8('a')), `tensor "a": appears twice`},
		"name with newline": {patch(t, b, tensorB, -1, uint8('\n')), `not a valid name`},
		"name length":       {patch(t, b, tensorB, -9, uint64(maxName+1)), "string of 129 bytes"},
	} {
		_, err := parseBytes(c.file)
		var format *FormatError
		if !errors.As(err, &format) || !strings.HasPrefix(err.Error(), "test.gguf: ") || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestUnreadTypesAreNamed(t *testing.T) {
	b := valid(t)
	for number, name := range map[uint32]string{9: "Q8_1", 10: "Q2_K", 20: "IQ4_NL", 39: "MXFP4", 999: "number 999"} {
		file := patch(t, b, "\x01\x00\x00\x00\x00\x00\x00\x00a", 20, number)
		_, err := parseBytes(file)
		var unread *TypeError
		if !errors.As(err, &unread) || unread.Tensor != "a" || unread.Type != number || !strings.Contains(err.Error(), `tensor "a": type `+name) {
			t.Errorf("%d: %v", number, err)
		}
	}
}

func TestMetadataThatDecideTheLayoutAreChecked(t *testing.T) {
	w := gguftest.F32("w", make([]float32, 8), 8)
	for _, c := range []struct {
		meta map[string]any
		want string // "" = opens
	}{
		{map[string]any{"general.alignment": uint32(4096)}, ""},
		{map[string]any{"general.alignment": uint32(8)}, ""},
		{map[string]any{"general.alignment": uint32(0)}, `key "general.alignment": 0`},
		{map[string]any{"general.alignment": uint32(48)}, `key "general.alignment": 48`},
		{map[string]any{"general.alignment": uint32(1)}, `key "general.alignment": 1`},
		{map[string]any{"general.alignment": "32"}, `key "general.alignment": want`},
		{map[string]any{"split.count": uint16(1)}, ""},
		{map[string]any{"split.count": uint16(4)}, `key "split.count": one of 4 parts`},
		{map[string]any{"b": uint8(2)}, ""},
	} {
		b, err := gguftest.Encode(c.meta, []gguftest.Tensor{w})
		if err != nil {
			t.Fatal(err)
		}
		_, err = parseBytes(b)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%v: %v", c.meta, err)
		}
	}
	b, err := gguftest.Encode(map[string]any{"b": true}, []gguftest.Tensor{w})
	if err != nil {
		t.Fatal(err)
	}
	b = patch(t, b, "b\x07\x00\x00\x00", 0, uint8(2))
	if _, err := parseBytes(b); err == nil || !strings.Contains(err.Error(), `key "b": truth value 2`) {
		t.Error(err)
	}
}

// hollow is a file of zeros after its first bytes: hostile counts may claim it.
type hollow struct {
	head []byte
	read int64
}

func (h *hollow) ReadAt(b []byte, off int64) (int, error) {
	clear(b)
	if off < int64(len(h.head)) {
		copy(b, h.head[off:])
	}
	h.read += int64(len(b))
	return len(b), nil
}

func TestHeaderOfAHugeSparseFileIsBounded(t *testing.T) {
	const n = 1 << 18 // empty strings: 2 MiB of zeros
	head := []byte("GGUF\x03\x00\x00\x00")
	head = binary.LittleEndian.AppendUint64(head, 0)
	head = binary.LittleEndian.AppendUint64(head, 1)
	head = binary.LittleEndian.AppendUint64(head, 1)
	head = append(head, 'k', 9, 0, 0, 0, 8, 0, 0, 0)
	file := &hollow{head: binary.LittleEndian.AppendUint64(slices.Clip(head), n)}
	if _, err := parseHeader("sparse", file, 1<<40); err != nil {
		t.Fatal(err)
	}
	if file.read > 8*n+1<<17 {
		t.Errorf("read %d bytes", file.read)
	}
	file = &hollow{head: binary.LittleEndian.AppendUint64(slices.Clip(head), maxElements+1)}
	if _, err := parseHeader("sparse", file, 1<<40); err == nil || !strings.Contains(err.Error(), "array of") {
		t.Error(err)
	}
	r := &reader{path: "sparse", size: 1 << 40, off: maxHeader - 1}
	if err := r.need(2); err == nil || !strings.Contains(err.Error(), "header beyond") {
		t.Error(err)
	}
}

func TestOpenNamesTheFileInEveryError(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty.gguf")
	if err := os.WriteFile(empty, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(dir, "absent.gguf"), dir, empty} {
		if c, err := Open(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v %v", path, c, err)
		}
	}
}

func FuzzOpen(f *testing.F) {
	b := valid(f)
	f.Add(b)
	f.Add(b[:len(b)/2])
	f.Add(must(os.ReadFile(tiny)))
	f.Add([]byte("GGUF\x03\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := parseBytes(b)
		if err != nil {
			if !strings.Contains(err.Error(), "test.gguf") {
				t.Errorf("error does not name the file: %v", err)
			}
			return
		}
		c := &Checkpoint{meta: h.meta, tensors: h.tensors}
		for _, key := range c.Keys() {
			anyValue(c, key)
		}
		end := int64(0)
		for _, x := range h.tensors {
			if x.Offset < end || x.Offset+x.Size > int64(len(b)) || x.Size <= 0 {
				t.Fatalf("%+v lies outside the file or over another", x)
			}
			end = x.Offset + x.Size
		}
		if m := c.headerSums(); len(m.Tensors) > 0 {
			if _, err := ParseManifest(m.Marshal()); err != nil && len(m.Marshal()) <= MaxManifest {
				t.Fatalf("a file that opens has no valid manifest: %v", err)
			}
		}
	})
}
