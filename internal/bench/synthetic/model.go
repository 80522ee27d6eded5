package synthetic

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/farlabs/inference/kernels/tensor"
)

// Model is the shape of a Llama and how its matrices are packed.
type Model struct {
	Name                                            string
	Hidden, Layers, Heads, KVHeads, FFN, Vocab, Ctx int
	Matrices, Head                                  tensor.DType // Head: of the output matrix
	FileType                                        uint32       // general.file_type, as llama.cpp numbers the mixtures
	SHA256                                          string       // of the file; "": not pinned
}

// The 1.1B models, packed as llama-quantize packs Q8_0 and Q4_0.
var (
	Llama1BQ8 = llama1B("q8_0", tensor.Q8_0, tensor.Q8_0, 7, "9aae281d06571683374e82a7af418c225adb90a5721a1b8b3500370b768da936")
	Llama1BQ4 = llama1B("q4_0", tensor.Q4_0, tensor.Q6_K, 2, "3b98ef7ce33fe428100cd79fe6ddb03c6b8f4fb75af68937551fa1d7326c7f8c")
)

func llama1B(variant string, matrices, head tensor.DType, fileType uint32, sha string) Model {
	return Model{
		Name: "synthetic-1.1b." + variant, Hidden: 2048, Layers: 22, Heads: 32, KVHeads: 4, FFN: 5632, Vocab: 32000, Ctx: 8192,
		Matrices: matrices, Head: head, FileType: fileType, SHA256: sha,
	}
}

// weight is one tensor of the file.
type weight struct {
	name  string
	dtype tensor.DType
	in    int // of a row
	out   int // rows; 0: a vector
	std   float64
}

func (w weight) bytes() int64 {
	return int64(max(1, w.out)) * int64(w.dtype.RowBytes(w.in))
}

// weights lists the tensors in the order of the file.
func (m Model) weights() []weight {
	matrix := func(name string, in, out int) weight {
		return weight{name: name, dtype: m.Matrices, in: in, out: out, std: 1 / math.Sqrt(float64(in))}
	}
	vector := func(name string) weight { return weight{name: name, dtype: tensor.F32, in: m.Hidden} }
	embed := matrix("token_embd.weight", m.Hidden, m.Vocab)
	embed.std = 1
	list := []weight{embed}
	keys := m.Hidden / m.Heads * m.KVHeads
	for i := range m.Layers {
		p := fmt.Sprintf("blk.%d.", i)
		list = append(list,
			vector(p+"attn_norm.weight"),
			matrix(p+"attn_q.weight", m.Hidden, m.Hidden),
			matrix(p+"attn_k.weight", m.Hidden, keys),
			matrix(p+"attn_v.weight", m.Hidden, keys),
			matrix(p+"attn_output.weight", m.Hidden, m.Hidden),
			vector(p+"ffn_norm.weight"),
			matrix(p+"ffn_gate.weight", m.Hidden, m.FFN),
			matrix(p+"ffn_up.weight", m.Hidden, m.FFN),
			matrix(p+"ffn_down.weight", m.FFN, m.Hidden))
	}
	head := matrix("output.weight", m.Hidden, m.Vocab)
	head.dtype = m.Head
	return append(list, vector("output_norm.weight"), head)
}

// Ensure returns the path of the model in dir, writing it if it is not there.
func Ensure(dir string, m Model) (string, error) {
	path := filepath.Join(dir, m.Name+".gguf")
	if info, err := os.Stat(path); err == nil && info.Size() == m.Size() {
		return path, nil
	}
	return path, replace(path, func(f io.Writer) error {
		hash := sha256.New()
		if err := m.Write(io.MultiWriter(f, hash)); err != nil {
			return err
		}
		if got := hex.EncodeToString(hash.Sum(nil)); m.SHA256 != "" && got != m.SHA256 {
			return fmt.Errorf("SHA-256 %s, want %s: the generator has changed", got, m.SHA256)
		}
		return nil
	})
}

// replace writes a file that appears whole or not at all.
func replace(path string, write func(io.Writer) error) error {
	dir, name := filepath.Split(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, name+".*.tmp")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // nothing once it is renamed
	if err := errors.Join(write(f), f.Chmod(0o644), f.Close()); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.Rename(f.Name(), path)
}

// Size returns the bytes of the file.
func (m Model) Size() int64 {
	size := int64(len(header(m.metadata(), m.weights())))
	for _, w := range m.weights() {
		size += roundUp(w.bytes())
	}
	return size
}

// Write writes the file.
func (m Model) Write(to io.Writer) error {
	out := bufio.NewWriterSize(to, 1<<20)
	if _, err := out.Write(header(m.metadata(), m.weights())); err != nil {
		return err
	}
	r := rand.NewChaCha8(sha256.Sum256([]byte(m.Name)))
	for _, w := range m.weights() {
		if err := w.write(out, r); err != nil {
			return err
		}
	}
	return out.Flush()
}

// write writes the tensor's blocks and what pads them.
func (w weight) write(out io.Writer, r *rand.ChaCha8) error {
	row := make([]byte, w.dtype.RowBytes(w.in))
	for range max(1, w.out) {
		w.fill(row, r)
		if _, err := out.Write(row); err != nil {
			return err
		}
	}
	_, err := out.Write(make([]byte, roundUp(w.bytes())-w.bytes()))
	return err
}
