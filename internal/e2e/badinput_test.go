//go:build unix

package e2e

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/farlabs/inference/model/catalog"
	"github.com/farlabs/inference/pipeline"
	"github.com/farlabs/inference/pipeline/route"
)

// refused checks that a command ended with a status and an error that has
// every one of the words, without a stack trace.
func refused(t *testing.T, r Result, code int, words ...string) {
	t.Helper()
	if r.Code != code {
		t.Errorf("status %d, want %d:\n%s%s", r.Code, code, r.Stdout, r.Stderr)
	}
	for _, w := range words {
		if !strings.Contains(r.Stderr, w) {
			t.Errorf("the error does not say %q:\n%s", w, r.Stderr)
		}
	}
	if strings.Contains(r.Stderr, "goroutine ") || strings.Contains(r.Stderr, "panic") {
		t.Errorf("a panic:\n%s", r.Stderr)
	}
}

// failing runs a start_node that is to fail.
func failing(t *testing.T, args ...string) Result {
	t.Helper()
	base := []string{"--listen", "127.0.0.1:0", "--data-dir", t.TempDir(), "--memory", "64MiB"}
	return Run(t, "start_node", append(base, args...)...)
}

func TestCommandLinesThatCannotWorkSayWhy(t *testing.T) {
	processes(t)
	file := filepath.Join(t.TempDir(), "file")
	write(t, file, []byte("in the way"))
	client := func(args ...string) Result {
		t.Helper()
		return Run(t, "farclient", append([]string{"run", "--mdns", "off", "--data-dir", t.TempDir()}, args...)...)
	}
	for _, c := range []struct {
		name  string
		run   func() Result
		code  int
		words []string
	}{
		{"unknown flag", func() Result { return failing(t, "--modle", modelID) }, 2, []string{"--modle", "--model", "--help"}},
		{"unknown flag of the client", func() Result { return client("--bootstap", "x", "hi") }, 2, []string{"--bootstap", "--bootstrap"}},
		{"no model", func() Result { return failing(t) }, 2, []string{"--model", modelID}},
		{"wrong model", func() Result { return failing(t, "--model", "smollm2-137m") }, 2, []string{`"smollm2-137m"`, modelID, ".gguf"}},
		{"wrong model at the client", func() Result { return client("--model", "smollm2-137m", "hi") }, 2, []string{`"smollm2-137m"`, modelID, ".gguf"}},
		{"wrong model at the gateway", func() Result {
			return Run(t, "farclient", "serve", "--listen", "127.0.0.1:0", "--mdns", "off", "--data-dir", t.TempDir(), "--model", "smollm2-137m")
		}, 2, []string{`"smollm2-137m"`, modelID, ".gguf"}},
		{"hub repository", func() Result { return failing(t, "--model", "hf:org/repo/file.gguf") }, 2, []string{"not supported", "file.gguf", "download"}},
		{"model file that is not there", func() Result { return failing(t, "--model", "./none.gguf") }, 1, []string{"none.gguf", "not found", "catalog id"}},
		{"blocks beyond the model", func() Result { return failing(t, "--model", modelID, "--blocks", "25:40") }, 2, []string{"25:40", "30 blocks", "0:30"}},
		{"blocks backwards", func() Result { return failing(t, "--model", modelID, "--blocks", "20:10") }, 2, []string{"--blocks", "20:10", "first < end"}},
		{"too little memory", func() Result { return failing(t, "--model", modelID, "--memory", "1MiB") }, 2, []string{"--memory allows 1.0 MiB", "2.1 MiB"}},
		{"too little memory for the range", func() Result { return failing(t, "--model", modelID, "--memory", "20MiB", "--blocks", "0:15") }, 2, []string{"0:15", "--memory allows 20.0 MiB", "fewer blocks"}},
		{"memory of no size", func() Result { return failing(t, "--model", modelID, "--memory", "much") }, 2, []string{"--memory", `"much"`, "2GiB"}},
		{"bootstrap that is no address", func() Result { return failing(t, "--model", modelID, "--bootstrap", "192.0.2.1:4744") }, 2, []string{"192.0.2.1:4744", "/ip4/", "/p2p/"}},
		{"data directory that is a file", func() Result { return failing(t, "--model", modelID, "--data-dir", file) }, 1, []string{file, "--data-dir"}},
		{"data directory of the client below a file", func() Result { return client("--data-dir", filepath.Join(file, "x"), "hi") }, 1, []string{file, "--data-dir"}},
		{"gateway for everybody without a key", func() Result {
			return Run(t, "farclient", "serve", "--listen", "0.0.0.0:0", "--data-dir", t.TempDir())
		}, 2, []string{"--listen", "--api-key"}},
	} {
		t.Run(c.name, func(t *testing.T) { refused(t, c.run(), c.code, c.words...) })
	}
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestDamagedModelsAreRefused has node and client open damaged copies.
func TestDamagedModelsAreRefused(t *testing.T) {
	processes(t)
	src, err := catalog.Resolve(modelID, catalog.CacheDir())
	if err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(src.Path)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	noise := make([]byte, 1<<20)
	for i := range noise {
		noise[i] = byte(rand.Uint32())
	}
	// A header that is whole up to the middle of the vocabulary.
	middle := bytes.Index(whole, []byte("tokenizer.ggml.merges")) + 4000
	for name, data := range map[string][]byte{
		"empty.gguf":     {},
		"text.gguf":      []byte("This is not the model.\n"),
		"header.gguf":    whole[:middle],
		"truncated.gguf": whole[:len(whole)-1],
		"corrupt.gguf":   append(bytes.Clone(whole[:middle]), noise...),
	} {
		path := filepath.Join(dir, name)
		write(t, path, data)
		t.Run(name, func(t *testing.T) {
			refused(t, failing(t, "--model", path), 1, path, "get it again")
			refused(t, Run(t, "farclient", "run", "--mdns", "off", "--data-dir", t.TempDir(), "--model", path, "hi"), 1, path, "get it again")
		})
	}
	// A file of the catalog with one other bit: the pinned digest tells.
	t.Run("altered", func(t *testing.T) {
		cache := t.TempDir()
		whole[len(whole)-1000] ^= 1
		if err := os.Mkdir(filepath.Join(cache, "models"), 0o700); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(cache, "models", filepath.Base(src.Path))
		write(t, path, whole)
		dir := t.TempDir()
		p := launch(t, "altered", "start_node", dir, []string{"FARLABS_CACHE=" + cache}, "--json", "--model", modelID, "--listen", "127.0.0.1:0", "--data-dir", dir)
		refused(t, Result{Code: p.Exit(t, patience), Stdout: p.Output(), Stderr: p.Log()}, 1, path, "digest", "make model")
	})
}

func TestPromptBeyondTheContextIsRefused(t *testing.T) {
	nodes := Shared(t)
	prompt := strings.Repeat("all work and no play makes jack a dull boy ", 1000)
	out := RunInput(t, prompt, "farclient", "run", "--bootstrap", nodes[0].Addr, "--data-dir", t.TempDir())
	refused(t, out, 1, "8192", "Shorten")
	if strings.Contains(out.Stderr, "jack") {
		t.Error("the error repeats the prompt")
	}
	c := Dial(t, ClientOptions{Bootstrap: []string{nodes[0].Addr}})
	if _, err := c.Collect(t.Context(), pipeline.Request{Prompt: prompt}); !errors.Is(err, pipeline.ErrContextLength) {
		t.Errorf("error %v, want ErrContextLength", err)
	}
	c.Sees(t, nodes...)
	if a := c.Ask(t, question(2)); a.Usage.CompletionTokens != 2 {
		t.Error("the nodes do not serve any more")
	}
}

func TestPortInUseIsNamed(t *testing.T) {
	processes(t)
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	_, tcpPort, _ := net.SplitHostPort(tcp.Addr().String())
	_, udpPort, _ := net.SplitHostPort(udp.LocalAddr().String())
	refused(t, failing(t, "--model", modelID, "--listen", tcp.Addr().String()), 1, "tcp port "+tcpPort, "listen elsewhere")
	refused(t, failing(t, "--model", modelID, "--listen", udp.LocalAddr().String()), 1, "udp port "+udpPort, "listen elsewhere")
	refused(t, failing(t, "--model", modelID, "--metrics", tcp.Addr().String()), 1, "--metrics", tcpPort)
	out := Run(t, "farclient", "serve", "--mdns", "off", "--listen", tcp.Addr().String(), "--data-dir", t.TempDir())
	refused(t, out, 1, "--listen", tcpPort)
}

func TestSecondNodeIsRefusedAndTheFirstServesOn(t *testing.T) {
	processes(t)
	first := Start(t, NodeOptions{Blocks: "0:30"})
	first.Wait("serving")
	port := first.Addr[strings.Index(first.Addr, "/tcp/")+5 : strings.Index(first.Addr, "/p2p/")]
	refused(t, failing(t, "--model", modelID, "--identity", filepath.Join(first.Dir, "identity.key")), 1, "identity", "different identity")
	refused(t, failing(t, "--model", modelID, "--data-dir", first.Dir), 1, first.Dir, "stop it")
	refused(t, failing(t, "--model", modelID, "--listen", "127.0.0.1:"+port), 1, port, "listen elsewhere")
	c := Dial(t, ClientOptions{Bootstrap: []string{first.Addr}})
	c.Sees(t, first)
	if a := c.Ask(t, question(2)); a.Usage.CompletionTokens != 2 {
		t.Error("the first node does not serve any more")
	}
}

// TestMissingBlocksAreNamedWithinTheTimeout asks where nobody, and where only a
// part of the model, is served.
func TestMissingBlocksAreNamedWithinTheTimeout(t *testing.T) {
	processes(t)
	const timeout = 2 * time.Second
	ask := func(args ...string) Result {
		base := []string{"run", "--data-dir", t.TempDir(), "--timeout", timeout.String()}
		return Run(t, "farclient", append(append(base, args...), "hi")...)
	}
	alone := ask("--mdns", "off")
	refused(t, alone, 1, "0:30", "farclient network", "start_node")

	n := Start(t, NodeOptions{Blocks: "5:10"})
	n.Wait("serving")
	refused(t, ask("--bootstrap", n.Addr), 1, "0:5", "10:30", "farclient network", "start_node")

	c := Dial(t, ClientOptions{Bootstrap: []string{n.Addr}, Session: pipeline.SessionOptions{Timeout: timeout}})
	c.Sees(t, n)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	begin := time.Now()
	_, err := c.Collect(ctx, question(2))
	took := time.Since(begin)
	var missing *route.NoRouteError
	if !errors.Is(err, pipeline.ErrNoRoute) || !errors.As(err, &missing) || len(missing.Missing) != 2 {
		t.Errorf("error %v, want ErrNoRoute with two gaps", err)
	}
	if took < timeout || took > timeout+2*time.Second {
		t.Errorf("the error came after %s, the timeout is %s", took, timeout)
	}
	out := Run(t, "farclient", "network", "--bootstrap", n.Addr, "--data-dir", t.TempDir())
	if out.Code != 0 || !strings.Contains(out.Stdout, "missing blocks 0:5, 10:30") {
		t.Errorf("farclient network: status %d\n%s%s", out.Code, out.Stdout, out.Stderr)
	}
}

// TestBootstrapThatDoesNotAnswerIsNamed: an address mistyped must not pass for
// a network of one's own.
func TestBootstrapThatDoesNotAnswerIsNamed(t *testing.T) {
	processes(t)
	const dead = "/ip4/127.0.0.1/tcp/1/p2p/12D3KooWBm2CA5M3Nut8KxeMGTco3JyoRZWs2W8SdCepFXR1wnZp"
	refused(t, Run(t, "farclient", "network", "--bootstrap", dead, "--data-dir", t.TempDir()), 1, "--bootstrap", "answered")
	refused(t, Run(t, "farclient", "run", "--timeout", "1s", "--bootstrap", dead, "--data-dir", t.TempDir(), "hi"), 1, "0:30", "--bootstrap", "answered")
	n := Start(t, NodeOptions{Blocks: "0:1", Bootstrap: []string{dead}})
	if e := n.Wait("joined"); !e.Alone || !strings.Contains(e.Why, "--bootstrap") {
		t.Errorf("the node says %+v", e)
	}
}
