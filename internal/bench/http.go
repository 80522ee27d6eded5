package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// servedName is the model's name at either server.
const servedName = "bench"

// http: one node and a gateway beside llama-server, through /v1/completions.
func (b *bench) http(ctx context.Context) error {
	const two, tokens = 2, 128
	m := b.smol
	if !b.wants(m) {
		return nil
	}
	s, err := b.lasting(ctx, m, two)
	if err != nil {
		return err
	}
	nodes, bootstrap, err := b.startNodes(ctx, m, "0:30")
	if err != nil {
		return err
	}
	defer nodes.stop()
	gateway, ourURL, err := b.startGateway(ctx, m, bootstrap)
	if err != nil {
		return err
	}
	defer gateway.stop()
	server, theirURL, err := b.startServer(ctx, m, two, s)
	if err != nil {
		return err
	}
	defer server.stop()
	var ours, theirs, ourPrompt, theirPrompt series
	round := 0
	side := func(url string, decode, prompt *series) func() error {
		return func() error {
			round++
			d, err := completion(ctx, url, "The history of the river Thames", tokens)
			if err != nil {
				return err
			}
			p, err := completion(ctx, url, someIDs(promptLength, round), 1)
			if err == nil && round > 2 { // the first of each side warms it up
				decode.add(float64(tokens-1) / (d.last - d.first).Seconds())
				prompt.add(promptLength / p.first.Seconds())
			}
			return err
		}
	}
	us, them := side(ourURL, &ours, &ourPrompt), side(theirURL, &theirs, &theirPrompt)
	if err := us(); err != nil {
		return err
	}
	if err := them(); err != nil {
		return err
	}
	if err := alternate(b.rounds, us, them); err != nil {
		return err
	}
	b.ratio("decode through HTTP, "+m.name, "tok/s", ours, theirs, 1.3, true, "one node and gateway, llama-server; "+s.String())
	b.ratio(fmt.Sprintf("prefill of %d through HTTP, %s", promptLength, m.name), "tok/s", ourPrompt, theirPrompt, 2, true, "up to the first token's arrival")
	return nil
}

// moments of an answer, from the request on.
type moments struct{ first, last time.Duration }

// completion asks for n tokens after a prompt, text or ids, whatever they are.
func completion(ctx context.Context, url string, prompt any, n int) (m moments, err error) {
	body, err := json.Marshal(map[string]any{
		"model": servedName, "prompt": prompt, "max_tokens": n, "temperature": 0, "stream": true, "ignore_eos": true,
	})
	if err != nil {
		return m, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/v1/completions", bytes.NewReader(body))
	if err != nil {
		return m, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Close = true // a server that closes idle connections may do so just now
	begin := time.Now()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return m, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 2000))
		return m, fmt.Errorf("%s: %s: %s", url, resp.Status, text)
	}
	var told string
	in := bufio.NewScanner(resp.Body)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		data, ok := strings.CutPrefix(in.Text(), "data: ")
		if !ok || data == "[DONE]" {
			continue
		}
		told = data
		m.last = time.Since(begin)
		if m.first == 0 {
			m.first = m.last
		}
	}
	if err := in.Err(); err != nil {
		return m, err
	}
	if m.first == 0 || strings.Contains(told, `"error"`) {
		return m, fmt.Errorf("%s: no answer: %s", url, told)
	}
	return m, nil
}
