package synthetic

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"os"

	"github.com/farlabs/inference/kernels/quant"
	"github.com/farlabs/inference/kernels/tensor"
	"github.com/farlabs/inference/model/weights"
)

// Plain writes to path, if it is not there, the model of a file with every
// weight as the float32 that it stands for: what is computed with it has no
// rounding of activations, so it is the reference for what has.
func Plain(path, of string) error {
	c, err := weights.Open(of)
	if err != nil {
		return err
	}
	defer c.Close()
	var pairs []pair
	for _, key := range c.Keys() {
		if v, ok := value(c, key); ok {
			pairs = append(pairs, pair{key, v})
		}
	}
	var list []weight
	for _, t := range c.Tensors() {
		w := weight{name: t.Name, dtype: tensor.F32, in: t.Shape[len(t.Shape)-1]}
		switch len(t.Shape) {
		case 1:
		case 2:
			w.out = t.Shape[0]
		default:
			return fmt.Errorf("%s: tensor %s has %d dimensions", of, t.Name, len(t.Shape))
		}
		list = append(list, w)
	}
	head := header(pairs, list)
	size := int64(len(head))
	for _, w := range list {
		size += roundUp(w.bytes())
	}
	if info, err := os.Stat(path); err == nil && info.Size() == size {
		return nil
	}
	return replace(path, func(f io.Writer) error {
		out := bufio.NewWriterSize(f, 1<<20)
		if _, err := out.Write(head); err != nil {
			return err
		}
		for _, w := range list {
			if err := w.plain(out, c); err != nil {
				return err
			}
		}
		return out.Flush()
	})
}

// value returns what is kept of a key. Lists of numbers other than integers are
// not: models need none, and scores of tokens do not matter for speed.
func value(c *weights.Checkpoint, key string) (any, bool) {
	if v, ok := c.String(key); ok {
		return v, true
	}
	if v, ok := c.Strings(key); ok {
		return v, true
	}
	if v, ok := c.Bool(key); ok {
		return v, true
	}
	if v, ok := c.Uint(key); ok {
		return uint32(v), v < 1<<32
	}
	if v, ok := c.Float(key); ok {
		return float32(v), true
	}
	list, ok := c.Ints(key)
	v := make([]int32, len(list))
	for i, n := range list {
		v[i] = int32(n)
	}
	return v, ok
}

// plain writes the tensor dequantised, row by row.
func (w weight) plain(out io.Writer, c *weights.Checkpoint) error {
	t, _ := c.Tensor(w.name)
	raw, err := c.Data(w.name)
	if err != nil {
		return err
	}
	row, packed := make([]float32, w.in), t.DType.RowBytes(w.in)
	b := make([]byte, 0, 4*w.in)
	for ; len(raw) > 0; raw = raw[packed:] {
		if err := quant.Dequantize(row, t.DType, raw[:packed]); err != nil {
			return fmt.Errorf("tensor %s: %w", w.name, err)
		}
		if b, err = binary.Append(b[:0], binary.LittleEndian, row); err != nil {
			return err
		}
		if _, err := out.Write(b); err != nil {
			return err
		}
	}
	_, err = out.Write(make([]byte, roundUp(w.bytes())-w.bytes()))
	return err
}
