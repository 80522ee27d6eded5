//go:build unix

package e2e

import (
	"bufio"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/model/catalog"
)

var (
	binaries string // folder of start_node and farclient
	runDir   string // of this run, removed at its end
	run      = &runScope{}
	full     = os.Getenv("FARLABS_FULL") == "1"
)

// modelID is the model that the tests run, and its size.
const (
	modelID = "smollm2-135m-instruct"
	layers  = 30
)

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(testMain(m))
}

func testMain(m *testing.M) (code int) {
	if testing.Short() {
		return m.Run()
	}
	var err error
	if runDir, err = os.MkdirTemp("", "farlabs-e2e-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(runDir)
	defer run.close()
	if err := prepare(); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	return m.Run()
}

// prepare finds or builds the binaries and checks that the model is there.
func prepare() (err error) {
	if _, err := catalog.Resolve(modelID, catalog.CacheDir()); err != nil {
		return fmt.Errorf("the tests need the model: %w", err)
	}
	if dir := os.Getenv("FARLABS_BIN"); dir != "" {
		binaries, err = filepath.Abs(dir)
		return err
	}
	binaries = filepath.Join(runDir, "bin")
	build := exec.Command("go", "build", "-o", binaries+string(filepath.Separator), "../../cmd/start_node", "../../cmd/farclient")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build: %w\n%s", err, out)
	}
	return nil
}

// processes marks a test that runs real processes.
func processes(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: no real processes")
	}
}

// pick returns the size of a test: short by default, whole with FARLABS_FULL=1.
func pick[T any](short, whole T) T {
	if full {
		return whole
	}
	return short
}

// NodeOptions say how to start a node. Zero values: a name made from a number,
// blocks auto, memory for all blocks, a fresh data directory, loopback.
type NodeOptions struct {
	Name      string
	Model     string // modelID
	Blocks    string
	Memory    string
	Bootstrap []string
	Listen    string
	DataDir   string
	Verbose   bool
	Extra     []string // further flags
	Through   []string // a program that runs the node's command line, absolute path first
	Env       []string
}

// Node is a running start_node.
type Node struct {
	*Process
	Peer inference.PeerID
	Addr string // full multiaddr that Bootstrap takes

	scope   scope
	options NodeOptions
}

var counter struct {
	sync.Mutex
	n int
}

func nextName(prefix string) string {
	counter.Lock()
	defer counter.Unlock()
	counter.n++
	return fmt.Sprintf("%s%d", prefix, counter.n)
}

// Start starts a node and returns once it listens; n.Wait("serving") waits
// until it serves.
func Start(t scope, o NodeOptions) *Node {
	t.Helper()
	n := Launch(t, o)
	e := n.Wait("listening")
	n.Peer = e.Peer
	if len(e.Addrs) == 0 {
		t.Fatalf("%s listens on no address", n.Name)
	}
	n.Addr = e.Addrs[0]
	return n
}

// Launch starts a node and waits for nothing: Peer and Addr are not known yet.
func Launch(t scope, o NodeOptions) *Node {
	t.Helper()
	if o.Name == "" {
		o.Name = nextName("node")
	}
	if o.Model == "" {
		o.Model = modelID
	}
	if o.Listen == "" {
		o.Listen = "127.0.0.1:0"
	}
	if o.DataDir == "" {
		o.DataDir = t.TempDir()
	}
	args := []string{"--json", "--model", o.Model, "--name", o.Name, "--listen", o.Listen, "--data-dir", o.DataDir}
	if o.Blocks != "" {
		args = append(args, "--blocks", o.Blocks)
	}
	if o.Memory == "" {
		o.Memory = "192MiB"
	}
	args = append(args, "--memory", o.Memory)
	for _, b := range o.Bootstrap {
		args = append(args, "--bootstrap", b)
	}
	if o.Verbose {
		args = append(args, "-v")
	}
	args = append(args, o.Extra...)
	program := "start_node"
	if len(o.Through) > 0 {
		args = slices.Concat(o.Through[1:], []string{filepath.Join(binaries, program)}, args)
		program = o.Through[0]
	}
	return &Node{Process: launch(t, o.Name, program, o.DataDir, o.Env, args...), scope: t, options: o}
}

// Again starts a node that is gone with the same data directory and options.
func (n *Node) Again() *Node {
	n.scope.Helper()
	return Start(n.scope, n.options)
}

// Wait returns the first event of a name, waiting for it if need be; it ends
// the test when the node ends first.
func (n *Node) Wait(event string) Event {
	n.scope.Helper()
	return n.await(n.scope, event)
}

// Metric returns the value of one of the node's metrics.
func (n *Node) Metric(t testing.TB, name string) float64 {
	t.Helper()
	resp, err := http.Get("http://" + n.Wait("listening").Metrics + "/metrics")
	if err != nil {
		t.Fatalf("%s: metrics: %v", n.Name, err)
	}
	defer resp.Body.Close()
	for in := bufio.NewScanner(resp.Body); in.Scan(); {
		if v, ok := strings.CutPrefix(in.Text(), name+" "); ok {
			f, err := strconv.ParseFloat(v, 64)
			if err != nil {
				t.Fatalf("%s: metric %s: %v", n.Name, name, err)
			}
			return f
		}
	}
	t.Fatalf("%s has no metric %s", n.Name, name)
	return 0
}

// Blocks returns the range that the node serves.
func (n *Node) Blocks() string {
	n.scope.Helper()
	return n.Wait("serving").Blocks
}

// Chain starts nodes that serve the given ranges and their metrics, the first
// of which the others join, and returns once all serve.
func Chain(t scope, ranges ...string) []*Node {
	t.Helper()
	nodes := make([]*Node, len(ranges))
	for i, r := range ranges {
		o := NodeOptions{Blocks: r, Extra: []string{"--metrics", "127.0.0.1:0"}}
		if i > 0 {
			o.Bootstrap = []string{nodes[0].Addr}
		}
		nodes[i] = Start(t, o)
	}
	for _, n := range nodes {
		n.Wait("serving")
	}
	return nodes
}

// thirds are the ranges of the cluster that most tests use.
var thirds = []string{"0:10", "10:20", "20:30"}

var shared, whole struct {
	sync.Once
	nodes []*Node
}

// Shared returns three nodes that serve a third each, the same for every test:
// for tests that do them no harm.
func Shared(t *testing.T) []*Node {
	t.Helper()
	processes(t)
	shared.Do(func() { shared.nodes = Chain(run, thirds...) })
	alive(t, shared.nodes)
	return shared.nodes
}

// Whole returns one node that serves the whole model in a network of its own,
// the same for every test: for tests that do it no harm.
func Whole(t *testing.T) *Node {
	t.Helper()
	processes(t)
	whole.Do(func() { whole.nodes = Chain(run, "0:30") })
	alive(t, whole.nodes)
	return whole.nodes[0]
}

func alive(t *testing.T, nodes []*Node) {
	t.Helper()
	if len(nodes) == 0 {
		t.Fatal("the shared nodes did not start")
	}
	for _, n := range nodes {
		if n.Exited() {
			t.Fatalf("%s, which tests share, is gone:\n%s", n.Name, tail(n.Log()))
		}
	}
}

// Serve starts a gateway and returns it with its URL.
func Serve(t scope, bootstrap string, extra ...string) (*Process, string) {
	t.Helper()
	dir := t.TempDir()
	args := append([]string{"serve", "--json", "--model", modelID, "--listen", "127.0.0.1:0", "--bootstrap", bootstrap, "--data-dir", dir}, extra...)
	p := launch(t, nextName("gateway"), "farclient", dir, nil, args...)
	return p, p.await(t, "listening").URL
}
