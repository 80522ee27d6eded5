//go:build unix

package e2e

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/model/chat"
	"github.com/farlabs/inference/pipeline"
)

// ClientOptions say how to make a client inside the test.
type ClientOptions struct {
	Bootstrap []string
	DataDir   string // "": fresh
	Session   pipeline.SessionOptions
	Events    pipeline.Events
	Model     string // modelID
}

// Client is a client inside the test's process with a pipeline for the model.
type Client struct {
	*pipeline.Client
	P   *pipeline.DistributedPipeline
	Dir string
}

// Dial makes a client. It is closed when the test ends, or by Close.
func Dial(t testing.TB, o ClientOptions) *Client {
	t.Helper()
	if o.DataDir == "" {
		o.DataDir = t.TempDir()
	}
	if o.Model == "" {
		o.Model = modelID
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := pipeline.NewClient(ctx, pipeline.ClientConfig{
		Bootstrap: o.Bootstrap, DataDir: o.DataDir, Defaults: o.Session, Events: o.Events,
	})
	if err != nil {
		t.Fatalf("client: %v", err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("close client: %v", err)
		}
	})
	p, err := c.Pipeline(ctx, o.Model, "", nil)
	if err != nil {
		t.Fatalf("pipeline: %v", err)
	}
	return &Client{Client: c, P: p, Dir: o.DataDir}
}

// Until waits until f holds, at most for a time, and reports whether it does.
func Until(within time.Duration, f func() bool) bool {
	for deadline := time.Now().Add(within); ; time.Sleep(10 * time.Millisecond) {
		if f() {
			return true
		}
		if time.Now().After(deadline) {
			return false
		}
	}
}

// Sees waits until the client's table holds a serving record of every node.
func (c *Client) Sees(t testing.TB, nodes ...*Node) {
	t.Helper()
	for _, n := range nodes {
		if !Until(patience, func() bool { return c.serves(n.Peer) }) {
			t.Fatalf("the client does not see %s serve", n.Name)
		}
	}
}

func (c *Client) serves(peer inference.PeerID) bool {
	for _, r := range c.Node().Records(c.P.Digest()) {
		if r.Peer == peer && r.State == inference.StateServing {
			return true
		}
	}
	return false
}

// Answer is a whole generation.
type Answer struct {
	Text   string
	Tokens []pipeline.Token
	Prompt []pipeline.Token // with PromptLogProbs
	Finish pipeline.Finish
	Usage  inference.Usage
	Routes []pipeline.RouteInfo // the first, after each reroute, the last
	Deltas int
}

// Route returns the last route.
func (a Answer) Route() pipeline.RouteInfo {
	if len(a.Routes) == 0 {
		return pipeline.RouteInfo{}
	}
	return a.Routes[len(a.Routes)-1]
}

// Collect runs a request of one choice to its end; what came before an error is returned too.
func (c *Client) Collect(ctx context.Context, r pipeline.Request) (Answer, error) {
	var a Answer
	var text strings.Builder
	for d, err := range c.P.Generate(ctx, r) {
		if err != nil {
			a.Text = text.String()
			return a, err
		}
		a.Deltas++
		if d.Choice == 0 {
			text.WriteString(d.Text)
			a.Tokens = append(a.Tokens, d.Tokens...)
		}
		if d.Prompt != nil {
			a.Prompt = d.Prompt
		}
		if d.Finish != "" {
			a.Finish = d.Finish
		}
		if d.Usage != nil {
			a.Usage = *d.Usage
		}
		if d.Route != nil {
			a.Routes = append(a.Routes, *d.Route)
		}
	}
	a.Text = text.String()
	return a, nil
}

// Ask is Collect for requests that have to succeed.
func (c *Client) Ask(t testing.TB, r pipeline.Request) Answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	a, err := c.Collect(ctx, r)
	if err != nil {
		t.Fatalf("generate: %v (after %d tokens)", err, len(a.Tokens))
	}
	return a
}

// question returns a greedy request for n tokens.
func question(n int) pipeline.Request {
	return pipeline.Request{
		Messages:  []chat.Message{{Role: "user", Content: "Explain in three sentences why the sky is blue."}},
		MaxTokens: n, IgnoreEOS: true,
	}
}

// short returns a request of six ids for n tokens: the least work that a
// session can be.
func short(n int) pipeline.Request {
	return pipeline.Request{IDs: []inference.TokenID{504, 2365, 282, 260, 905, 314}, MaxTokens: n, IgnoreEOS: true}
}
