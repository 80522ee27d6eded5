package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"
)

// start: from the start of a process whose files are in memory to the first
// token after a prompt of 16.
func (b *bench) start(ctx context.Context) error {
	const two, prompt = 2, 16
	ids := someIDs(prompt, 0)
	for _, m := range b.models(b.q8, b.q4, b.smol) {
		theirs := func(s setting) (float64, error) {
			took, err := firstByte(b.peer.logits(ctx, m, two, s, ids, prompt), encodeIDs(ids))
			return float64(took) / float64(time.Millisecond), err
		}
		ours := func() (float64, error) {
			took, err := firstByte(b.command(ctx, job{Model: m.path, Threads: two, Prompt: prompt, First: true}), "")
			return float64(took) / float64(time.Millisecond), err
		}
		if _, err := ours(); err != nil { // makes what later starts find
			return err
		}
		best, least := setting{}, math.Inf(1)
		for range 2 { // the first reads the file
			for _, s := range []setting{{}, {flash: true}, {repack: true}, {flash: true, repack: true}} {
				v, err := theirs(s)
				if err != nil {
					return err
				}
				if v < least {
					best, least = s, v
				}
			}
		}
		var us, them series
		err := alternate(b.rounds, func() error {
			v, err := ours()
			us.add(v)
			return err
		}, func() error {
			v, err := theirs(best)
			them.add(v)
			return err
		})
		if err != nil {
			return err
		}
		b.ratio(fmt.Sprintf("first token after a warm start, %s", m.name), "ms", us, them, 1, false, best.String())
	}
	return nil
}

// memory: the most that a process has resident that prefills 512 tokens and
// decodes after them.
func (b *bench) memory(ctx context.Context) error {
	const two = 2
	for _, m := range b.models(b.q8, b.q4, b.smol) {
		s, err := b.lasting(ctx, m, two)
		if err != nil {
			return err
		}
		var ours, theirs series
		err = alternate(b.rounds, func() error {
			r, err := b.ours(ctx, job{Model: m.path, Threads: two, Prompt: promptLength, Depths: []int{promptLength}, Tokens: 16})
			ours.add(r.Peak)
			return err
		}, func() error {
			_, peak, err := b.peer.run(ctx, test{model: m, threads: two, tokens: 16, depths: []int{promptLength}}, s)
			theirs.add(peak)
			return err
		})
		if err != nil {
			return err
		}
		if ours.median() == 0 || theirs.median() == 0 {
			return errors.New("the system does not tell how much memory a process has resident")
		}
		b.ratio("peak memory, "+m.name, "MiB", ours, theirs, 1.1, false, s.String())
	}
	return nil
}

// busy: another process keeps one processor busy.
func (b *bench) busy(ctx context.Context) error {
	const two = 2
	for _, c := range []struct {
		model  file
		tokens int
	}{{b.q4, 64}, {b.smol, 192}} {
		if !b.wants(c.model) {
			continue
		}
		var quiet, busy, longest series
		j := job{Model: c.model.path, Threads: two, Depths: []int{0}, Tokens: c.tokens}
		err := alternate(b.rounds, func() error {
			r, err := b.ours(ctx, j)
			if err == nil {
				quiet.add(r.Decode[0])
			}
			return err
		}, func() error {
			spin := b.command(ctx, job{Spin: 1})
			if err := spin.Start(); err != nil {
				return err
			}
			r, err := b.ours(ctx, j)
			_ = spin.Process.Kill()
			_ = spin.Wait()
			if err == nil {
				busy.add(r.Decode[0])
				longest.add(r.Longest)
			}
			return err
		})
		if err != nil {
			return err
		}
		r := busy.over(quiet)
		what := "decode beside a busy process, " + c.model.name
		b.add(row{what: what + " ÷ quiet", ours: quantity(busy.median(), "tok/s"), value: r.median(), bound: 0.5, least: true, note: r.spread()})
		b.add(row{what: what + ", longest gap", value: longest.max(), unit: " ms", bound: 500, note: "of all rounds"})
	}
	return nil
}
