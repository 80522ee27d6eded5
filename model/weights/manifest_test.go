package weights

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/kernels/tensor"
	"github.com/farlabs/inference/model/weights/gguftest"
)

func manifestOf(t testing.TB, path string) *Manifest {
	t.Helper()
	m, err := openTest(t, path).Manifest(t.Context(), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestManifestEqualsTheIndependentConstruction(t *testing.T) {
	want, err := os.ReadFile("testdata/tiny.manifest")
	if err != nil {
		t.Fatal(err)
	}
	m := manifestOf(t, tiny)
	if got := m.Marshal(); !bytes.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if m.Digest() != inference.Digest(sha256.Sum256(want)) {
		t.Error("the digest is not the SHA-256 of the text")
	}
	p, err := VerifyManifest(want, m.Digest())
	if err != nil || p.Digest() != m.Digest() || p.Size() != m.Size() {
		t.Errorf("parsed: %v", err)
	}
	var mismatch *MismatchError
	if _, err := VerifyManifest(want, inference.Digest{}); !errors.As(err, &mismatch) || !strings.Contains(err.Error(), m.Digest().String()) {
		t.Errorf("another digest: %v", err)
	}
}

func TestDigestSeesEverythingThatChangesResultsAndNothingElse(t *testing.T) {
	meta := func(change ...any) map[string]any {
		m := map[string]any{
			"general.architecture": "llama", "general.name": "A", "llama.rope.freq_base": float32(1e4),
			"tokenizer.ggml.tokens": []string{"a", "b"}, "tokenizer.chat_template": "x",
		}
		for i := 0; i < len(change); i += 2 {
			m[change[i].(string)] = change[i+1]
		}
		return m
	}
	w := func(name string, v float32, shape ...int) gguftest.Tensor {
		return gguftest.F32(name, []float32{v, 2, 3, 4}, shape...)
	}
	a, b := w("a", 1, 2, 2), w("b", 5, 4)
	base := manifestOf(t, writeTest(t, meta(), a, b))
	group := func(m *Manifest) string {
		for i, g := range m.groups() {
			if *g.sum != *base.groups()[i].sum {
				return g.name
			}
		}
		return ""
	}
	asI32 := a
	asI32.DType = tensor.I32
	for _, c := range []struct {
		name    string
		meta    map[string]any
		tensors []gguftest.Tensor
		group   string
	}{
		{"a number of the configuration", meta("llama.rope.freq_base", float32(2e4)), []gguftest.Tensor{a, b}, "config"},
		{"a key that nobody knows", meta("llama.new", true), []gguftest.Tensor{a, b}, "config"},
		{"the architecture", meta("general.architecture", "gemma"), []gguftest.Tensor{a, b}, "config"},
		{"a token", meta("tokenizer.ggml.tokens", []string{"a", "c"}), []gguftest.Tensor{a, b}, "tokenizer"},
		{"tokens cut elsewhere", meta("tokenizer.ggml.tokens", []string{"ab", ""}), []gguftest.Tensor{a, b}, "tokenizer"},
		{"the template", meta("tokenizer.chat_template", "y"), []gguftest.Tensor{a, b}, "template"},
		{"a second template", meta("tokenizer.chat_template.tool_use", "y"), []gguftest.Tensor{a, b}, "template"},
		{"a weight", meta(), []gguftest.Tensor{w("a", 1.5, 2, 2), b}, ""},
		{"a name", meta(), []gguftest.Tensor{w("c", 1, 2, 2), b}, ""},
		{"a shape", meta(), []gguftest.Tensor{w("a", 1, 1, 4), b}, ""},
		{"a dtype", meta(), []gguftest.Tensor{asI32, b}, ""},
		{"a tensor less", meta(), []gguftest.Tensor{a}, ""},
		{"two tensors swapped", meta(), []gguftest.Tensor{w("a", 5, 2, 2), w("b", 1, 4)}, ""},
	} {
		m := manifestOf(t, writeTest(t, c.meta, c.tensors...))
		if m.Digest() == base.Digest() {
			t.Errorf("%s: same digest", c.name)
		}
		if got := group(m); got != c.group {
			t.Errorf("%s: the %q hash differs, want %q", c.name, got, c.group)
		}
	}
	for name, m := range map[string]*Manifest{
		"the title":       manifestOf(t, writeTest(t, meta("general.name", "B", "quantize.imatrix.file", "f"), a, b)),
		"the file's form": manifestOf(t, writeTest(t, meta("general.alignment", uint32(4096), "split.count", uint16(1)), b, a)),
	} {
		if m.Digest() != base.Digest() {
			t.Errorf("%s changed the digest", name)
		}
	}
}

func TestParseManifestRefusesAllButTheCanonicalForm(t *testing.T) {
	good := string(manifestOf(t, tiny).Marshal())
	lines := strings.SplitAfter(good, "\n")
	lines = lines[:len(lines)-1]
	join := func(l ...string) string { return strings.Join(l, "") }
	swapped := slices.Clone(lines)
	swapped[5], swapped[6] = swapped[6], swapped[5]
	for name, text := range map[string]string{
		"empty":             "",
		"head only":         lines[0],
		"no tensors":        join(lines[:4]...),
		"another version":   strings.Replace(good, "manifest 1", "manifest 2", 1),
		"no last newline":   strings.TrimSuffix(good, "\n"),
		"trailing line":     good + "\n",
		"carriage returns":  strings.ReplaceAll(good, "\n", "\r\n"),
		"group missing":     join(lines[0], lines[2], lines[3], lines[4]),
		"groups swapped":    join(lines[0], lines[2], lines[1], lines[3], lines[4]),
		"upper-case hash":   join(lines[0], "config "+strings.ToUpper(strings.Fields(lines[1])[1])+"\n", join(lines[2:]...)),
		"short hash":        strings.Replace(good, "tensor 8", "tensor ", 1),
		"order":             join(swapped...),
		"twice":             join(join(lines[:5]...), lines[4]),
		"two blanks":        strings.Replace(good, " F32 ", "  F32 ", 1),
		"unknown dtype":     strings.Replace(good, " F32 ", " F33 ", 1),
		"leading zero":      strings.Replace(good, " F32 63 ", " F32 063 ", 1),
		"sign":              strings.Replace(good, " F32 63 ", " F32 +63 ", 1),
		"zero":              strings.Replace(good, " F32 63 ", " F32 0 ", 1),
		"negative":          strings.Replace(good, " F32 63 ", " F32 -63 ", 1),
		"overflow":          strings.Replace(good, " F32 63 ", " F32 9999999999x9999999999x9999999999 ", 1),
		"dimensions":        strings.Replace(good, " F32 63 ", " F32 1x1x1x1x63 ", 1),
		"part of a block":   strings.Replace(good, " Q8_0 5x64 ", " Q8_0 5x65 ", 1),
		"control character": strings.Replace(good, "blk.0.ffn_up", "blk.0.\x7fffn_up", 1),
		"not UTF-8":         strings.Replace(good, "blk.0.ffn_up", "blk.0.\xffffn_up", 1),
		"too long":          good + strings.Repeat("x", MaxManifest),
	} {
		if text == good {
			t.Errorf("%s: the test changes nothing", name)
		}
		if _, err := ParseManifest([]byte(text)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestManifestBeyondTheLimitIsRefusedBeforeHashing(t *testing.T) {
	var tensors []gguftest.Tensor
	for i := range MaxManifest / 160 {
		tensors = append(tensors, gguftest.F32(fmt.Sprintf("%s.%06d", strings.Repeat("n", 90), i), []float32{1}, 1))
	}
	c := openTest(t, writeTest(t, nil, tensors...))
	_, err := c.Manifest(t.Context(), "", func(int64, int64) { t.Fatal("hashing") })
	if err == nil || !strings.Contains(err.Error(), "tensors make a manifest") {
		t.Error(err)
	}
	if _, err := openTest(t, writeTest(t, nil)).Manifest(t.Context(), "", nil); err == nil || !strings.Contains(err.Error(), "no tensors") {
		t.Error(err)
	}
}

func TestVerifyTensorAcceptsOnlyItsBytes(t *testing.T) {
	m, c := manifestOf(t, tiny), openTest(t, tiny)
	for _, x := range m.Tensors {
		data, err := c.Data(x.Name)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.VerifyTensor(x.Name, data); err != nil {
			t.Error(err)
		}
		wrong := slices.Clone(data)
		wrong[len(wrong)-1] ^= 1
		var mismatch *MismatchError
		for _, b := range [][]byte{wrong, data[:len(data)-1], nil} {
			if err := m.VerifyTensor(x.Name, b); !errors.As(err, &mismatch) || !strings.Contains(err.Error(), x.Name) {
				t.Errorf("%s: %v", x.Name, err)
			}
		}
	}
	if err := m.VerifyTensor("nonsense", nil); err == nil {
		t.Error("unknown tensor accepted")
	}
}

func FuzzParseManifest(f *testing.F) {
	f.Add(must(os.ReadFile("testdata/tiny.manifest")))
	f.Add([]byte(manifestHead))
	f.Add([]byte(manifestHead + "config 00\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := ParseManifest(text)
		if err != nil {
			return
		}
		if !bytes.Equal(m.Marshal(), text) || m.Size() <= 0 {
			t.Fatal("accepted text that is not canonical")
		}
		for _, x := range m.Tensors {
			if _, ok := m.Tensor(x.Name); !ok {
				t.Fatalf("%q is not found", x.Name)
			}
		}
	})
}
