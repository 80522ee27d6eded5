package farnet

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/farlabs/inference"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// testConfig listens on any free loopback port.
func testConfig() Config {
	c := DefaultConfig()
	c.Listen = []string{"127.0.0.1:0"}
	if os.Getenv("FARNET_TEST_LOG") != "" {
		c.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	return c
}

// leakChecked holds the tests whose first node has been made.
var leakChecked sync.Map

// testNode starts a node that ends with the test, and sees to it that nothing
// is left running then.
func testNode(t *testing.T, edit func(*Config)) *Node {
	t.Helper()
	if _, again := leakChecked.LoadOrStore(t, true); !again {
		t.Cleanup(func() { goleak.VerifyNone(t) })
	}
	c := testConfig()
	if edit != nil {
		edit(&c)
	}
	n, err := New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

func testClient(t *testing.T, bootstrap ...string) *Node {
	return testNode(t, func(c *Config) {
		c.Listen, c.ClientMode, c.Bootstrap = nil, true, bootstrap
	})
}

func testDigest(name string) inference.Digest { return sha256.Sum256([]byte(name)) }

// testRecord is what a node that serves blocks 0:10 of 30 would announce.
func testRecord(model string) *inference.NodeRecord {
	return &inference.NodeRecord{
		Name: "brave-otter", Model: inference.ModelID(model), Digest: testDigest(model), Class: inference.Numerics{}.Class(),
		Blocks: inference.BlockRange{Start: 0, End: 10}, Total: 30, State: inference.StateServing,
		Rates: inference.Rates{Decode: 1.25, Prefill: 0.1}, Memory: 1 << 30, Version: "v0.1.0",
	}
}

func announce(t *testing.T, n *Node, model string) {
	t.Helper()
	if err := n.Announce(context.Background(), testRecord(model)); err != nil {
		t.Fatal(err)
	}
}

// patience is for what takes milliseconds on a machine at rest. How long the
// network may take is tested in virtual time.
const patience = 20 * time.Second

// eventually waits for ok, and fails the test when it does not come in time.
func eventually(t *testing.T, what string, ok func() bool) time.Duration {
	t.Helper()
	start := time.Now()
	for !ok() {
		if time.Since(start) > patience {
			t.Fatalf("not within %v: %s", patience, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
	return time.Since(start)
}

// sees reports whether n's table of the model holds exactly the given nodes.
func sees(n *Node, model string, want ...*Node) bool {
	recs := n.Records(testDigest(model))
	if len(recs) != len(want) {
		return false
	}
	for _, w := range want {
		found := false
		for _, r := range recs {
			found = found || r.Peer == w.ID()
		}
		if !found {
			return false
		}
	}
	return true
}

type peerText = inference.PeerID

func isOf(n *simNode) func(inference.NodeRecord) bool {
	return func(r inference.NodeRecord) bool { return r.Peer == n.ID() }
}
