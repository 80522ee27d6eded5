package device

import (
	"sync/atomic"
	"time"
)

// company decides whether an op calls helpers. Where another process keeps a
// core busy, a helper costs more than it does: the system puts its thread on the
// caller's core, where it interrupts the caller, or takes its own core away in
// the middle of a chunk, for which the caller waits a time slice. company
// notices either and has the queue work without helpers for a while.
type company struct {
	// Of ops, under the queue's mu.
	lonely  time.Duration // how long to go without helpers; 0: never
	until   time.Time     // zero: with helpers
	stalled time.Time     // the last time

	cpu     atomic.Int32 // the caller's core when it last woke helpers, or -1
	crowded atomic.Bool  // told by helpers
}

const (
	lonely      = 20 * time.Millisecond
	stall       = time.Millisecond // longer than chunks take
	wakes       = 8                // on the caller's core in a row …
	wakesWithin = 5 * time.Millisecond
)

// welcome reports whether helpers are to be called.
func (c *company) welcome() bool {
	if c.crowded.Load() {
		c.crowded.Store(false)
		c.leaveAlone(time.Now())
	}
	if c.until.IsZero() {
		return true
	}
	if time.Now().Before(c.until) {
		return false
	}
	c.until = time.Time{}
	return true
}

func (c *company) leaveAlone(now time.Time) {
	if c.lonely > 0 {
		c.until = now.Add(c.lonely)
	}
}

// waited tells that an op ended so long after the caller's part of it. One long
// wait is an accident; two soon after another are a neighbour.
func (c *company) waited(since time.Time) {
	now := time.Now()
	if now.Sub(since) < stall {
		return
	}
	if now.Sub(c.stalled) < 2*lonely {
		c.leaveAlone(now)
	}
	c.stalled = now
}

// guest is what a helper knows of its own wakes.
type guest struct {
	beside int // wakes on the caller's core in a row
	first  time.Time
}

// woke tells that the helper woke to help.
func (c *company) woke(g *guest) {
	if cpu := c.cpu.Load(); cpu < 0 || cpu != core() {
		g.beside = 0
		return
	}
	now := time.Now()
	if g.beside == 0 || now.Sub(g.first) > wakesWithin {
		g.beside, g.first = 0, now
	}
	if g.beside++; g.beside == wakes {
		c.crowded.Store(true)
		// Two more wakes tell whether the neighbour is still there afterwards.
		g.beside, g.first = wakes-2, now.Add(lonely)
	}
}
