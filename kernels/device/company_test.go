package device

import (
	"sync/atomic"
	"testing"
	"time"
)

func TestTwoLongWaitsInARowMeanANeighbour(t *testing.T) {
	c := company{lonely: lonely}
	c.waited(time.Now().Add(-stall / 2))
	c.waited(time.Now().Add(-2 * stall))
	if !c.welcome() {
		t.Fatal("without helpers after one long wait")
	}
	c.waited(time.Now().Add(-stall / 2))
	if !c.welcome() {
		t.Fatal("without helpers after a short wait")
	}
	c.waited(time.Now().Add(-2 * stall))
	if c.welcome() {
		t.Fatal("with helpers after two long waits")
	}
	c.until = time.Now().Add(-1)
	for range 2 {
		if !c.welcome() {
			t.Fatal("helpers do not come back")
		}
	}
}

func TestAHelperThatKeepsWakingBesideTheCallerIsSpared(t *testing.T) {
	here := core()
	if here < 0 {
		t.Skip("cores have no numbers here")
	}
	c := company{lonely: lonely}
	var g guest
	wake := func(beside bool) {
		c.cpu.Store(here + 1)
		if beside {
			// This goroutine may move between the two questions; then once more.
			for range 100 {
				if c.cpu.Store(core()); c.cpu.Load() == core() {
					break
				}
			}
		}
		c.woke(&g)
	}
	for range wakes - 1 {
		wake(true)
	}
	wake(false)
	if c.crowded.Load() {
		t.Fatal("crowded, though it woke elsewhere at last")
	}
	for i := 0; i < 100*wakes && !c.crowded.Load(); i++ {
		wake(true)
	}
	if !c.crowded.Load() || c.welcome() || c.crowded.Load() {
		t.Fatal("not noticed")
	}
	for i := 0; i < 100*wakes && !c.crowded.Load(); i++ {
		wake(true)
	}
	if !c.crowded.Load() {
		t.Fatal("not noticed again")
	}
}

func TestWithoutHelpersAllChunksRun(t *testing.T) {
	q := NewQueue(2)
	defer q.Close()
	q.company.until = time.Now().Add(time.Hour)
	var others atomic.Int32
	n := 0
	q.ParallelWorkers(100, 1, func(worker, lo, hi int) {
		if worker != 0 {
			others.Add(1)
			return
		}
		n++
	})
	if n != 100 || others.Load() != 0 {
		t.Errorf("%d chunks here, %d elsewhere", n, others.Load())
	}
}
