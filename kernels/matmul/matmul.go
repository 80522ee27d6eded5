// Package matmul multiplies rows of activations by weights of any dtype.
//
// In: activations x [n, in] of float32 and [Weights] [out, in], packed once
// from the bytes of a model file, or borrowed from memory that holds them
// packed. Out: x·Wᵀ [n, out] of float32. Quantised weights meet activations of
// eight bits or of float32, as [Activations] says; nothing but tiles in
// registers is ever dequantised. The arithmetic, the same to the bit for every
// set of kernels, batch and worker, and the layout of packed weights stand in
// docs/design/kernels.md.
//
// The package owns nothing but memory for the activations of the calls that
// run, bounded per call. It knows nothing of layers, names or files.
package matmul

import (
	"fmt"
	"unsafe"

	"github.com/farlabs/inference/kernels/device"
	"github.com/farlabs/inference/kernels/tensor"
)

const (
	// fewRows is the most rows whose activations are prepared by the caller
	// alone: waking a worker takes longer.
	fewRows = 4
	// batchLimit bounds the bytes of prepared activations, unless a single tile
	// needs more. Larger batches are cut.
	batchLimit = 4 << 20
	// callBlocks is the most blocks of a row in one call of a kernel, so that
	// it takes under 100 µs.
	callBlocks = 512
)

// Product is one matrix of a call of [Linear].
type Product struct {
	Dst  tensor.Buffer // [n, out] F32; gets x·Wᵀ + Bias
	W    *Weights      // [out, in]
	Bias []float32     // [out], or nil for none
}

// Linear multiplies x [n, in] F32 by each of the products' weights. It borrows
// everything; no Dst may overlap x or another.
func Linear(q *device.Queue, x tensor.Buffer, act Activations, products ...Product) {
	if act >= numActivations {
		panic("matmul: " + act.String())
	}
	j := jobs.Get()
	j.begin(q, x, act, products)
	rows := j.batch(x.Cols)
	for lo := 0; lo < x.Rows && j.panels > 0; lo += rows {
		j.first, j.n = lo, min(rows, x.Rows-lo)
		j.multiply()
	}
	j.end()
	jobs.Put(j)
}

// job is one call of Linear; it is kept for reuse so that a call allocates nothing.
type job struct {
	q        *device.Queue
	set      *[numActivations]form
	products []product
	panels   int // of all products
	x        []float32
	in       int
	first, n int                    // rows of x that are being computed
	acts     [numActivations]layout // of those rows
	workers  []worker
	prepare  func(lo, hi int)
	sweep    func(worker, lo, hi int)
}

// product is a Product that has been checked.
type product struct {
	w      *Weights
	act    Activations
	kernel *kernel
	y      []float32
	bias   []float32
	first  int // the number of its first panel in the job
}

// layout is the memory of prepared activations.
type layout struct {
	used   bool
	blocks int // of a row
	mem    []byte
}

// worker is the memory of a worker that runs kernels.
type worker struct {
	tile tile
	_    [128 - unsafe.Sizeof(tile{})%128]byte // no two share a cache line
}

var jobs = device.NewSpare(func() *job {
	j := new(job)
	j.prepare, j.sweep = j.prepareRows, j.sweepPanels
	return j
})

// begin takes the arguments and panics where they do not fit together.
func (j *job) begin(q *device.Queue, x tensor.Buffer, act Activations, products []Product) {
	j.q, j.set, j.x, j.in = q, sets[device.Kernels()], x.F32(), x.Cols
	for len(j.workers) < q.Workers() {
		j.workers = append(j.workers, worker{})
	}
	for i := range products {
		p := &products[i]
		w := p.W
		if x.Cols != w.in || p.Dst.Cols != w.out || p.Dst.Rows != x.Rows || p.Bias != nil && len(p.Bias) != w.out {
			panic(fmt.Sprintf("matmul: [%d,%d] = [%d,%d] × weights [%d,%d], %d biases",
				p.Dst.Rows, p.Dst.Cols, x.Rows, x.Cols, w.out, w.in, len(p.Bias)))
		}
		a := act.of(w.dtype)
		j.products = append(j.products, product{
			w: w, act: a, kernel: &j.set[a].kernels[w.dtype], y: p.Dst.F32(), bias: p.Bias, first: j.panels,
		})
		j.panels += w.panels()
		j.acts[a].used, j.acts[a].blocks = true, w.blocks
	}
}

// end lets go of the arguments.
func (j *job) end() {
	clear(j.products)
	for i := range j.workers {
		j.workers[i].tile = tile{}
	}
	for a := range j.acts {
		j.acts[a].used = false
	}
	j.q, j.set, j.products, j.panels, j.x = nil, nil, j.products[:0], 0, nil
}

// batch returns the number of rows to compute at a time.
func (j *job) batch(in int) int {
	rows := 1 << 30
	for a := range j.acts {
		if l, f := &j.acts[a], &j.set[a]; l.used {
			widest := f.widths[len(f.widths)-1]
			tile := max(1, l.blocks*widest*f.size)
			rows = min(rows, max(1, batchLimit/tile)*widest)
		}
	}
	return rows
}

// multiply computes the rows of a batch.
func (j *job) multiply() {
	for a := range j.acts {
		if l, f := &j.acts[a], &j.set[a]; l.used {
			widest := f.widths[len(f.widths)-1]
			_, last := f.width((j.n-1)%widest + 1)
			if size := ((j.n-1)/widest*widest + last) * l.blocks * f.size; cap(l.mem) < size {
				l.mem = aligned(size)
			} else {
				l.mem = l.mem[:size]
			}
		}
	}
	if j.n <= fewRows {
		j.prepareRows(0, j.n)
	} else {
		const grain = 1 << 13 // elements of x worth handing to another worker
		j.q.Parallel(j.n, 1+grain/max(j.in, 1), j.prepare)
	}
	j.q.ParallelWorkers(j.panels, j.grain(), j.sweep)
}

// grain returns the number of panels worth handing to another worker: enough to
// read on undisturbed, few enough that all workers end together.
func (j *job) grain() int {
	const least, most = 48 << 10, 256 << 10 // bytes of weights
	const multiplications = 1 << 19
	panel, total := 1, 0
	for i := range j.products {
		w := j.products[i].w
		panel, total = max(panel, w.panel()), total+len(w.packed)
	}
	bytes := min(max(total/(16*j.q.Workers()), least), most)
	grain := min(bytes/panel, multiplications/max(panelRows*j.in*j.n, 1))
	return max(grain, 4) &^ 3 // panels go in fours
}

// prepareRows prepares rows [lo, hi) of the batch.
func (j *job) prepareRows(lo, hi int) {
	for a := range j.acts {
		l, f := &j.acts[a], &j.set[a]
		if !l.used || l.blocks == 0 {
			continue
		}
		widest := f.widths[len(f.widths)-1]
		for i := lo; i < hi; i++ {
			t, c := i/widest, i%widest
			_, width := f.width(min(widest, j.n-t*widest))
			dst := unsafe.Pointer(&l.mem[(t*widest*l.blocks+c)*f.size])
			x := j.x[(j.first+i)*j.in : (j.first+i+1)*j.in]
			whole := j.in / blockLen * blockLen
			f.prepare(dst, width*f.size, x[:whole])
			if whole < j.in { // the weights are not quantised
				var rest [blockLen]float32
				copy(rest[:], x[whole:])
				(*f32Block)(unsafe.Add(dst, whole/blockLen*width*f.size)).set(&rest)
			}
		}
	}
}
