package synthetic

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/farlabs/inference/kernels/quant"
	"github.com/farlabs/inference/kernels/tensor"
	"github.com/farlabs/inference/model"
	"github.com/farlabs/inference/model/tokenizer"
	"github.com/farlabs/inference/model/weights"
)

// tiny has every dtype and rows of a whole number of superblocks.
var tiny = Model{
	Name: "tiny", Hidden: 256, Layers: 2, Heads: 4, KVHeads: 2, FFN: 512, Vocab: 1000, Ctx: 64,
	Matrices: tensor.Q4_0, Head: tensor.Q6_K, FileType: 2,
}

func TestFileIsTheSameBytesEverywhere(t *testing.T) {
	var b bytes.Buffer
	if err := tiny.Write(&b); err != nil {
		t.Fatal(err)
	}
	if int64(b.Len()) != tiny.Size() {
		t.Errorf("%d bytes, Size says %d", b.Len(), tiny.Size())
	}
	sum := sha256.Sum256(b.Bytes())
	if got, want := hex.EncodeToString(sum[:]), "22f9f947bd89703cd3fa03b312f5c0ca2744a67554406bac5887c99520ddfc42"; got != want {
		t.Errorf("SHA-256 %s, want %s", got, want)
	}
}

func TestFileIsAModel(t *testing.T) {
	for _, dtype := range []tensor.DType{tensor.Q4_0, tensor.Q8_0} {
		m := tiny
		m.Matrices = dtype
		path, err := Ensure(t.TempDir(), m)
		if err != nil {
			t.Fatal(err)
		}
		c, err := weights.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := model.ReadSpec(c); err != nil {
			t.Error(err)
		}
		tok, err := tokenizer.FromGGUF(c)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(tok.Encode("abc abc", false)); tok.Size() != m.Vocab || n < 1 || n >= len("abc abc") {
			t.Errorf("%d tokens, %d ids of a text of words", tok.Size(), n)
		}
		for name, std := range map[string]float64{"token_embd.weight": 1, "blk.1.ffn_down.weight": 1 / math.Sqrt(512), "output.weight": 1. / 16} {
			x, _ := c.Tensor(name)
			raw, err := c.Data(name)
			if err != nil {
				t.Fatal(err)
			}
			v := make([]float32, x.Shape[0]*x.Shape[1])
			if err := quant.Dequantize(v, x.DType, raw); err != nil {
				t.Fatal(err)
			}
			squares := 0.0
			for _, f := range v {
				squares += float64(f) * float64(f)
			}
			if got := math.Sqrt(squares / float64(len(v))); got < 0.9*std || got > 1.2*std {
				t.Errorf("%s %s deviates by %g, want %g", dtype, name, got, std)
			}
		}
	}
}

func TestEnsureKeepsWhatIsThereAndRefusesAnotherHash(t *testing.T) {
	dir := t.TempDir()
	path, err := Ensure(dir, tiny)
	if err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Ensure(dir, tiny); err != nil {
		t.Fatal(err)
	}
	if after, err := os.Stat(path); err != nil || !os.SameFile(before, after) {
		t.Errorf("written again (%v)", err)
	}
	if err := os.Truncate(path, 100); err != nil { // a disk that was full
		t.Fatal(err)
	}
	if _, err := Ensure(dir, tiny); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Size() != tiny.Size() {
		t.Errorf("a short file was kept (%v)", err)
	}
	other := tiny
	other.Name, other.SHA256 = "other", "00"
	if _, err := Ensure(dir, other); err == nil {
		t.Error("another hash was accepted")
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*.tmp")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestPlainHoldsTheSameNumbers(t *testing.T) {
	dir := t.TempDir()
	packed, err := Ensure(dir, tiny)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "plain.gguf")
	if err := Plain(path, packed); err != nil {
		t.Fatal(err)
	}
	values := func(path, name string) []float32 {
		c, err := weights.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := model.ReadSpec(c); err != nil {
			t.Fatal(err)
		}
		if _, err := tokenizer.FromGGUF(c); err != nil {
			t.Fatal(err)
		}
		x, _ := c.Tensor(name)
		raw, err := c.Data(name)
		if err != nil {
			t.Fatal(err)
		}
		n := 1
		for _, d := range x.Shape {
			n *= d
		}
		v := make([]float32, n)
		if err := quant.Dequantize(v, x.DType, raw); err != nil {
			t.Fatal(err)
		}
		return v
	}
	for _, w := range tiny.weights() {
		if a, b := values(packed, w.name), values(path, w.name); !slices.Equal(a, b) {
			t.Errorf("%s differs", w.name)
		}
	}
}
