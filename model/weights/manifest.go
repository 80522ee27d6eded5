package weights

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/kernels/tensor"
)

// MaxManifest bounds the text of a manifest, bytes.
const MaxManifest = 1 << 20

// Manifest names a model's contents by their hashes. Its text form, which is
// canonical, is what peers exchange; the SHA-256 of that text is the model's
// [inference.Digest], so that "sha256sum" of a manifest prints it:
//
//	far-manifest 1
//	config 1f6e…
//	tokenizer 90ab…
//	template 33c1…
//	tensor 5d02… F32 576 blk.0.attn_norm.weight
//	tensor e3b7… Q4_1 1536x576 blk.0.ffn_gate.weight
//
// ASCII but for tensor names, which are UTF-8 without blanks or control
// characters; one blank between fields; every line ends in "\n". Hashes are 64
// lower-case hexadecimal digits. Tensors ascend by the bytes of their name, each
// name once, at least one tensor. A tensor's hash is the SHA-256 of its packed
// bytes as they lie in the file, without padding; its dtype is spelt as GGUF
// does; its shape is decimal, outermost dimension first, joined by "x".
//
// The other three hash metadata. Every key-value pair of the file is encoded as
// in GGUF version 3, little-endian: length of the key (8 bytes), key, type of
// the value (4 bytes), value. A group's hash is the SHA-256 over the SHA-256 of
// each of its pairs, in ascending order of the keys' bytes:
//
//   - template: "tokenizer.chat_template", the keys that begin with
//     "tokenizer.chat_template.", and "tokenizer.chat_templates";
//   - tokenizer: every other key that begins with "tokenizer.";
//   - config: "general.architecture", "general.quantization_version" and every
//     key that begins with none of "tokenizer.", "general.", "split.",
//     "quantize.". Those that do describe the file, or say how it was made,
//     and change no result.
type Manifest struct {
	Config    [sha256.Size]byte
	Tokenizer [sha256.Size]byte
	Template  [sha256.Size]byte
	Tensors   []TensorSum // ascending by name
}

// TensorSum is one tensor in a manifest.
type TensorSum struct {
	Name  string
	DType tensor.DType
	Shape []int // outermost first: [out, in]
	Sum   [sha256.Size]byte
}

const manifestHead = "far-manifest 1\n"

// Marshal returns the canonical text.
func (m *Manifest) Marshal() []byte {
	b := []byte(manifestHead)
	for _, g := range m.groups() {
		b = append(b, g.name...)
		b = append(b, ' ')
		b = hex.AppendEncode(b, g.sum[:])
		b = append(b, '\n')
	}
	for i := range m.Tensors {
		t := &m.Tensors[i]
		b = append(b, "tensor "...)
		b = hex.AppendEncode(b, t.Sum[:])
		b = append(append(append(b, ' '), t.DType.String()...), ' ')
		for j, n := range t.Shape {
			if j > 0 {
				b = append(b, 'x')
			}
			b = strconv.AppendInt(b, int64(n), 10)
		}
		b = append(append(append(b, ' '), t.Name...), '\n')
	}
	return b
}

// Digest returns the identity of the model: the SHA-256 of Marshal.
func (m *Manifest) Digest() inference.Digest { return sha256.Sum256(m.Marshal()) }

// Size returns the bytes of all tensors.
func (m *Manifest) Size() (n int64) {
	for i := range m.Tensors {
		n += m.Tensors[i].Size()
	}
	return n
}

// Size returns the bytes of the tensor's data.
func (t *TensorSum) Size() int64 {
	n, err := packedSize(t.DType, t.Shape)
	if err != nil {
		return 0 // not from this package: parsed and built ones were checked
	}
	return n
}

// Tensor returns the tensor of that name.
func (m *Manifest) Tensor(name string) (t TensorSum, ok bool) {
	i, ok := slices.BinarySearchFunc(m.Tensors, name, func(t TensorSum, name string) int {
		return cmp.Compare(t.Name, name)
	})
	if !ok {
		return TensorSum{}, false
	}
	return m.Tensors[i], true
}

// VerifyTensor checks bytes of any origin against the manifest; the error is a
// *MismatchError.
func (m *Manifest) VerifyTensor(name string, data []byte) error {
	t, ok := m.Tensor(name)
	if !ok {
		return &MismatchError{Item: "tensor " + quote(name), Want: "no such tensor", Got: fmt.Sprintf("%d bytes", len(data))}
	}
	if int64(len(data)) != t.Size() {
		return &MismatchError{Item: "tensor " + quote(name), Want: fmt.Sprintf("%d bytes", t.Size()), Got: fmt.Sprintf("%d bytes", len(data))}
	}
	if sum := sha256.Sum256(data); sum != t.Sum {
		return sumMismatch("", name, t.Sum, sum)
	}
	return nil
}

func sumMismatch(path, name string, want, got [sha256.Size]byte) error {
	return &MismatchError{Path: path, Item: "tensor " + quote(name), Want: hex.EncodeToString(want[:]), Got: hex.EncodeToString(got[:])}
}

type group struct {
	name string
	sum  *[sha256.Size]byte
}

func (m *Manifest) groups() [3]group {
	return [3]group{{"config", &m.Config}, {"tokenizer", &m.Tokenizer}, {"template", &m.Template}}
}

// VerifyManifest parses text that came from a peer or a cache and checks that
// it is the manifest with the digest want.
func VerifyManifest(text []byte, want inference.Digest) (*Manifest, error) {
	if len(text) > MaxManifest {
		return nil, fmt.Errorf("manifest: %d bytes, at most %d are read", len(text), MaxManifest)
	}
	if got := inference.Digest(sha256.Sum256(text)); got != want {
		return nil, digestMismatch(want, got)
	}
	return ParseManifest(text)
}

// ParseManifest reads what Marshal writes, and nothing else: any other spelling
// of the same contents is an error. It keeps no part of text.
func ParseManifest(text []byte) (*Manifest, error) {
	if len(text) > MaxManifest {
		return nil, fmt.Errorf("manifest: %d bytes, at most %d are read", len(text), MaxManifest)
	}
	rest, ok := bytes.CutPrefix(text, []byte(manifestHead))
	if !ok {
		return nil, fmt.Errorf("manifest: does not begin with %q", strings.TrimSuffix(manifestHead, "\n"))
	}
	m, line := &Manifest{}, 1
	groups := m.groups()
	for len(rest) > 0 {
		var l []byte
		line++
		if l, rest, ok = bytes.Cut(rest, []byte("\n")); !ok {
			return nil, fmt.Errorf("manifest: line %d does not end", line)
		}
		var err error
		if line-2 < len(groups) {
			g := groups[line-2]
			err = parseGroup(string(l), g)
		} else {
			err = m.parseTensor(string(l))
		}
		if err != nil {
			return nil, fmt.Errorf("manifest: line %d: %w", line, err)
		}
	}
	if len(m.Tensors) == 0 {
		return nil, fmt.Errorf("manifest: no tensors")
	}
	if !bytes.Equal(m.Marshal(), text) {
		return nil, fmt.Errorf("manifest: not in its canonical form")
	}
	return m, nil
}

func parseGroup(line string, g group) error {
	digits, ok := strings.CutPrefix(line, g.name+" ")
	if !ok {
		return fmt.Errorf("want the hash of the %s", g.name)
	}
	return parseSum(g.sum, digits)
}

func (m *Manifest) parseTensor(line string) error {
	f := strings.Split(line, " ")
	if len(f) != 5 || f[0] != "tensor" {
		return fmt.Errorf("want tensor, hash, dtype, shape, name")
	}
	t := TensorSum{Name: f[4]}
	if !validName(t.Name) {
		return fmt.Errorf("name %s is not valid", quote(t.Name))
	}
	if n := len(m.Tensors); n > 0 && m.Tensors[n-1].Name >= t.Name {
		return fmt.Errorf("tensor %s does not ascend by name", quote(t.Name))
	}
	if err := parseSum(&t.Sum, f[1]); err != nil {
		return err
	}
	var err error
	if t.DType, err = tensor.ParseDType(f[2]); err != nil {
		return err
	}
	dims := strings.SplitN(f[3], "x", maxDims+1)
	for _, d := range dims {
		n, err := strconv.Atoi(d)
		if err != nil {
			return fmt.Errorf("shape %s is not valid", quote(f[3]))
		}
		t.Shape = append(t.Shape, n)
	}
	if _, err := packedSize(t.DType, t.Shape); err != nil {
		return fmt.Errorf("tensor %s: %w", quote(t.Name), err)
	}
	m.Tensors = append(m.Tensors, t)
	return nil
}

func parseSum(sum *[sha256.Size]byte, digits string) error {
	d, err := inference.ParseDigest(digits)
	if err != nil {
		return fmt.Errorf("hash %s: want 64 hexadecimal digits", quote(digits))
	}
	*sum = d
	return nil
}
