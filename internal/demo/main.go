// Command demo shows the product on one machine: three nodes, none of which can
// hold half of the model, and a gateway, each a process of its own on loopback;
// a question; its answer as it streams, with the route that it took.
//
// It exits 0 only if the answer came over at least three different peers. With
// -keep everything goes on running and it prints how to talk to it.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	model    = "smollm2-135m-instruct"
	memory   = "48MiB" // of weights and KV: 13 of the 30 blocks …
	kv       = "20MiB" // … and of it KV: more than 2,048 positions of those
	question = "Explain in three sentences why the sky is blue."
	limit    = 4 * time.Minute
)

func main() {
	bin := flag.String("bin", "bin", "folder of start_node and farclient")
	keep := flag.Bool("keep", false, "leave nodes and gateway running")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	d := &demo{bin: *bin, keep: *keep}
	err := d.run(ctx)
	if err != nil || !*keep {
		d.end()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

type demo struct {
	bin, dir string
	keep     bool
	procs    []*process
}

// process is a child that prints events as JSON lines.
type process struct {
	name   string
	cmd    *exec.Cmd
	events chan event
	log    string
}

// event holds the fields that the demo reads of any event.
type event struct {
	Event   string   `json:"event"`
	Peer    string   `json:"peer"`
	Name    string   `json:"name"`
	Addrs   []string `json:"addrs"`
	Blocks  string   `json:"blocks"`
	URL     string   `json:"url"`
	Decode  float64  `json:"decode_tok_s"`
	Weights int64    `json:"weight_bytes"`
}

func (d *demo) run(ctx context.Context) (err error) {
	if d.dir, err = os.MkdirTemp("", "farlabs-demo-"); err != nil {
		return err
	}
	begin := time.Now()
	say := func(format string, args ...any) {
		fmt.Printf("%5.1f s  %s\n", time.Since(begin).Seconds(), fmt.Sprintf(format, args...))
	}
	say("starting three nodes, each limited to %s, of which %s are for KV: less than half of the model", memory, kv)
	var nodes []*process
	var bootstrap string
	for i, name := range []string{"alpha", "beta", "gamma"} {
		args := []string{"--json", "--model", model, "--name", name, "--memory", memory, "--kv-cache", kv, "--listen", "127.0.0.1:0", "--data-dir", filepath.Join(d.dir, name)}
		if i > 0 {
			args = append(args, "--bootstrap", bootstrap)
		}
		n, err := d.start(name, "start_node", args...)
		if err != nil {
			return err
		}
		nodes = append(nodes, n)
		e, err := n.wait(ctx, "listening")
		if err != nil {
			return err
		}
		if i == 0 {
			bootstrap = e.Addrs[0]
		}
	}
	for _, n := range nodes {
		e, err := n.wait(ctx, "serving")
		if err != nil {
			return err
		}
		say("node %-6s serves blocks %-6s (%.1f MiB of weights)", n.name, e.Blocks, float64(e.Weights)/(1<<20))
	}
	g, err := d.start("gateway", "farclient", "serve", "--json", "--model", model, "--listen", "127.0.0.1:0", "--bootstrap", bootstrap, "--data-dir", filepath.Join(d.dir, "client"))
	if err != nil {
		return err
	}
	e, err := g.wait(ctx, "listening")
	if err != nil {
		return err
	}
	say("gateway on %s", e.URL)
	fmt.Printf("\nQ: %s\nA: ", question)
	if err := ask(ctx, e.URL); err != nil {
		return err
	}
	if d.keep {
		d.hints(os.Stdout, e.URL, bootstrap)
	}
	return nil
}

func (d *demo) start(name, program string, args ...string) (*process, error) {
	path, err := filepath.Abs(filepath.Join(d.bin, program))
	if err != nil {
		return nil, err
	}
	p := &process{name: name, cmd: exec.Command(path, args...), events: make(chan event, 4096), log: filepath.Join(d.dir, name+".log")}
	log, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p.cmd.Stderr = log
	// Standard output is a file too, so that a kept process outlives the demo.
	out, err := os.Create(filepath.Join(d.dir, name+".events"))
	if err != nil {
		return nil, err
	}
	defer out.Close()
	p.cmd.Stdout = out
	p.cmd.SysProcAttr = detached()
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w (run: make build)", program, err)
	}
	d.procs = append(d.procs, p)
	exited := make(chan struct{})
	go func() { _ = p.cmd.Wait(); close(exited) }()
	go p.follow(out.Name(), exited)
	return p, nil
}

// follow reads the child's events as they are written.
func (p *process) follow(path string, exited <-chan struct{}) {
	defer close(p.events)
	f, err := os.Open(path)
	if err != nil {
		return
	}
	defer f.Close()
	r := bufio.NewReader(f)
	var line []byte
	for {
		part, err := r.ReadBytes('\n')
		line = append(line, part...)
		if err == nil {
			var e event
			if json.Unmarshal(line, &e) == nil {
				p.events <- e
			}
			line = nil
			continue
		}
		select {
		case <-exited:
			return
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (p *process) wait(ctx context.Context, name string) (event, error) {
	for {
		select {
		case e, ok := <-p.events:
			if !ok {
				return event{}, fmt.Errorf("%s ended early:\n%s", p.name, tail(p.log))
			}
			if e.Event == name {
				return e, nil
			}
		case <-ctx.Done():
			return event{}, fmt.Errorf("%s: no event %q: %w\n%s", p.name, name, context.Cause(ctx), tail(p.log))
		}
	}
}

func tail(path string) string {
	b, _ := os.ReadFile(path)
	return string(b[max(0, len(b)-2000):])
}

// chunk holds what the demo reads of a chunk of a streamed answer.
type chunk struct {
	Choices []struct {
		Delta struct {
			Content string `json:"content"`
		} `json:"delta"`
	} `json:"choices"`
	Usage *struct {
		Prompt     int `json:"prompt_tokens"`
		Completion int `json:"completion_tokens"`
	} `json:"usage"`
	Farlabs *struct {
		Epoch int   `json:"epoch"`
		Route []hop `json:"route"`
	} `json:"farlabs"`
	Error *struct {
		Message string `json:"message"`
	} `json:"error"`
}

type hop struct {
	Peer    string  `json:"peer"`
	Name    string  `json:"name"`
	Blocks  string  `json:"blocks"`
	Direct  bool    `json:"direct"`
	Wait    float64 `json:"wait_ms"`
	Compute float64 `json:"compute_ms"`
	Gap     float64 `json:"gap_ms"`
}

// ask streams the answer and demands a route of three peers.
func ask(ctx context.Context, url string) error {
	body, _ := json.Marshal(map[string]any{
		"model": model, "stream": true, "max_tokens": 96, "temperature": 0,
		"stream_options": map[string]any{"include_usage": true},
		"messages":       []map[string]string{{"role": "user", "content": question}},
	})
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/v1/chat/completions", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("x-farlabs-route", "1")
	begin := time.Now()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		b, _ := io.ReadAll(io.LimitReader(resp.Body, 4096))
		return fmt.Errorf("%s: %s", resp.Status, b)
	}
	var route []hop
	var text strings.Builder
	tokens, first := 0, time.Duration(0)
	in := bufio.NewScanner(resp.Body)
	in.Buffer(make([]byte, 64<<10), 1<<20)
	for in.Scan() {
		data, ok := strings.CutPrefix(in.Text(), "data: ")
		if !ok || data == "[DONE]" {
			continue
		}
		var c chunk
		if err := json.Unmarshal([]byte(data), &c); err != nil {
			return fmt.Errorf("chunk %q: %w", data, err)
		}
		if c.Error != nil {
			return errors.New(c.Error.Message)
		}
		if c.Farlabs != nil {
			if route == nil {
				fmt.Printf("[%s]\n   ", path(c.Farlabs.Route))
			}
			route = c.Farlabs.Route
		}
		for _, ch := range c.Choices {
			if ch.Delta.Content != "" && first == 0 {
				first = time.Since(begin)
			}
			fmt.Print(ch.Delta.Content)
			text.WriteString(ch.Delta.Content)
		}
		if c.Usage != nil {
			tokens = c.Usage.Completion
		}
	}
	if err := in.Err(); err != nil {
		return err
	}
	fmt.Print("\n\n")
	peers := map[string]bool{}
	for i, h := range route {
		peers[h.Peer] = true
		fmt.Printf("hop %d  %-6s %s  blocks %-6s  compute %5.1f ms  wait %5.2f ms  gap %5.2f ms\n", i+1, h.Name, short(h.Peer), h.Blocks, h.Compute, h.Wait, h.Gap)
	}
	total := time.Since(begin)
	if tokens > 1 {
		fmt.Printf("%d tokens, the first after %.2f s, then %.1f tok/s\n", tokens, first.Seconds(), float64(tokens-1)/(total-first).Seconds())
	}
	switch {
	case strings.TrimSpace(text.String()) == "":
		return errors.New("the answer is empty")
	case len(peers) < 3:
		return fmt.Errorf("the route has %d different peers, it must have at least 3", len(peers))
	}
	return nil
}

func path(route []hop) string {
	parts := make([]string, len(route))
	for i, h := range route {
		parts[i] = fmt.Sprintf("%s %s", h.Name, h.Blocks)
	}
	return "you → " + strings.Join(parts, " → ") + " → you"
}

func short(peer string) string {
	if len(peer) > 6 {
		return "…" + peer[len(peer)-6:]
	}
	return peer
}

// hints says how to talk to what goes on running, how to end it, and what it
// leaves behind.
func (d *demo) hints(w io.Writer, url, bootstrap string) {
	var pids []string
	for _, p := range d.procs {
		pids = append(pids, fmt.Sprint(p.cmd.Process.Pid))
	}
	fmt.Fprintf(w, `
Nodes and gateway go on running. Talk to them:
  curl %s/v1/chat/completions -H 'Content-Type: application/json' \
    -d '{"model":"%s","messages":[{"role":"user","content":"Hello!"}]}'
  %s/farclient chat --bootstrap %s
  %s/farclient network --bootstrap %s
Kill one of the nodes (%s) while an answer streams and start another.
Their data and logs are in %s. Stop all and clean up
(a node takes up to four seconds to leave):
  kill %s && sleep 5 && rm -r %s
`, url, model, d.bin, bootstrap, d.bin, bootstrap, strings.Join(pids[:3], ", "), d.dir, strings.Join(pids, " "), d.dir)
}

// end stops the children, by their pids, and removes the data.
func (d *demo) end() {
	for _, p := range d.procs {
		_ = p.cmd.Process.Signal(os.Interrupt)
	}
	for _, p := range d.procs {
		timeout := time.After(6 * time.Second)
	drain:
		for {
			select {
			case _, ok := <-p.events:
				if !ok {
					break drain
				}
			case <-timeout:
				_ = p.cmd.Process.Kill()
				break drain
			}
		}
	}
	_ = os.RemoveAll(d.dir)
}
