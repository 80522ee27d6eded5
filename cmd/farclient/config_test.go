package main

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/gateway"
	"github.com/farlabs/inference/internal/config"
	"github.com/farlabs/inference/internal/version"
	"github.com/farlabs/inference/model/chat"
	"github.com/farlabs/inference/model/sample"
	"github.com/farlabs/inference/pipeline"
)

// tested fails for flags of c that no row used, other than those named.
func tested(t *testing.T, c *cobra.Command, rows map[string]bool, without ...string) {
	t.Helper()
	for _, name := range without {
		rows[name] = true
	}
	c.Flags().VisitAll(func(p *pflag.Flag) {
		if !rows[p.Name] {
			t.Errorf("--%s is in no row", p.Name)
		}
	})
}

func TestEachFlagOfASessionLandsInItsField(t *testing.T) {
	rows := map[string]bool{}
	command := func(f *connection) *cobra.Command {
		c := &cobra.Command{Use: "run"}
		f.addSession(c)
		return c
	}
	for _, x := range []struct {
		args []string
		want func(o *pipeline.SessionOptions)
	}{
		{nil, func(*pipeline.SessionOptions) {}},
		{[]string{"--wire", "f32"}, func(o *pipeline.SessionOptions) { o.Wire = inference.WireF32 }},
		{[]string{"--timeout", "7s"}, func(o *pipeline.SessionOptions) { o.Timeout = 7 * time.Second }},
		// 1M tokens for 2 USD, at 10¹⁸ wei each.
		{[]string{"--max-price", "2"}, func(o *pipeline.SessionOptions) { o.Ceiling = inference.WeiOf(2_000_000_000_000) }},
		{[]string{"--max-price", "0"}, func(*pipeline.SessionOptions) {}},
		{[]string{"--relay=true"}, func(o *pipeline.SessionOptions) { o.Relay = true }},
	} {
		var f connection
		c := command(&f)
		if err := c.ParseFlags(x.args); err != nil {
			t.Fatal(err)
		}
		c.Flags().Visit(func(p *pflag.Flag) { rows[p.Name] = true })
		want := pipeline.SessionOptions{Wire: inference.WireBF16, Timeout: 30 * time.Second}
		x.want(&want)
		if got, err := f.session(); err != nil || !cmp.Equal(want, got) {
			t.Errorf("%q: %v\n%s", x.args, err, cmp.Diff(want, got))
		}
	}
	for arg, want := range map[string]inference.Activations{"int8": inference.ActivationsInt8, "f32": inference.ActivationsF32, "f16": 0} {
		var f connection
		if err := command(&f).ParseFlags([]string{"--activations", arg}); err != nil {
			t.Fatal(err)
		}
		if got, err := f.numerics(); got != want || (err == nil) != (want != 0) {
			t.Errorf("--activations %s: %s, %v", arg, got, err)
		}
		rows["activations"] = true
	}
	tested(t, command(new(connection)), rows)
}

func TestEachFlagOfAConnectionLandsInItsField(t *testing.T) {
	var f connection
	c := &cobra.Command{Use: "network"}
	f.add(c)
	if err := c.ParseFlags([]string{"--bootstrap", "a,b", "--mdns", "on", "--data-dir", "d", "--log-format", "json"}); err != nil {
		t.Fatal(err)
	}
	want := pipeline.ClientConfig{Bootstrap: []string{"a", "b"}, MDNS: "on", DataDir: "d", Defaults: pipeline.SessionOptions{Timeout: 7}}
	if got := f.config(pipeline.SessionOptions{Timeout: 7}); !cmp.Equal(want, got, cmpopts.IgnoreFields(got, "Events")) {
		t.Error(cmp.Diff(want, got, cmpopts.IgnoreFields(got, "Events")))
	}
	if f.logs != "json" {
		t.Errorf("log format %q", f.logs)
	}
	tested(t, c, map[string]bool{}, "bootstrap", "mdns", "data-dir", "log-format")
}

// seven is a seed that a request has.
var seven = uint64(7)

func TestEachFlagOfAQuestionLandsInItsField(t *testing.T) {
	rows := map[string]bool{}
	user := chat.Message{Role: "user", Content: "hello"}
	for _, x := range []struct {
		args, env []string
		want      func(r *pipeline.Request)
	}{
		{nil, nil, func(*pipeline.Request) {}},
		{[]string{"--system", "be brief"}, nil, func(r *pipeline.Request) {
			r.Messages = []chat.Message{{Role: "system", Content: "be brief"}, user}
		}},
		{[]string{"--max-tokens", "9"}, nil, func(r *pipeline.Request) { r.MaxTokens = 9 }},
		{[]string{"--temperature", "0"}, nil, func(r *pipeline.Request) { r.Sampling.Temperature = 0 }},
		{[]string{"--top-p", "0.5"}, nil, func(r *pipeline.Request) { r.Sampling.TopP = 0.5 }},
		{[]string{"--seed", "7"}, nil, func(r *pipeline.Request) { r.Seed = &seven }},
		{[]string{"--seed", "0"}, nil, func(r *pipeline.Request) { r.Seed = new(uint64) }},
		{nil, []string{"FARLABS_SEED=7"}, func(r *pipeline.Request) { r.Seed = &seven }},
		{[]string{"--seed", "7"}, []string{"FARLABS_SEED=8"}, func(r *pipeline.Request) { r.Seed = &seven }},
	} {
		var f asking
		c := &cobra.Command{Use: "run"}
		f.add(c)
		if err := c.ParseFlags(x.args); err != nil {
			t.Fatal(err)
		}
		c.Flags().Visit(func(p *pflag.Flag) { rows[p.Name] = true })
		s, err := config.Load(c.Flags(), x.env, "", true)
		if err != nil {
			t.Fatal(err)
		}
		f.loaded(s)
		want := pipeline.Request{
			Messages: []chat.Message{user}, MaxTokens: 512,
			Sampling: sample.Params{Temperature: 0.7, TopP: 0.95},
		}
		x.want(&want)
		if got := f.request(f.messages("hello")); !cmp.Equal(want, got) {
			t.Errorf("%q %q:\n%s", x.args, x.env, cmp.Diff(want, got))
		}
	}
	var f asking
	c := &cobra.Command{Use: "run"}
	f.add(c)
	tested(t, c, rows, "model", "model-id", "verbose", // used when it is opened and shown
		"bootstrap", "mdns", "data-dir", "log-format", "wire", "activations", "timeout", "max-price", "relay")
}

func TestEachFlagOfServeLandsInItsField(t *testing.T) {
	for _, x := range []struct {
		args []string
		want func(g *gateway.Config)
	}{
		{nil, func(*gateway.Config) {}},
		{[]string{"--api-key", "a,b"}, func(g *gateway.Config) { g.APIKeys = []string{"a", "b"} }},
		{[]string{"--host", "chat.example"}, func(g *gateway.Config) { g.Hosts = []string{"chat.example"} }},
		{[]string{"--origin", "https://chat.example"}, func(g *gateway.Config) { g.Origins = []string{"https://chat.example"} }},
		{[]string{"--max-price", "2"}, func(g *gateway.Config) { g.MaxPrice = 2 }},
	} {
		var f serving
		c := &cobra.Command{Use: "serve"}
		f.addFlags(c)
		if err := c.ParseFlags(x.args); err != nil {
			t.Fatal(err)
		}
		want := gateway.Config{Version: version.String()}
		x.want(&want)
		got := f.gateway()
		if wei, err := got.Ceiling(2); err != nil || wei != inference.WeiOf(2_000_000_000_000) {
			t.Errorf("a request's max_price of 2 USD: %v wei, %v", wei, err)
		}
		if d := cmp.Diff(want, got, cmpopts.IgnoreFields(got, "Ceiling")); d != "" {
			t.Errorf("%q:\n%s", x.args, d)
		}
	}
	var f serving
	c := &cobra.Command{Use: "serve"}
	f.addFlags(c)
	if err := c.ParseFlags([]string{"--model", "a,b", "--model-id", "first", "--listen", "127.0.0.1:1"}); err != nil {
		t.Fatal(err)
	}
	if f.id(0) != "first" || f.id(1) != "" || f.models[1] != "b" || f.listen != "127.0.0.1:1" {
		t.Errorf("models %q as %q and %q on %s", f.models, f.id(0), f.id(1), f.listen)
	}
}

// TestLookingAtTheNetworkNeedsNoSession: the command has no session's flags.
func TestLookingAtTheNetworkNeedsNoSession(t *testing.T) {
	var f connection
	f.add(&cobra.Command{})
	if o, err := f.session(); err != nil || o != (pipeline.SessionOptions{}) {
		t.Errorf("options %+v, error %v", o, err)
	}
}
