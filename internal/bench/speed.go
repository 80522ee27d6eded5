package main

import (
	"context"
	"fmt"
	"slices"
)

// alternate calls ours and theirs in each of n rounds, first one then the other.
func alternate(n int, ours, theirs func() error) error {
	for round := range n {
		turn := []func() error{ours, theirs}
		if round%2 == 1 {
			slices.Reverse(turn)
		}
		for _, f := range turn {
			if err := f(); err != nil {
				return err
			}
		}
	}
	return nil
}

// decode: tokens after an empty context.
func (b *bench) decode(ctx context.Context) error {
	for _, c := range []struct {
		model         file
		threads       int
		tokens        int
		bound, stream float64 // of the ratio; of the share of the stream, 0: none
	}{
		{b.q8, 2, 48, 1, 0.85},
		{b.q4, 2, 64, 1, 0.75},
		{b.q8, 1, 32, 1.2, 0},
		{b.q4, 1, 48, 1.2, 0},
		{b.smol, 2, 128, 1.3, 0},
	} {
		if !b.wants(c.model) {
			continue
		}
		s, err := b.lasting(ctx, c.model, c.threads)
		if err != nil {
			return err
		}
		w, err := workOf(c.model.path)
		if err != nil {
			return err
		}
		var ours, theirs, share, theirShare series
		var stream float64
		err = alternate(b.rounds, func() error {
			stream, _ = b.ceilings(c.threads)
			r, err := b.ours(ctx, job{Model: c.model.path, Threads: c.threads, Depths: []int{0}, Tokens: c.tokens})
			if err == nil {
				ours.add(r.Decode[0])
				share.add(r.Decode[0] * w.bytes / stream)
			}
			return err
		}, func() error {
			if stream == 0 {
				stream, _ = b.ceilings(c.threads)
			}
			speeds, _, err := b.peer.run(ctx, test{model: c.model, threads: c.threads, tokens: c.tokens}, s)
			if err == nil {
				theirs.add(speeds[0])
				theirShare.add(speeds[0] * w.bytes / stream)
			}
			return err
		})
		if err != nil {
			return err
		}
		what := fmt.Sprintf("decode, %s, %s", c.model.name, threads(c.threads))
		b.ratio(what, "tok/s", ours, theirs, c.bound, true, s.String())
		shares := row{
			what: what + ", of the stream", ours: percent(share.median()), theirs: percent(theirShare.median()),
			value: share.median(), bound: c.stream, least: true, free: c.stream == 0, note: share.spread(),
		}
		b.add(shares)
	}
	return nil
}

// promptLength of the prefill rows.
const promptLength = 512

// prefill: a prompt of 512 tokens, attention included.
func (b *bench) prefill(ctx context.Context) error {
	const two = 2
	for _, m := range b.models(b.q8, b.q4, b.smol) {
		s, err := b.peer.settle(ctx, figure{m.name, "prefill", two}, test{model: m, threads: two, prompt: promptLength / 4})
		if err != nil {
			return err
		}
		w, err := workOf(m.path)
		if err != nil {
			return err
		}
		var ours, theirs, share, theirShare series
		var integer float64
		err = alternate(b.rounds, func() error {
			_, integer = b.ceilings(two)
			r, err := b.ours(ctx, job{Model: m.path, Threads: two, Prompt: promptLength})
			if err == nil {
				ours.add(r.Prefill)
				share.add(r.Prefill * w.operations / integer)
			}
			return err
		}, func() error {
			if integer == 0 {
				_, integer = b.ceilings(two)
			}
			speeds, _, err := b.peer.run(ctx, test{model: m, threads: two, prompt: promptLength}, s)
			if err == nil {
				theirs.add(speeds[0])
				theirShare.add(speeds[0] * w.operations / integer)
			}
			return err
		})
		if err != nil {
			return err
		}
		note := fmt.Sprintf("%s and %s of the integer peak; %s", percent(share.median()), percent(theirShare.median()), s)
		b.ratio(fmt.Sprintf("prefill of %d, %s, %s", promptLength, m.name, threads(two)), "tok/s", ours, theirs, 2, true, note)
	}
	return nil
}

// depth: tokens after a long context, and what attention adds to each.
func (b *bench) depth(ctx context.Context) error {
	const two, tokens = 2, 24
	depths := []int{0, 1024, 2048}
	for _, m := range b.models(b.q4, b.q8) {
		s, err := b.deep(ctx, m, two, depths[1])
		if err != nil {
			return err
		}
		ours, theirs := make([]series, len(depths)), make([]series, len(depths))
		err = alternate(b.rounds, func() error {
			r, err := b.ours(ctx, job{Model: m.path, Threads: two, Depths: depths, Tokens: tokens})
			for i, v := range r.Decode {
				ours[i].add(1000 / v)
			}
			return err
		}, func() error {
			speeds, _, err := b.peer.run(ctx, test{model: m, threads: two, tokens: tokens, depths: depths}, s)
			for i, v := range speeds {
				theirs[i].add(1000 / v)
			}
			return err
		})
		if err != nil {
			return err
		}
		for i := 1; i < len(depths); i++ {
			what := fmt.Sprintf("at depth %d, %s, %s", depths[i], m.name, threads(two))
			b.ratio("attention "+what, "ms/token", ours[i].less(ours[0]), theirs[i].less(theirs[0]), 0.6, false, s.String())
			b.ratio("decode "+what, "tok/s", ours[i].rates(), theirs[i].rates(), 1, true, "")
		}
	}
	return nil
}

// less returns s − t round by round.
func (s series) less(t series) series {
	r := make(series, len(s))
	for i := range s {
		r[i] = s[i] - t[i]
	}
	return r
}

// rates turns milliseconds per token into tokens per second.
func (s series) rates() series {
	r := make(series, len(s))
	for i := range s {
		r[i] = 1000 / s[i]
	}
	return r
}

func threads(n int) string {
	if n == 1 {
		return "1 thread"
	}
	return fmt.Sprintf("%d threads", n)
}
