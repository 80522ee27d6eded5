package ceiling

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"
)

// Memory is what Stream reads, made once because its pages are written.
type Memory struct{ words []uint64 }

// readUnit is what every loop reads in a turn, per thread; bytes.
const readUnit = 256

// NewMemory returns memory of a size in bytes that should exceed the caches
// many times. It is written, so that every page is there.
func NewMemory(size int) *Memory {
	m := &Memory{words: make([]uint64, size/8)} // large allocations begin at a page
	for i := range m.words {
		m.words[i] = uint64(i)
	}
	return m
}

// Stream returns the bytes that threads read in a second, all together: the
// median of some rounds, of the way to read for which it is highest.
func (m *Memory) Stream(threads, rounds int) float64 {
	part := len(m.words) * 8 / threads / readUnit * readUnit
	best := 0.0
	for _, read := range reads {
		speeds := make([]float64, rounds)
		for i := range speeds {
			took := parallel(threads, func(i int) {
				sink.Add(read(m.words[i*part/8 : (i+1)*part/8]))
			})
			speeds[i] = float64(threads*part) / took.Seconds()
		}
		slices.Sort(speeds)
		best = max(best, speeds[rounds/2])
	}
	return best
}

// sink keeps sums, so that no compiler leaves the reading out.
var sink atomic.Uint64

// reads are the ways to read; which is fastest differs between processors. Each
// of them uses every byte, as kernels have to.
var reads = []func([]uint64) uint64{sumGo}

// sumGo sums four stretches at once in plain Go.
func sumGo(w []uint64) (s uint64) {
	q := len(w) / 4
	a, b, c, d := w[:q], w[q:2*q], w[2*q:3*q], w[3*q:4*q]
	for i := 0; i+8 <= q; i += 8 {
		x, y, z, u := (*[8]uint64)(a[i:]), (*[8]uint64)(b[i:]), (*[8]uint64)(c[i:]), (*[8]uint64)(d[i:])
		s += x[0] + x[1] + x[2] + x[3] + x[4] + x[5] + x[6] + x[7]
		s += y[0] + y[1] + y[2] + y[3] + y[4] + y[5] + y[6] + y[7]
		s += z[0] + z[1] + z[2] + z[3] + z[4] + z[5] + z[6] + z[7]
		s += u[0] + u[1] + u[2] + u[3] + u[4] + u[5] + u[6] + u[7]
	}
	return s
}

// parallel runs f in threads that begin together, and returns the time until
// the last has ended.
func parallel(threads int, f func(i int)) time.Duration {
	var ready, done sync.WaitGroup
	begin := make(chan struct{})
	for i := range threads {
		ready.Add(1)
		done.Go(func() {
			ready.Done()
			<-begin
			f(i)
		})
	}
	ready.Wait()
	t := time.Now()
	close(begin)
	done.Wait()
	return time.Since(t)
}

// Integer returns the integer operations (a product and an addition are two)
// of the widest dot product of bytes that threads execute in a second, all
// together, and what was executed; 0 where the processor has none.
func Integer(threads, rounds int) (perSecond float64, instruction string) {
	if integer.run == nil {
		return 0, "none"
	}
	const turns = 1 << 20 // a few milliseconds
	took := make([]time.Duration, rounds)
	for r := range took {
		took[r] = parallel(threads, func(int) {
			for range 16 { // the garbage collector gets its chances
				integer.run(turns / 16)
			}
		})
	}
	slices.Sort(took)
	return float64(threads) * turns * integer.operations / took[rounds/2].Seconds(), integer.name
}

// integer is the loop that Integer runs.
var integer struct {
	name       string
	operations float64 // of a turn
	run        func(turns int)
}

func first(w []uint64) *byte { return (*byte)(unsafe.Pointer(unsafe.SliceData(w))) }
