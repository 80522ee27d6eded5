package device

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sociable returns a queue that never goes without helpers, for chunks that wait
// for each other.
func sociable(workers int) *Queue {
	q := NewQueue(workers)
	q.company.lonely = 0
	return q
}

func TestParallelCoversEveryIndexOnce(t *testing.T) {
	for _, workers := range []int{1, 2, 5} {
		q := NewQueue(workers)
		for _, n := range []int{-1, 0, 1, 2, 7, 64, 1001} {
			for _, grain := range []int{-3, 0, 1, 3, 1000, 5000} {
				hits := make([]atomic.Int32, max(n, 0))
				q.Parallel(n, grain, func(lo, hi int) {
					if hi-lo > max(grain, 1) || lo >= hi {
						t.Errorf("n %d grain %d: chunk %d:%d", n, grain, lo, hi)
					}
					for i := lo; i < hi; i++ {
						hits[i].Add(1)
					}
				})
				for i := range hits {
					if hits[i].Load() != 1 {
						t.Fatalf("workers %d n %d grain %d: index %d ran %d times", workers, n, grain, i, hits[i].Load())
					}
				}
			}
		}
		q.Close()
	}
}

func TestEveryWorkerHelpsWithLongOps(t *testing.T) {
	q := sociable(4)
	defer q.Close()
	var met sync.WaitGroup
	met.Add(4)
	var ids [4]atomic.Int32
	q.ParallelWorkers(4, 1, func(worker, lo, hi int) {
		ids[worker].Add(1)
		met.Done()
		met.Wait() // returns only once four chunks run at the same time
	})
	for id := range ids {
		if ids[id].Load() != 1 {
			t.Errorf("worker %d ran %d chunks", id, ids[id].Load())
		}
	}
}

func TestWorkersWakeAfterSleep(t *testing.T) {
	q := sociable(3)
	defer q.Close()
	for range 5 {
		for until := time.Now().Add(10 * time.Second); q.sleepers.Load() < 2; time.Sleep(patience) {
			if time.Now().After(until) {
				t.Fatal("workers spin on")
			}
		}
		var met sync.WaitGroup
		met.Add(3)
		q.Parallel(3, 1, func(lo, hi int) { met.Done(); met.Wait() })
	}
}

func TestCallerSleepsThroughSlowHelper(t *testing.T) {
	q := sociable(2)
	defer q.Close()
	var helped, both atomic.Bool
	entered := make(chan struct{})
	q.ParallelWorkers(2, 1, func(worker, lo, hi int) {
		if worker == 1 {
			close(entered)
			time.Sleep(20 * patience)
			helped.Store(true)
			return
		}
		<-entered
		both.Store(true)
	})
	if !helped.Load() || !both.Load() {
		t.Error("Parallel returned before its helper")
	}
}

func TestParallelAllocatesNothing(t *testing.T) {
	q := NewQueue(2)
	defer q.Close()
	var sum atomic.Int64
	f := func(lo, hi int) { sum.Add(int64(hi - lo)) }
	g := func(worker, lo, hi int) { sum.Add(int64(len(q.Scratch(worker, 100)))) }
	q.ParallelWorkers(64, 1, g)
	q.ParallelWorkers(64, 1, g)
	q.Scratch(0, 100)
	q.Scratch(1, 100)
	if n := testing.AllocsPerRun(200, func() { q.Parallel(64, 4, f); q.ParallelWorkers(64, 4, g) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestScratchIsOneSlicePerWorker(t *testing.T) {
	q := NewQueue(3)
	defer q.Close()
	a := q.Scratch(0, 10)
	if b := q.Scratch(0, 7); len(b) != 7 || &a[0] != &b[0] {
		t.Error("a shorter scratch is not the same memory")
	}
	if c := q.Scratch(1, 10); &c[0] == &a[0] {
		t.Error("two workers share scratch")
	}
	q.Scratch(0, 11)
	if got := cap(q.scratch[0]); got != 11 {
		t.Errorf("kept %d floats, asked for at most 11", got)
	}
}

func TestPanicReachesTheCaller(t *testing.T) {
	q := NewQueue(3)
	defer q.Close()
	for round := range 50 {
		func() {
			defer func() {
				p, ok := recover().(*Panic)
				if !ok || !errors.Is(p, io.ErrUnexpectedEOF) || !strings.Contains(p.Error(), "queue_test.go") {
					t.Fatalf("round %d: recovered %v", round, p)
				}
			}()
			q.Parallel(100, 1, func(lo, hi int) {
				if lo == round {
					panic(io.ErrUnexpectedEOF)
				}
			})
			t.Error("no panic")
		}()
		var n atomic.Int32
		q.Parallel(100, 7, func(lo, hi int) { n.Add(int32(hi - lo)) })
		if n.Load() != 100 {
			t.Fatalf("after a panic %d of 100 indices ran", n.Load())
		}
	}
}

func TestEndedGoroutineLeavesTheQueueUsable(t *testing.T) {
	q := sociable(2)
	defer q.Close()
	for _, ender := range []int{0, 1} {
		over := make(chan any)
		go func() {
			defer func() { over <- recover() }()
			var met sync.WaitGroup
			met.Add(2)
			q.ParallelWorkers(2, 1, func(worker, lo, hi int) {
				met.Done()
				met.Wait()
				if worker == ender {
					runtime.Goexit()
				}
			})
		}()
		if p := <-over; (p != nil) != (ender != 0) {
			t.Errorf("worker %d ended: caller recovered %v", ender, p)
		}
	}
	var n atomic.Int32
	q.Parallel(10, 1, func(lo, hi int) { n.Add(1) })
	if n.Load() != 10 {
		t.Errorf("%d of 10 chunks ran", n.Load())
	}
}

func TestGoroutinesTakeTurns(t *testing.T) {
	q := NewQueue(2)
	defer q.Close()
	var wg sync.WaitGroup
	var busy atomic.Int32
	for range 4 {
		wg.Go(func() {
			for range 50 {
				sum := 0
				q.ParallelWorkers(9, 9, func(_, lo, hi int) {
					if busy.Add(1) != 1 {
						t.Error("two ops at once")
					}
					sum += hi - lo
					busy.Add(-1)
				})
				var n atomic.Int32
				q.Parallel(9, 2, func(lo, hi int) { n.Add(int32(hi - lo)) })
				if sum != 9 || n.Load() != 9 {
					t.Error("an op ran in part")
				}
			}
		})
	}
	wg.Wait()
}

func TestCloseEndsTheWorkersAndOpsStillRun(t *testing.T) {
	q := NewQueue(4)
	q.Close()
	q.Close()
	n := 0
	q.Parallel(10, 1, func(lo, hi int) { n++ }) // no race: the caller is alone
	if n != 10 || q.Wait() != nil || q.Workers() != 4 {
		t.Errorf("%d of 10 chunks ran", n)
	}
}

// BenchmarkOps is what decoding does to a queue: ops of 40 chunks that take some
// microseconds each. Beside another busy process it shows what that costs.
func BenchmarkOps(b *testing.B) {
	for _, workers := range []int{1, 2} {
		b.Run(fmt.Sprintf("workers=%d", workers), func(b *testing.B) {
			q := NewQueue(workers)
			defer q.Close()
			var sum atomic.Int64
			f := func(lo, hi int) {
				x := 1
				for range 5000 {
					x = x*3 + lo
				}
				sum.Add(int64(x))
			}
			var longest time.Duration
			for b.Loop() {
				start := time.Now()
				q.Parallel(40, 1, f)
				longest = max(longest, time.Since(start))
			}
			b.ReportMetric(float64(longest)/1e6, "ms-longest")
		})
	}
}

func BenchmarkPause(b *testing.B) {
	for b.Loop() {
		pause(100)
	}
}

func BenchmarkFork(b *testing.B) {
	q := NewQueue(2)
	defer q.Close()
	f := func(lo, hi int) {}
	for b.Loop() {
		q.Parallel(2, 1, f)
	}
}
