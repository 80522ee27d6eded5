package tensor

import (
	"sync"
	"sync/atomic"
	"unsafe"
)

const align = 64 // bytes; one AVX-512 register, one cache line

// Buffer is a row-major matrix [Rows, Cols]. The zero Buffer is empty.
type Buffer struct {
	DType DType
	Rows  int
	Cols  int
	// Data holds Rows·DType.RowBytes(Cols) bytes, 64-byte aligned when it came
	// from a Pool.
	Data []byte

	home  *block
	lease uint32 // of home, when Get returned it
}

// F32 returns the elements of an F32 buffer; it shares memory with b.
func (b Buffer) F32() []float32 {
	if b.DType != F32 {
		panic("tensor: F32 of a " + b.DType.String() + " buffer")
	}
	if len(b.Data) == 0 {
		return nil
	}
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(b.Data))), len(b.Data)/4)
}

// Row returns row i of an F32 buffer.
func (b Buffer) Row(i int) []float32 { return b.F32()[i*b.Cols : (i+1)*b.Cols] }

// Slice returns rows [lo, hi) of b, borrowing its memory: it must not outlive
// b, and must not be released.
func (b Buffer) Slice(lo, hi int) Buffer {
	n := b.DType.RowBytes(b.Cols)
	return Buffer{DType: b.DType, Rows: hi - lo, Cols: b.Cols, Data: b.Data[lo*n : hi*n]}
}

// Release gives the memory back to its pool. It does nothing for a buffer that
// has none, and panics when called twice, also if the memory has a new user.
func (b Buffer) Release() {
	if b.home != nil {
		b.home.release(b.lease)
	}
}

// Of wraps data as an F32 buffer [rows, cols] without a pool.
func Of(data []float32, rows, cols int) Buffer {
	if len(data) != rows*cols {
		panic("tensor: Of: length does not match the shape")
	}
	var bytes []byte
	if len(data) > 0 {
		bytes = unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(data))), 4*len(data))
	}
	return Buffer{DType: F32, Rows: rows, Cols: cols, Data: bytes}
}

// Pool keeps released memory for reuse, in size classes that are powers of
// two, at most limit bytes of it. It is safe for concurrent use.
type Pool struct {
	limit int64
	kept  atomic.Int64
	live  atomic.Int64
	mu    sync.Mutex
	free  map[int][]*block
}

type block struct {
	pool *Pool
	size int
	mem  []byte
	uses atomic.Uint32 // odd while handed out
}

// NewPool returns a pool that keeps at most limit bytes of released memory.
func NewPool(limit int64) *Pool { return &Pool{limit: limit, free: map[int][]*block{}} }

// Get returns a buffer whose contents are undefined; the caller owns it until
// Release.
func (p *Pool) Get(dtype DType, rows, cols int) Buffer {
	n := rows * dtype.RowBytes(cols)
	size := 256
	for size < n {
		size *= 2
	}
	p.mu.Lock()
	var m *block
	if l := p.free[size]; len(l) > 0 {
		m = l[len(l)-1]
		l[len(l)-1] = nil
		p.free[size] = l[:len(l)-1]
		p.kept.Add(-int64(size))
	}
	p.mu.Unlock()
	if m == nil {
		mem := make([]byte, size+align)
		off := int(-uintptr(unsafe.Pointer(unsafe.SliceData(mem))) & (align - 1))
		m = &block{pool: p, size: size, mem: mem[off : off+size]}
	}
	p.live.Add(int64(size))
	return Buffer{DType: dtype, Rows: rows, Cols: cols, Data: m.mem[:n:n], home: m, lease: m.uses.Add(1)}
}

// Live returns the bytes handed out and not released: 0 when nothing leaks.
func (p *Pool) Live() int64 { return p.live.Load() }

func (m *block) release(lease uint32) {
	if !m.uses.CompareAndSwap(lease, lease+1) {
		panic("tensor: buffer released twice")
	}
	poison(m.mem)
	p := m.pool
	p.live.Add(-int64(m.size))
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.kept.Load()+int64(m.size) <= p.limit {
		p.kept.Add(int64(m.size))
		p.free[m.size] = append(p.free[m.size], m)
	}
}
