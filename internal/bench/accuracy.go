package main

import (
	"bufio"
	"context"
	_ "embed"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/internal/bench/synthetic"
	"github.com/farlabs/inference/model/catalog"
	"github.com/farlabs/inference/model/tokenizer"
	"github.com/farlabs/inference/model/weights"
)

// opticks is from the beginning of Newton's Opticks (fourth edition, 1730).
//
//go:embed testdata/opticks.txt
var opticks string

// accuracyLength is how much of it is read; tokens.
const accuracyLength = 2000

// accuracy: how far eight-bit activations, and whatever else is rounded on the
// way, take the answers from those of float32, beside how far they take
// llama.cpp's, over a text of 2,000 tokens. The reference computes with the same
// weights dequantised, and rounds nothing.
func (b *bench) accuracy(ctx context.Context) error {
	const two = 2
	m := b.smol
	if !b.wants(m) {
		return nil
	}
	ids, vocab, err := textIDs(m.path, accuracyLength)
	if err != nil {
		return err
	}
	plain := filepath.Join(catalog.CacheDir(), "bench", strings.TrimSuffix(filepath.Base(m.path), ".gguf")+".f32.gguf")
	if err := synthetic.Plain(plain, m.path); err != nil {
		return err
	}
	exact := b.command(ctx, job{Model: plain, Threads: two, Logits: true, Exact: true})
	ours := b.command(ctx, job{Model: m.path, Threads: two, Logits: true})
	theirs := b.peer.logits(ctx, m, two, setting{flash: true, repack: true}, ids, chunk)
	var c comparison
	if err := c.run(ids, vocab, exact, ours, theirs); err != nil {
		return err
	}
	n := float64(len(ids))
	b.add(row{
		what: fmt.Sprintf("mean KL divergence from float32, %s, %d tokens", m.name, len(ids)),
		ours: fmt.Sprintf("%.3g", c.divergence[0]/n), theirs: fmt.Sprintf("%.3g", c.divergence[1]/n),
		value: c.divergence[0] / c.divergence[1], bound: 1.05,
	})
	perplexity := func(loss float64) float64 { return math.Exp(loss / (n - 1)) }
	reference := perplexity(c.exact)
	var excess, deviation [2]float64
	for k := range excess {
		excess[k] = perplexity(c.loss[k]) - reference
		mean := (c.loss[k] - c.exact) / (n - 1)
		deviation[k] = reference * math.Sqrt((c.squares[k]/(n-1)-mean*mean)/(n-1))
	}
	b.add(row{
		what: "perplexity above that of float32", ours: fmt.Sprintf("%+.3g", excess[0]), theirs: fmt.Sprintf("%+.3g", excess[1]),
		value: excess[0], bound: 1.05 * max(0, excess[1]),
		note: fmt.Sprintf("of %.4g; the bound is 1.05 times theirs; standard errors %.2g and %.2g", reference, deviation[0], deviation[1]),
	})
	return nil
}

// textIDs returns the first n ids of the text, and the number of logits.
func textIDs(path string, n int) (ids []inference.TokenID, vocab int, err error) {
	c, err := weights.Open(path)
	if err != nil {
		return nil, 0, err
	}
	defer c.Close()
	t, err := tokenizer.FromGGUF(c)
	if err != nil {
		return nil, 0, err
	}
	embed, ok := c.Tensor("token_embd.weight")
	if !ok || len(embed.Shape) != 2 {
		return nil, 0, fmt.Errorf("%s has no embedding", path)
	}
	if ids = t.Encode(opticks, false); len(ids) < n {
		return nil, 0, fmt.Errorf("the text has %d tokens, want %d", len(ids), n)
	}
	return ids[:n], embed.Shape[0], nil
}

// comparison sums, over the positions of a text, how two sides differ from the
// exact one.
type comparison struct {
	exact      float64    // −log p of the text's next token, in the exact distribution
	loss       [2]float64 // … and in the others'
	squares    [2]float64 // of the differences of these losses
	divergence [2]float64 // of the others from the exact one; nats
}

// run starts the three commands, which take ids on standard input and print
// float32 logits of each, and reads them side by side.
func (c *comparison) run(ids []inference.TokenID, vocab int, exact *exec.Cmd, others ...*exec.Cmd) error {
	list := append([]*exec.Cmd{exact}, others...)
	in := make([]io.Reader, len(list))
	errs := make([]strings.Builder, len(list))
	for i, cmd := range list {
		cmd.Stdin, cmd.Stderr = strings.NewReader(encodeIDs(ids)), &errs[i]
		out, err := cmd.StdoutPipe()
		if err != nil {
			return err
		}
		if err := cmd.Start(); err != nil {
			return err
		}
		defer func() {
			_ = cmd.Process.Kill() // it has ended, or nobody reads it any more
			_ = cmd.Wait()
		}()
		in[i] = bufio.NewReaderSize(out, 1<<20)
	}
	rows := make([][]float64, len(list))
	for i := range rows {
		rows[i] = make([]float64, vocab)
	}
	raw := make([]byte, 4*vocab)
	for at := range ids {
		for i, r := range in {
			if _, err := io.ReadFull(r, raw); err != nil {
				return fmt.Errorf("%s: logits of position %d: %w: %s", list[i].Path, at, err, tail(errs[i].String()))
			}
			logProbs(rows[i], raw)
		}
		next := inference.TokenID(-1)
		if at+1 < len(ids) {
			next = ids[at+1]
		}
		c.position(rows, next)
	}
	return nil
}

// position adds what one position contributes: rows of log-probabilities, the
// exact one first; next is the text's next token, below 0 at its end.
func (c *comparison) position(rows [][]float64, next inference.TokenID) {
	exact := rows[0]
	if next >= 0 {
		c.exact -= exact[next]
	}
	for k, other := range rows[1:] {
		if next >= 0 {
			c.loss[k] -= other[next]
			c.squares[k] += (other[next] - exact[next]) * (other[next] - exact[next])
		}
		for i, p := range exact {
			c.divergence[k] += math.Exp(p) * (p - other[i])
		}
	}
}

// logProbs turns float32 logits, as bytes, into log-probabilities.
func logProbs(dst []float64, raw []byte) {
	high := math.Inf(-1)
	for i := range dst {
		dst[i] = float64(math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:])))
		high = max(high, dst[i])
	}
	sum := 0.0
	for _, v := range dst {
		sum += math.Exp(v - high)
	}
	total := high + math.Log(sum)
	for i := range dst {
		dst[i] -= total
	}
}
