package weights

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/farlabs/inference/kernels/tensor"
	"github.com/farlabs/inference/model/weights/gguftest"
)

// blocks returns tensors shaped like those of a few transformer blocks, large
// ones and small ones.
func blocks(n int) []gguftest.Tensor {
	r := rand.New(rand.NewPCG(5, 6))
	out := []gguftest.Tensor{gguftest.Random(r, "token_embd.weight", tensor.Q8_0, 1, 1500, 576)}
	for i := range n {
		p := "blk." + string(rune('0'+i)) + "."
		out = append(out,
			gguftest.Random(r, p+"attn_norm.weight", tensor.F32, 1, 576),
			gguftest.Random(r, p+"attn_k.weight", tensor.Q4_1, 1, 192, 576), // 69,120 bytes: just mapped
			gguftest.Random(r, p+"attn_q.weight", tensor.Q4_1, 1, 576, 576),
			gguftest.Random(r, p+"ffn_norm.weight", tensor.F32, 1, 576),
			gguftest.Random(r, p+"ffn_down.weight", tensor.Q4_1, 1, 576, 1536),
			gguftest.Random(r, p+"ffn_up.weight", tensor.Q4_1, 1, 1536, 576),
		)
	}
	return out
}

func TestDataIsTheTensorsBytesAlignedAndShared(t *testing.T) {
	tensors := blocks(1)
	for _, align := range []uint32{8, 32, 4096} {
		c := openTest(t, writeTest(t, map[string]any{"general.alignment": align}, tensors...))
		for _, x := range tensors {
			got, err := c.Data(x.Name)
			if err != nil || !bytes.Equal(got, x.Data) || cap(got) != len(got) {
				t.Fatalf("%s: %d bytes, %v", x.Name, len(got), err)
			}
			if uintptr(unsafe.Pointer(&got[0]))%8 != 0 {
				t.Errorf("%s is not aligned", x.Name)
			}
			if again, _ := c.Data(x.Name); &again[0] != &got[0] {
				t.Errorf("%s moved", x.Name)
			}
		}
	}
}

func TestDataOfUnknownTensorAndOfClosedFileAreErrors(t *testing.T) {
	c := openTest(t, tiny)
	if _, err := c.Data("nonsense"); err == nil || !strings.Contains(err.Error(), tiny) || !strings.Contains(err.Error(), `"nonsense"`) {
		t.Error(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	if _, err := c.Data("output_norm.weight"); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}

func TestFileThatShrinksWhileOpenIsAnErrorNotAFault(t *testing.T) {
	path := writeTest(t, nil, blocks(1)...)
	c := openTest(t, path)
	if err := os.Truncate(path, 50_000); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Data("blk.0.ffn_up.weight"); err == nil || !strings.Contains(err.Error(), "changed while it was open") {
		t.Error(err)
	}
	if _, err := c.Manifest(t.Context(), "", nil); err == nil {
		t.Error("hashed")
	}
}

func TestDataIsSafeForConcurrentUse(t *testing.T) {
	c := openTest(t, writeTest(t, nil, blocks(2)...))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for _, x := range c.Tensors() {
				if b, err := c.Data(x.Name); err != nil || int64(len(b)) != x.Size {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// settle gives the file a modification time that a manifest may be cached under.
func settle(t testing.TB, path string) {
	t.Helper()
	old := time.Now().Add(-time.Minute)
	if err := os.Chtimes(path, old, old); err != nil {
		t.Fatal(err)
	}
}
