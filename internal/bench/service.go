package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// patience is how long a service may take until it serves.
const patience = 2 * time.Minute

// service is a process that runs until it is stopped.
type service struct {
	cmd    *exec.Cmd
	log    string // file of what it prints, events apart
	events chan event
	ended  chan struct{}
}

// event is what is read of the events of start_node and farclient.
type event struct {
	Event string   `json:"event"`
	Addrs []string `json:"addrs"`
	URL   string   `json:"url"`
}

// launch starts a program; lines of its standard output that are events can be
// waited for.
func (b *bench) launch(cmd *exec.Cmd) (*service, error) {
	f, err := os.CreateTemp(b.dir, filepath.Base(cmd.Path)+".*.log")
	if err != nil {
		return nil, err
	}
	defer f.Close() // the process has its own
	cmd.Stderr = f
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &service{cmd: cmd, log: f.Name(), events: make(chan event, 16), ended: make(chan struct{})}
	go func() {
		defer close(s.ended)
		for in := bufio.NewScanner(out); in.Scan(); {
			var e event
			if json.Unmarshal(in.Bytes(), &e) == nil && (e.Event == "listening" || e.Event == "serving") {
				s.events <- e
			}
		}
		_ = cmd.Wait()
	}()
	return s, nil
}

// await waits for an event, of which those before it are lost.
func (s *service) await(ctx context.Context, name string) (event, error) {
	timeout := time.After(patience)
	for {
		select {
		case e := <-s.events:
			if e.Event == name {
				return e, nil
			}
		case <-s.ended:
			return event{}, s.fault("ended")
		case <-timeout:
			return event{}, s.fault("no " + name)
		case <-ctx.Done():
			return event{}, context.Cause(ctx)
		}
	}
}

// healthy waits until a server answers on url.
func (s *service) healthy(ctx context.Context, url string) error {
	for begin := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		if r, err := http.Get(url); err == nil {
			r.Body.Close()
			if r.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-s.ended:
			return s.fault("ended")
		case <-ctx.Done():
			return context.Cause(ctx)
		default:
		}
		if time.Since(begin) > patience {
			return s.fault("does not answer")
		}
	}
}

func (s *service) fault(what string) error {
	text, _ := os.ReadFile(s.log)
	return fmt.Errorf("%s %s: %s", filepath.Base(s.cmd.Path), what, tail(string(text)))
}

// stop ends the process, in peace if it can.
func (s *service) stop() {
	_ = s.cmd.Process.Signal(os.Interrupt)
	select {
	case <-s.ended:
	case <-time.After(5 * time.Second):
		_ = s.cmd.Process.Kill()
		<-s.ended
	}
}

// services are stopped together.
type services []*service

func (l services) stop() {
	for _, s := range l {
		s.stop()
	}
}

// program is one of ours. Settings of the person who measures don't reach it.
func (b *bench) program(ctx context.Context, name, data string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(b.bin, name), append(args, "--json", "--data-dir", data)...)
	for _, e := range os.Environ() {
		if k, _, _ := strings.Cut(e, "="); !strings.HasPrefix(k, "FARLABS_") || k == "FARLABS_CACHE" || k == "FARLABS_KERNELS" {
			cmd.Env = append(cmd.Env, e)
		}
	}
	cmd.Env = append(cmd.Env, "XDG_CONFIG_HOME="+filepath.Join(b.dir, "config"))
	return cmd
}

// startNodes starts a node for each range and returns where the first listens,
// once all serve.
func (b *bench) startNodes(ctx context.Context, m file, ranges ...string) (all services, bootstrap string, err error) {
	defer func() {
		if err != nil {
			all.stop()
		}
	}()
	for _, r := range ranges {
		data, err := os.MkdirTemp(b.dir, "node-")
		if err != nil {
			return all, "", err
		}
		args := []string{"--model", m.path, "--blocks", r, "--listen", "127.0.0.1:0", "--memory", "4GiB", "--kv-cache", "512MiB"}
		if bootstrap != "" {
			args = append(args, "--bootstrap", bootstrap)
		}
		s, err := b.launch(b.program(ctx, "start_node", data, args...))
		if err != nil {
			return all, "", err
		}
		all = append(all, s)
		e, err := s.await(ctx, "listening")
		if err != nil {
			return all, "", err
		}
		if bootstrap == "" {
			if len(e.Addrs) == 0 {
				return all, "", errors.New("start_node listens on no address")
			}
			bootstrap = e.Addrs[0]
		}
	}
	for _, s := range all {
		if _, err := s.await(ctx, "serving"); err != nil {
			return all, "", err
		}
	}
	return all, bootstrap, nil
}

// startGateway starts farclient serve and returns its URL.
func (b *bench) startGateway(ctx context.Context, m file, bootstrap string) (*service, string, error) {
	data, err := os.MkdirTemp(b.dir, "gateway-")
	if err != nil {
		return nil, "", err
	}
	s, err := b.launch(b.program(ctx, "farclient", data, "serve", "--model", m.path, "--model-id", servedName,
		"--listen", "127.0.0.1:0", "--bootstrap", bootstrap))
	if err != nil {
		return nil, "", err
	}
	e, err := s.await(ctx, "listening")
	if err != nil {
		s.stop()
		return nil, "", err
	}
	return s, e.URL, nil
}

// startServer starts llama-server and returns its URL.
func (b *bench) startServer(ctx context.Context, m file, threads int, s setting, args ...string) (*service, string, error) {
	port, err := freePort()
	if err != nil {
		return nil, "", err
	}
	flash := "off"
	if s.flash {
		flash = "on"
	}
	args = append(args, "-m", m.path, "-t", strconv.Itoa(threads), "-c", "2048", "--parallel", "1", "-fa", flash,
		"--alias", servedName, "--host", "127.0.0.1", "--port", strconv.Itoa(port))
	if !s.repack {
		args = append(args, "--no-repack")
	}
	if s.pin {
		args = append(args, "-C", fmt.Sprintf("0x%x", uint64(1)<<threads-1), "--cpu-strict", "1")
	}
	p, err := b.launch(b.peer.program(ctx, "llama-server", args...))
	if err != nil {
		return nil, "", err
	}
	url := "http://127.0.0.1:" + strconv.Itoa(port)
	if err := p.healthy(ctx, url+"/health"); err != nil {
		p.stop()
		return nil, "", err
	}
	return p, url, nil
}

// startWorkers starts servers of llama.cpp's RPC and returns their addresses
// as its programs take them.
func (b *bench) startWorkers(ctx context.Context, n, threads int) (all services, list string, err error) {
	var addrs []string
	for range n {
		port, err := freePort()
		if err == nil {
			var s *service
			if s, err = b.launch(b.peer.program(ctx, "ggml-rpc-server", "-H", "127.0.0.1", "-p", strconv.Itoa(port), "-t", strconv.Itoa(threads))); err == nil {
				all = append(all, s)
				addr := "127.0.0.1:" + strconv.Itoa(port)
				addrs = append(addrs, addr)
				err = s.accepts(ctx, addr)
			}
		}
		if err != nil {
			all.stop()
			return nil, "", err
		}
	}
	return all, strings.Join(addrs, ","), nil
}

// accepts waits until something listens on addr.
func (s *service) accepts(ctx context.Context, addr string) error {
	for begin := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			return c.Close()
		}
		select {
		case <-s.ended:
			return s.fault("ended")
		case <-ctx.Done():
			return context.Cause(ctx)
		default:
		}
		if time.Since(begin) > patience {
			return s.fault("does not listen")
		}
	}
}

// freePort returns a TCP port of loopback that was free just now.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
