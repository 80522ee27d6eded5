package cli

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"
)

// Progress shows how far something is: a bar that is drawn over itself on a
// terminal, a line every two seconds elsewhere. One at a time.
type Progress struct {
	w        io.Writer
	terminal bool

	mu    sync.Mutex
	label string
	began time.Time
	drawn time.Time
	open  bool // a bar without its line's end is on the terminal
}

// NewProgress writes to w: to a terminal as people like it there, and lines to
// everything else.
func NewProgress(w io.Writer) *Progress {
	f, ok := w.(interface{ Fd() uintptr })
	return &Progress{w: w, terminal: ok && term.IsTerminal(int(f.Fd()))}
}

// Set shows done of total bytes under label.
func (p *Progress) Set(label string, done, total int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if label != p.label {
		p.end()
		p.label, p.began, p.drawn = label, now, time.Time{}
	}
	last := done >= total
	interval := 2 * time.Second
	if p.terminal {
		interval = 100 * time.Millisecond
	}
	if p.drawn.IsZero() && !p.terminal && now.Sub(p.began) < interval && !last {
		return // short work needs no line of its own
	}
	if now.Sub(p.drawn) < interval && !last {
		return
	}
	p.drawn = now
	share := 1.0
	if total > 0 {
		share = float64(done) / float64(total)
	}
	if !p.terminal {
		fmt.Fprintf(p.w, "%s %3.0f%%\n", label, 100*share)
		return
	}
	const width = 24
	full := int(share * width)
	fmt.Fprintf(p.w, "\r%s %s%s %3.0f%% ", label, strings.Repeat("█", full), strings.Repeat("░", width-full), 100*share)
	p.open = true
	if last {
		p.end()
	}
}

// Printf writes a line, after the bar if one is open.
func (p *Progress) Printf(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.end()
	fmt.Fprintf(p.w, format+"\n", args...)
}

func (p *Progress) end() {
	if p.open {
		fmt.Fprintln(p.w)
		p.open = false
	}
}
