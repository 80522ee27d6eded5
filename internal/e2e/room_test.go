//go:build unix

package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/pipeline"
)

// fullNode is a node of the whole model whose KV cache holds 256 positions.
func fullNode(t *testing.T) *Node {
	t.Helper()
	processes(t)
	n := Start(t, NodeOptions{Blocks: "0:30", Memory: "100MiB", Extra: []string{"--kv-cache", "5760KiB"}})
	n.Wait("serving")
	return n
}

func TestAnswerThatFillsTheOnlyNodeEndsWithAnError(t *testing.T) {
	n := fullNode(t)
	dir := t.TempDir()
	r := Run(t, "farclient", "run", "--bootstrap", n.Addr, "--data-dir", dir, "--model", modelID, "--timeout", "10s", "--temperature", "0", "--max-tokens", "400",
		"Write a very long story about a lighthouse keeper, with many chapters.")
	if r.Code != 1 || !strings.Contains(r.Stderr, "no room for 272 positions") || !strings.Contains(r.Stderr, "hold 256") || strings.Contains(r.Stderr, "Waiting") {
		t.Errorf("exit %d: %s", r.Code, r.Stderr)
	}
	if len(r.Stdout) < 500 {
		t.Errorf("what was there is lost: %q", r.Stdout)
	}
	// Every position was paid once.
	if !Until(5*time.Second, func() bool { return with(spent(t, dir), n.wallet(t)).Unsettled == 0 }) {
		t.Error("the bill is not settled")
	}
	u := with(spent(t, dir), n.wallet(t)).Units
	if u.Total() != 256*layers || u[inference.LineRecovery] != 0 {
		t.Errorf("the bill is %v", u)
	}
	equalBooks(t, dir, []*Node{n})
}

func TestPromptThatFitsNoNodeIsRefusedByTheGateway(t *testing.T) {
	n := fullNode(t)
	_, url := Serve(t, n.Addr)
	begin := time.Now()
	body := fmt.Sprintf(`{"model":%q,"stream":true,"max_tokens":10,"prompt":%q}`, modelID, strings.Repeat("word ", 600))
	resp, err := http.Post(url+"/v1/completions", "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != 503 || !strings.Contains(string(b), "kv_cache_too_small") || resp.Header.Get("X-Should-Retry") != "false" {
		t.Errorf("%s: %s", resp.Status, b)
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}

// Two sessions that together are too much for the node both come to their end,
// with the same text as alone, and one of them pays for one replay.
func TestSessionsThatFillTheOnlyNodeTogetherBothFinish(t *testing.T) {
	n := fullNode(t)
	const tokens = 150
	session := pipeline.SessionOptions{Timeout: time.Minute}
	clients := []*Client{
		Dial(t, ClientOptions{Bootstrap: []string{n.Addr}, Session: session}),
		Dial(t, ClientOptions{Bootstrap: []string{n.Addr}, Session: session}),
	}
	for _, c := range clients {
		c.Sees(t, n)
	}
	ids := func(a Answer) (ids []inference.TokenID) {
		for _, tok := range a.Tokens {
			ids = append(ids, tok.ID)
		}
		return ids
	}
	alone := ids(clients[0].Ask(t, short(tokens)))
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var wg sync.WaitGroup
	for i, c := range clients {
		wg.Go(func() {
			a, err := c.Collect(ctx, short(tokens))
			if err != nil || !slices.Equal(ids(a), alone) {
				t.Errorf("client %d: %d tokens, %v", i, len(a.Tokens), err)
			}
		})
	}
	wg.Wait()
	again := uint64(0)
	for _, c := range clients {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		again += with(spent(t, c.Dir), n.wallet(t)).Units[inference.LineRecovery]
	}
	if again > (tokens+6)*layers {
		t.Errorf("%d token·blocks of recovery", again)
	}
	t.Logf("%d token·blocks of recovery", again)
}
