package device

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// Queue runs ops in the order they are enqueued, over a pool of workers. The
// goroutine that enqueues is worker 0; the others are goroutines of the queue,
// which wait for work spinning for [patience], then asleep. It is safe for
// concurrent use: ops of several goroutines take turns, but for small ones.
type Queue struct {
	mu      sync.Mutex // held while an op runs
	workers int
	scratch [][]float32    // [worker]; touched by that worker inside an op only
	running sync.WaitGroup // the worker goroutines

	fault    atomic.Pointer[Panic]
	sleepers atomic.Int32 // workers that sleep, or are about to, on the state
	beds     struct{ workers, caller bed }
	company  company
	left     uint32 // atomic; counts ops after which the caller was woken

	// The words below change hands between cores with every op: those that are
	// needed together share a cache line.

	_     cacheLine
	state state
	_     cacheLine
	// The op that runs, one of f and each: written under mu while nobody is
	// inside, read by workers that are.
	next  atomic.Int64 // the first index that nobody took
	n     int64
	grain int64
	f     func(lo, hi int)
	each  func(worker, lo, hi int)
	_     cacheLine
}

type cacheLine [64]byte

// Panic is what Parallel panics with when a chunk panicked, on whichever worker.
type Panic struct {
	Value any    // of the first panic
	Stack []byte // of the goroutine that panicked
}

// Error implements error.
func (p *Panic) Error() string { return fmt.Sprintf("kernel: %v\n%s", p.Value, p.Stack) }

// Unwrap returns Value if it is an error.
func (p *Panic) Unwrap() error {
	err, _ := p.Value.(error)
	return err
}

// NewQueue returns a queue of that many workers, one per core if workers is 0.
// The caller ends it with Close.
//
// A working or spinning worker occupies a thread of the Go scheduler: a process
// that has other work to do meanwhile sets GOMAXPROCS two above the number of
// workers. With one worker there are no goroutines at all, which is what a
// testing/synctest bubble wants: a worker asleep does not count as blocked there.
func NewQueue(workers int) *Queue {
	if workers <= 0 {
		workers = runtime.NumCPU()
	}
	q := &Queue{workers: workers, scratch: make([][]float32, workers)}
	q.company.lonely = lonely
	for id := 1; id < workers; id++ {
		q.running.Add(1)
		go q.work(id)
	}
	return q
}

// Workers returns the number of workers, the calling goroutine included.
func (q *Queue) Workers() int { return q.workers }

// Wait returns when every op enqueued before it has finished, with the first
// error of those that failed on the device. Ops of this queue have finished
// when they return and cannot fail, so it returns nil at once.
func (q *Queue) Wait() error { return nil }

// Close ends the workers and waits for them, after the op that runs. An op
// enqueued later runs on the calling goroutine alone.
func (q *Queue) Close() {
	q.mu.Lock()
	atomic.OrUint32(&q.state.word, ended)
	q.beds.workers.wake(&q.state.word, q.workers)
	q.mu.Unlock()
	q.running.Wait()
}

// Parallel calls f for chunks [lo, hi) of at most grain indices that together
// cover [0, n), on several workers at once, and returns when all have
// finished. It allocates nothing. f must not enqueue ops, nor
// wait for another chunk: one worker may run them all. If f panics, chunks
// not yet begun are dropped and Parallel panics with a [*Panic].
//
// An op of one chunk runs on the calling goroutine at once, whatever else the
// queue does.
func (q *Queue) Parallel(n, grain int, f func(lo, hi int)) {
	switch {
	case n <= 0:
		return
	case n <= grain || n == 1:
		alone(n, f)
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.f = f
	q.run(n, grain)
}

// alone calls f for all n indices.
func alone(n int, f func(lo, hi int)) {
	normal := false
	defer func() {
		if !normal {
			if v := recover(); v != nil { // else runtime.Goexit
				panic(&Panic{Value: v, Stack: debug.Stack()})
			}
		}
	}()
	f(0, n)
	normal = true
}

// ParallelWorkers is Parallel for an f that wants to know which worker runs
// it, 0 ≤ worker < Workers. Calls of f at the same time have different ones.
func (q *Queue) ParallelWorkers(n, grain int, f func(worker, lo, hi int)) {
	if n <= 0 {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.each = f
	q.run(n, grain)
}

// Scratch returns n floats of undefined contents to a chunk that runs on this
// worker, valid until that call of f returns. Each worker keeps the largest
// slice it was ever asked for.
func (q *Queue) Scratch(worker, n int) []float32 {
	if cap(q.scratch[worker]) < n {
		q.scratch[worker] = make([]float32, n)
	}
	return q.scratch[worker][:n]
}

// run executes the op in f or each, with mu held.
func (q *Queue) run(n, grain int) {
	q.n, q.grain = int64(n), int64(max(grain, 1))
	q.next.Store(0)
	// Deferred, so that an f that ends its goroutine leaves the queue usable.
	defer q.finish()
	if helpers := min(int64(q.workers), (q.n+q.grain-1)/q.grain) - 1; helpers > 0 && q.state.load()&ended == 0 && q.company.welcome() {
		atomic.OrUint32(&q.state.word, opened)
		// A worker counts as a sleeper before it looks at the state for the last
		// time, so one of the two sees the other.
		if q.sleepers.Load() > 0 {
			q.company.cpu.Store(core())
			q.beds.workers.wake(&q.state.word, int(helpers))
		}
	}
	q.chunks(0)
}

// finish turns newcomers away, waits for the workers inside and passes on what
// went wrong.
func (q *Queue) finish() {
	atomic.AndUint32(&q.state.word, ^uint32(opened))
	if !over(q.state.load()) && !q.state.watch(over) {
		// Somebody inside lost its thread. Sleeping gives it this one's core.
		since := time.Now()
		atomic.OrUint32(&q.state.word, awaited)
		for {
			seen := atomic.LoadUint32(&q.left)
			if over(q.state.load()) {
				break
			}
			q.beds.caller.sleep(&q.left, seen)
		}
		atomic.AndUint32(&q.state.word, ^uint32(awaited))
		q.company.waited(since)
	}
	q.f, q.each = nil, nil
	if p := q.fault.Swap(nil); p != nil {
		panic(p)
	}
}

// work is the life of a worker goroutine.
func (q *Queue) work(id int) {
	defer q.running.Done()
	var g guest
	for {
		if !q.state.watch(working) {
			q.sleepers.Add(1)
			for v := q.state.load(); !working(v); v = q.state.load() {
				q.beds.workers.sleep(&q.state.word, v)
			}
			q.sleepers.Add(-1)
			q.company.woke(&g)
		}
		if q.state.enter() {
			q.help(id)
		} else if q.state.load()&ended != 0 {
			return
		}
	}
}

// help works on the op as one of those inside.
func (q *Queue) help(id int) {
	defer func() {
		if q.state.leave() {
			atomic.AddUint32(&q.left, 1)
			q.beds.caller.wake(&q.left, 1)
		}
	}()
	q.chunks(id)
}

// chunks takes chunks until none is left.
func (q *Queue) chunks(worker int) {
	normal := false
	defer func() {
		if normal {
			return
		}
		q.next.Store(q.n)
		p := &Panic{Value: recover()}
		if p.Value == nil { // runtime.Goexit
			if worker == 0 {
				return
			}
			p.Value = "a chunk ended its goroutine"
		}
		p.Stack = debug.Stack()
		q.fault.CompareAndSwap(nil, p)
	}()
	f, each, n, grain := q.f, q.each, q.n, q.grain
	for {
		lo := q.next.Add(grain) - grain
		if lo >= n {
			break
		}
		hi := min(lo+grain, n)
		if f != nil {
			f(int(lo), int(hi))
		} else {
			each(worker, int(lo), int(hi))
		}
	}
	normal = true
}
