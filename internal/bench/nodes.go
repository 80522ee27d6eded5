package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/pipeline"
	"github.com/farlabs/inference/pipeline/wire"
)

// nodes: three nodes on this machine, beside one and beside llama.cpp's RPC
// with three servers.
func (b *bench) nodes(ctx context.Context) error {
	for _, c := range []struct {
		model  file
		layers int
		tokens int
		bound  float64 // three ÷ one
	}{{b.q4, 22, 48, 0.9}, {b.smol, 30, 128, 0.85}} {
		if !b.wants(c.model) {
			continue
		}
		if err := b.ring(ctx, c.model, c.layers, c.tokens, c.bound); err != nil {
			return fmt.Errorf("%s: %w", c.model.name, err)
		}
	}
	return nil
}

func (b *bench) ring(ctx context.Context, m file, layers, tokens int, bound float64) error {
	one, stop, err := b.client(ctx, m, fmt.Sprintf("0:%d", layers))
	if err != nil {
		return err
	}
	defer stop()
	a, z := layers/3, layers-layers/3
	three, stop, err := b.client(ctx, m, fmt.Sprintf("0:%d", a), fmt.Sprintf("%d:%d", a, z), fmt.Sprintf("%d:%d", z, layers))
	if err != nil {
		return err
	}
	defer stop()

	// One thread for each of their servers: with two on two processors they
	// spin against each other and fall to less than half of that.
	workers, list, err := b.startWorkers(ctx, 3, 1)
	if err != nil {
		return err
	}
	defer workers.stop()
	remote, err := b.remoteSetting(ctx, m, list)
	if err != nil {
		return err
	}

	var single, ring, theirs series
	for _, p := range []*pipeline.DistributedPipeline{one, three} { // warm
		if _, err := generate(ctx, p, tokens/4); err != nil {
			return err
		}
	}
	err = alternate(b.rounds, func() error {
		s, err := generate(ctx, one, tokens)
		if err != nil {
			return err
		}
		r, err := generate(ctx, three, tokens)
		if err == nil {
			single.add(s)
			ring.add(r)
		}
		return err
	}, func() error {
		speeds, _, err := b.peer.run(ctx, test{model: m, threads: 2, tokens: tokens, rpc: list}, remote)
		if err == nil {
			theirs.add(speeds[0])
		}
		return err
	})
	if err != nil {
		return err
	}
	share := ring.over(single)
	b.add(row{
		what: "three nodes ÷ one, decode, " + m.name, ours: quantity(ring.median(), "tok/s"),
		value: share.median(), bound: bound, least: true, note: fmt.Sprintf("%s; one: %s", share.spread(), quantity(single.median(), "tok/s")),
	})
	b.ratio("three nodes, decode, "+m.name, "tok/s", ring, theirs, 1.5, true, "three ggml-rpc-server, one thread each; "+remote.String())

	gaps, err := hopGaps(ctx, three, 500)
	if err != nil {
		return err
	}
	slices.Sort(gaps)
	b.add(row{
		what: "hop overhead, p50, " + m.name, ours: quantity(gaps[len(gaps)/2], "ms"), value: gaps[len(gaps)/2], unit: " ms", bound: 0.5,
		note: fmt.Sprintf("p95 %.2f, p99 %.2f ms", gaps[len(gaps)*95/100], gaps[len(gaps)*99/100]),
	})
	return b.bytes(ctx, m, three, list, remote)
}

// client starts nodes and connects to them.
func (b *bench) client(ctx context.Context, m file, ranges ...string) (p *pipeline.DistributedPipeline, stop func(), err error) {
	all, bootstrap, err := b.startNodes(ctx, m, ranges...)
	if err != nil {
		return nil, nil, err
	}
	data, err := os.MkdirTemp(b.dir, "client-")
	if err == nil {
		p, err = pipeline.Connect(ctx, pipeline.Config{
			Model: m.path, Client: pipeline.ClientConfig{Bootstrap: []string{bootstrap}, DataDir: data, MDNS: "off"},
		})
	}
	if err != nil {
		all.stop()
		return nil, nil, err
	}
	return p, func() {
		_ = p.Close()
		all.stop()
	}, nil
}

// generate returns the tokens per second of one greedy answer, first token
// excluded.
func generate(ctx context.Context, p *pipeline.DistributedPipeline, tokens int) (float64, error) {
	var first time.Time
	n := 0
	for d, err := range p.Generate(ctx, pipeline.Request{IDs: someIDs(16, 0), MaxTokens: tokens, IgnoreEOS: true}) {
		if err != nil {
			return 0, err
		}
		if len(d.Tokens) > 0 && first.IsZero() {
			first = time.Now()
			n -= len(d.Tokens)
		}
		n += len(d.Tokens)
	}
	return float64(n) / time.Since(first).Seconds(), nil
}

// hopGaps returns, for steps of one position, the milliseconds from the end of
// the forward pass at one hop to the start of the one at the next.
func hopGaps(ctx context.Context, p *pipeline.DistributedPipeline, steps int) ([]float64, error) {
	s, err := p.Open(ctx, pipeline.SessionOptions{})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	var gaps []float64
	for i := range steps {
		if _, err := s.Step(ctx, nil, []pipeline.Group{{
			Start: i, IDs: []inference.TokenID{inference.TokenID(300 + i)}, Want: wire.WantLast, Line: inference.LineDecode,
		}}); err != nil {
			return nil, err
		}
		for _, h := range s.Route().Hops[1:] {
			gaps = append(gaps, float64(h.Gap)/float64(time.Millisecond))
		}
	}
	return gaps, nil
}

// remoteSetting is the best setting over RPC; threads are the servers' there,
// and none is pinned.
func (b *bench) remoteSetting(ctx context.Context, m file, list string) (best setting, err error) {
	lines, _, err := b.peer.bench(ctx, test{model: m, threads: 2, tokens: 24, rpc: list}, false, "-fa", "on,off")
	speed := 0.0
	for _, l := range lines {
		if l.Speed > speed {
			best, speed = setting{flash: l.Flash == 1, repack: true}, l.Speed
		}
	}
	return best, err
}

// bytes: what a decoded token sends, counted at the loopback interface, headers
// of every layer included, less what it carries without us.
func (b *bench) bytes(ctx context.Context, m file, p *pipeline.DistributedPipeline, list string, s setting) error {
	const tokens = 128
	if _, err := loopback(); err != nil {
		b.log("bytes per token are not counted: %v", err)
		return nil
	}
	server, url, err := b.startServer(ctx, m, 2, s, "--rpc", list, "-ngl", "99")
	if err != nil {
		return err
	}
	defer server.stop()
	if _, err := plainCompletion(ctx, url, 8); err != nil {
		return err
	}
	var ours, theirs series
	for range min(b.rounds, 3) {
		v, err := perToken(tokens, func() error { _, err := generate(ctx, p, tokens); return err })
		if err != nil {
			return err
		}
		ours.add(v / 1024)
		v, err = perToken(tokens, func() error { _, err := plainCompletion(ctx, url, tokens); return err })
		if err != nil {
			return err
		}
		theirs.add(v / 1024)
	}
	b.add(row{
		what: "bytes on the wire per token, three nodes, " + m.name, ours: quantity(ours.median(), "KiB"), theirs: quantity(theirs.median(), "KiB"),
		value: ours.median(), unit: " KiB", bound: 20, note: ours.spread(),
	})
	return nil
}

// perToken returns the bytes on loopback while f runs, per token, less those of
// a pause as long.
func perToken(tokens int, f func() error) (float64, error) {
	before, err := loopback()
	if err != nil {
		return 0, err
	}
	begin := time.Now()
	if err := f(); err != nil {
		return 0, err
	}
	took := time.Since(begin)
	after, err := loopback()
	if err != nil {
		return 0, err
	}
	time.Sleep(took)
	idle, err := loopback()
	return max(0, after-before-(idle-after)) / float64(tokens), err
}

// loopback returns the bytes that the loopback interface has sent.
func loopback() (float64, error) {
	text, err := os.ReadFile("/proc/net/dev")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		name, counts, _ := strings.Cut(line, ":")
		if f := strings.Fields(counts); strings.TrimSpace(name) == "lo" && len(f) > 8 {
			return strconv.ParseFloat(f[8], 64)
		}
	}
	return 0, fmt.Errorf("/proc/net/dev has no interface lo")
}

// plainCompletion asks for n tokens in one answer, not a stream, and returns the
// tokens per second that the server says.
func plainCompletion(ctx context.Context, url string, n int) (float64, error) {
	body, err := json.Marshal(map[string]any{"prompt": someIDs(16, n), "max_tokens": n, "temperature": 0, "ignore_eos": true, "cache_prompt": false})
	if err != nil {
		return 0, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/v1/completions", strings.NewReader(string(body)))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Close = true // a server that closes idle connections may do so just now
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return 0, err
	}
	var answer struct {
		Timings struct {
			Speed  float64 `json:"predicted_per_second"`
			Tokens int     `json:"predicted_n"`
		} `json:"timings"`
	}
	if err := json.Unmarshal(text, &answer); err != nil || answer.Timings.Tokens != n {
		return 0, fmt.Errorf("%s: %d tokens, want %d: %s", url, answer.Timings.Tokens, n, tail(string(text)))
	}
	return answer.Timings.Speed, nil
}
