package matmul

import "unsafe"

// sweepPanels computes panels [lo, hi) of the job's, all rows of the batch.
func (j *job) sweepPanels(worker, lo, hi int) {
	for i := range j.products {
		p := &j.products[i]
		from, to := max(lo-p.first, 0), min(hi-p.first, p.w.panels())
		if from < to {
			j.panelsOf(&j.workers[worker].tile, p, from, to)
		}
	}
}

// panelsOf computes panels [lo, hi) of a product, one tile of rows after the
// other, so that the tile stays in a cache and with luck the panels too.
func (j *job) panelsOf(t *tile, p *product, lo, hi int) {
	f, l, out := &j.set[p.act], &j.acts[p.act], p.w.out
	widest := f.widths[len(f.widths)-1]
	t.stride, t.next = 4*out, p.w.panel()
	for i := 0; i < j.n; i += widest {
		t.columns = min(widest, j.n-i)
		index, width := f.width(t.columns)
		t.width = width
		y := p.y[(j.first+i)*out : (j.first+i+t.columns)*out]
		if l.blocks == 0 {
			clearColumns(y, out, lo, hi)
		} else {
			then := lo
			if guess := hi + (hi-lo)*(j.q.Workers()-1); i+widest >= j.n && guess < p.w.panels() {
				then = guess // where this worker goes on, if the others are as fast
			}
			j.tile(t, p, index, l.mem[i*l.blocks*f.size:], y, lo, hi, then)
		}
		if p.bias != nil {
			addBias(y, p.bias, lo*panelRows, min(hi*panelRows, out))
		}
	}
}

// tile multiplies a tile of prepared rows x by panels [lo, hi) into y. The panel
// then is what is read next.
func (j *job) tile(t *tile, p *product, index int, x []byte, y []float32, lo, hi, then int) {
	w, size := p.w, j.set[p.act].size
	for i := lo; i < hi; {
		run, panels := p.kernel.most(index, min(hi, w.out/panelRows)-i)
		codes, scales := w.regions(i)
		after := i + panels
		if after >= hi {
			after = then
		}
		t.y, t.rows = &y[i*panelRows], min(panelRows, w.out-i*panelRows)
		t.store, t.load = 1<<t.rows-1, 0
		for b := 0; b < w.blocks; b += callBlocks {
			t.blocks = min(callBlocks, w.blocks-b)
			t.codes, t.scales = w.block(codes, scales, b)
			if b+t.blocks < w.blocks {
				t.soonCodes, t.soonScales = w.block(codes, scales, b+t.blocks)
			} else {
				c, s := w.regions(after)
				t.soonCodes, t.soonScales = w.block(c, s, 0)
			}
			t.x = unsafe.Pointer(&x[b*t.width*size])
			run(t)
			t.load = t.store
		}
		i += panels
	}
}

// block returns where block b, the first of a span, of a panel begins.
func (w *Weights) block(codes, scales []byte, b int) (c, s *byte) {
	c = &codes[b*w.format.codes]
	if len(scales) > 0 {
		s = &scales[b/w.format.span*w.format.scales]
	}
	return c, s
}

// clearColumns zeroes what panels [lo, hi) have in the columns of y.
func clearColumns(y []float32, out, lo, hi int) {
	for ; len(y) > 0; y = y[out:] {
		clear(y[lo*panelRows : min(hi*panelRows, out)])
	}
}

// addBias adds bias to elements [lo, hi) of each column of y.
func addBias(y, bias []float32, lo, hi int) {
	for ; len(y) > 0; y = y[len(bias):] {
		for o := lo; o < hi; o++ {
			y[o] += bias[o]
		}
	}
}
