package main

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/internal/cli"
	"github.com/farlabs/inference/internal/node"
	"github.com/farlabs/inference/internal/version"
	"github.com/farlabs/inference/model/catalog"
)

// configOf returns what a node is started with when args stand on the line.
func configOf(t *testing.T, args ...string) (node.Config, error) {
	t.Helper()
	var f flags
	c := &cobra.Command{Use: "start_node"}
	f.add(c)
	if err := c.ParseFlags(args); err != nil {
		t.Fatal(err)
	}
	return f.config()
}

// plain is the configuration of --model m alone.
func plain(c *node.Config) {
	*c = node.Config{
		Model: "m", CacheDir: catalog.CacheDir(), MDNS: "auto",
		DataDir: cli.DataDir("start_node"), Identity: filepath.Join(cli.DataDir("start_node"), "identity.key"),
		Numerics:    inference.Numerics{Activations: inference.ActivationsInt8, KV: inference.KVF16},
		MaxSessions: 64, Price: -1, Credit: 64, Version: version.String(),
	}
}

func TestEachFlagLandsInItsField(t *testing.T) {
	wallet := inference.Address{19: 7}
	tested := map[string]bool{"model": true, "log-format": true, "verbose": true, "json": true} // the last three: no field
	for _, x := range []struct {
		args []string
		want func(c *node.Config)
	}{
		{nil, func(*node.Config) {}},
		{[]string{"--model", "other"}, func(c *node.Config) { c.Model = "other" }},
		{[]string{"--model-id", "mine"}, func(c *node.Config) { c.ModelID = "mine" }},
		{[]string{"--blocks", "10:20"}, func(c *node.Config) { c.Blocks = &inference.BlockRange{Start: 10, End: 20} }},
		{[]string{"--blocks", "auto"}, func(*node.Config) {}},
		{[]string{"--bootstrap", "a,b", "--bootstrap", "c"}, func(c *node.Config) { c.Bootstrap = []string{"a", "b", "c"} }},
		{[]string{"--listen", "a"}, func(c *node.Config) { c.Listen = []string{"a"} }},
		{[]string{"--announce", "a"}, func(c *node.Config) { c.Announce = []string{"a"} }},
		{[]string{"--mdns", "off"}, func(c *node.Config) { c.MDNS = "off" }},
		{[]string{"--identity", "k"}, func(c *node.Config) { c.Identity = "k" }},
		{[]string{"--data-dir", "d"}, func(c *node.Config) { c.DataDir, c.Identity = "d", filepath.Join("d", "identity.key") }},
		{[]string{"--data-dir", "d", "--identity", "k"}, func(c *node.Config) { c.DataDir, c.Identity = "d", "k" }},
		{[]string{"--name", "otter"}, func(c *node.Config) { c.Name = "otter" }},
		{[]string{"--memory", "2GiB"}, func(c *node.Config) { c.Memory = 2 << 30 }},
		{[]string{"--kv-cache", "3MiB"}, func(c *node.Config) { c.KVCache = 3 << 20 }},
		{[]string{"--kv", "f32"}, func(c *node.Config) { c.Numerics.KV = inference.KVF32 }},
		{[]string{"--activations", "f32"}, func(c *node.Config) { c.Numerics.Activations = inference.ActivationsF32 }},
		{[]string{"--max-sessions", "3"}, func(c *node.Config) { c.MaxSessions = 3 }},
		{[]string{"--price", "0.25"}, func(c *node.Config) { c.Price = 0.25 }},
		{[]string{"--price", "0"}, func(c *node.Config) { c.Price = 0 }},
		{[]string{"--credit", "5"}, func(c *node.Config) { c.Credit = 5 }},
		{[]string{"--credit", "0"}, func(c *node.Config) { c.Credit = 0 }},
		{[]string{"--price", "3", "--credit", "5"}, func(c *node.Config) { c.Price, c.Credit = 3, 5 }},
		{[]string{"--wallet", wallet.String()}, func(c *node.Config) { c.Wallet = wallet }},
		{[]string{"--metrics", "127.0.0.1:9464"}, func(c *node.Config) { c.Metrics = "127.0.0.1:9464" }},
	} {
		got, err := configOf(t, append([]string{"--model", "m"}, x.args...)...)
		if err != nil {
			t.Errorf("%q: %v", x.args, err)
			continue
		}
		var want node.Config
		plain(&want)
		x.want(&want)
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%q: want -, got +\n%s", x.args, d)
		}
		for i := 0; i < len(x.args); i += 2 {
			tested[x.args[i][2:]] = true
		}
	}
	var f flags
	c := &cobra.Command{Use: "start_node"}
	f.add(c)
	c.Flags().VisitAll(func(p *pflag.Flag) {
		if !tested[p.Name] {
			t.Errorf("--%s is in no row", p.Name)
		}
	})
}

// TestNonsenseIsRefusedBeforeTheNodeStarts: with the name of its flag.
func TestNonsenseIsRefusedBeforeTheNodeStarts(t *testing.T) {
	for flag, value := range map[string]string{
		"listen": "foo", "announce": "/ip4/1.2.3.4", "bootstrap": "192.0.2.1:4744", "mdns": "maybe",
		"name": "two\nlines", "model-id": "Foo Bar", "metrics": "9464",
	} {
		var f flags
		c := &cobra.Command{Use: "start_node"}
		f.add(c)
		if err := c.ParseFlags([]string{"--" + flag, value}); err != nil {
			t.Fatal(err)
		}
		var usage *cli.UsageError
		if err := f.check(); !errors.As(err, &usage) || !strings.Contains(err.Error(), "--"+flag) {
			t.Errorf("--%s %q: %v", flag, value, err)
		}
	}
	if err := new(flags).check(); err == nil {
		return
	}
	t.Error("no flag at all was refused")
}
