// Command start_node is a Far Labs Node: it joins the network, hosts a range of
// a model's blocks and is paid for serving them.
//
// This file turns flags, variables and the settings file into a node.Config
// and prints the node's events. It holds no serving logic.
package main

import (
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/farnet"
	"github.com/farlabs/inference/internal/cli"
	"github.com/farlabs/inference/internal/config"
	"github.com/farlabs/inference/internal/node"
	"github.com/farlabs/inference/internal/version"
	"github.com/farlabs/inference/model/catalog"
)

func main() { os.Exit(cli.Main(root())) }

func root() *cobra.Command {
	c := &cobra.Command{
		Use:   "start_node --model MODEL",
		Short: "Host blocks of a language model for the Far Labs network",
		Long: `start_node joins the Far Labs network, hosts a range of a model's transformer
blocks and serves them until it is stopped. It is paid per token.

A model is a catalog id (start_node models lists them) or the path of a GGUF
file. Without --blocks the node hosts the blocks that the network needs most
and that fit --memory. Without --bootstrap it finds nodes on the local network
or those of its last run, or starts a network of its own and prints what to run
elsewhere.

Every setting is also a variable (--max-sessions: FARLABS_MAX_SESSIONS) and a
key of the settings file (max_sessions).`,
		Example: `  start_node --model smollm2-135m-instruct
  start_node --model smollm2-135m-instruct --bootstrap /ip4/192.0.2.7/tcp/4744/p2p/12D3Koo…
  start_node --model ./my-model.gguf --blocks 0:16 --memory 6GiB --price 0.20`,
		Args:    cli.NoArgs,
		Version: version.String(),
	}
	var f flags
	f.add(c)
	load := cli.Settings(c, "start_node")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if _, done, err := load(); done || err != nil {
			return err
		}
		return f.run(c)
	}
	c.AddCommand(usage(), cli.ModelsCommand(), cli.VersionCommand())
	return c
}

// flags are the settings of the daemon.
type flags struct {
	model, modelID, blocks, identity, dataDir, name string
	bootstrap, listen, announce                     []string
	memory, kvCache                                 cli.Size
	activations, kv                                 string
	maxSessions                                     int
	price                                           cli.USD
	credit                                          uint64
	wallet, metrics, logFormat, mdns                string
	json, verbose                                   bool
}

func (f *flags) add(c *cobra.Command) {
	p := c.Flags()
	p.StringVar(&f.model, "model", "", "catalog id or path of a GGUF file (required)")
	p.StringVar(&f.modelID, "model-id", "", "name under which the model is announced; default: the catalog id, or the file's name")
	p.StringVar(&f.blocks, "blocks", "auto", "blocks to host, first:end such as 10:20, or auto: what the network needs most")
	p.StringSliceVar(&f.bootstrap, "bootstrap", nil, "addresses of any nodes of the network, ending in /p2p/PEER (repeatable); default: the network of the last run")
	p.StringSliceVar(&f.listen, "listen", nil, "addresses to listen on, host:port or multiaddrs; default 0.0.0.0:4744 and [::]:4744, TCP and UDP")
	p.StringSliceVar(&f.announce, "announce", nil, "addresses at which others reach this node, such as a forwarded port")
	p.StringVar(&f.mdns, "mdns", "auto", "find nodes on the local network: on, off, or auto (on unless every listen address is loopback)")
	p.StringVar(&f.identity, "identity", "", "file of the node's key; default identity.key in the data directory")
	p.StringVar(&f.dataDir, "data-dir", cli.DataDir("start_node"), "where keys, books and remembered peers are kept")
	p.StringVar(&f.name, "name", "", "name shown to people; default: made from the node's key")
	_ = p.SetAnnotation("name", config.EnvAnnotation, []string{"FARLABS_NODE_NAME"})
	p.Var(&f.memory, "memory", "what weights and KV cache may take together; default: half of the machine's memory")
	p.Var(&f.kvCache, "kv-cache", "what the KV cache may take of --memory; default: a quarter, or what the weights leave")
	p.StringVar(&f.kv, "kv", inference.DefaultKV.String(), "how keys and values are kept: f16, f32 (twice the memory) or q8 (half)")
	p.StringVar(&f.activations, "activations", inference.DefaultActivations.String(), "what quantised weights are multiplied by: int8, or f32 (closer to the reference, slower)")
	p.IntVar(&f.maxSessions, "max-sessions", 64, "sessions served at once")
	p.Var(&f.price, "price", "USD per 1M tokens over all blocks of the model; default: the catalog's price for its class")
	p.Uint64Var(&f.credit, "credit", 64, "tokens served to a payer before they are paid for")
	p.StringVar(&f.wallet, "wallet", "", "address that is paid, 0x…; default: the node's own key")
	p.StringVar(&f.metrics, "metrics", "", "serve Prometheus metrics, /healthz and /readyz on this address, such as 127.0.0.1:9464; default: off")
	p.StringVar(&f.logFormat, "log-format", "text", "log on standard error as text, json or off")
	p.BoolVarP(&f.verbose, "verbose", "v", false, "log what the node does in detail")
	p.BoolVar(&f.json, "json", false, "print events as JSON, one object per line, instead of text")
	cli.CompleteModels(c, "model")
	cli.CompleteWith(c, "mdns", "on", "off", "auto")
	cli.CompleteWith(c, "log-format", "text", "json", "off")
	cli.CompleteWith(c, "blocks", "auto")
	cli.CompleteWith(c, "kv", "f16", "f32", "q8")
	cli.CompleteWith(c, "activations", "int8", "f32")
}

// maxCredit bounds --credit, tokens: far more than anybody is to be trusted
// with, and far below what could not be counted.
const maxCredit = 1_000_000_000

// config checks the flags and makes them into a node.Config.
func (f *flags) config() (node.Config, error) {
	c := node.Config{
		Model: f.model, ModelID: inference.ModelID(f.modelID), CacheDir: catalog.CacheDir(),
		Bootstrap: f.bootstrap, Listen: f.listen, Announce: f.announce, MDNS: f.mdns,
		Identity: f.identity, DataDir: f.dataDir, Name: f.name,
		Memory: int64(f.memory), KVCache: int64(f.kvCache), MaxSessions: f.maxSessions,
		Price: -1, Credit: f.credit, Metrics: f.metrics, Version: version.String(),
	}
	if usd, given := f.price.Get(); given {
		c.Price = usd
	}
	if f.model == "" {
		return c, cli.Usagef("--model is missing: give a catalog id, such as %s, or the path of a GGUF file", catalog.Entries()[0].ID)
	}
	if c.Identity == "" {
		c.Identity = filepath.Join(c.DataDir, "identity.key")
	}
	var err error
	if c.Numerics.Activations, err = inference.ParseActivations(f.activations); err != nil {
		return c, cli.Usagef("--activations: %w", err)
	}
	if c.Numerics.KV, err = inference.ParseKVDType(f.kv); err != nil {
		return c, cli.Usagef("--kv: %w", err)
	}
	if f.blocks != "auto" {
		r, err := inference.ParseBlockRange(f.blocks)
		if err != nil {
			return c, cli.Usagef("--blocks: %w", err)
		}
		c.Blocks = &r
	}
	if f.wallet != "" {
		a, err := inference.ParseAddress(f.wallet)
		if err != nil {
			return c, cli.Usagef("--wallet: %w", err)
		}
		c.Wallet = a
	}
	if c.MaxSessions < 1 {
		return c, cli.Usagef("--max-sessions %d: want at least 1", c.MaxSessions)
	}
	if c.Credit > maxCredit {
		return c, cli.Usagef("--credit %d: want 0 to %d", c.Credit, maxCredit)
	}
	return c, nil
}

// check finds what the node would refuse later.
func (f *flags) check() error {
	for _, l := range []struct {
		flag  string
		addrs []string
		check func(string) error
	}{{"listen", f.listen, farnet.CheckListen}, {"announce", f.announce, farnet.CheckListen}, {"bootstrap", f.bootstrap, farnet.CheckBootstrap}} {
		for _, a := range l.addrs {
			if err := l.check(a); err != nil {
				return cli.Usagef("--%s: %w", l.flag, err)
			}
		}
	}
	if _, err := farnet.ParseSwitch(f.mdns); err != nil {
		return cli.Usagef("--mdns: %w", err)
	}
	if err := inference.ValidateName(f.name); err != nil {
		return cli.Usagef("--name: %w", err)
	}
	if f.modelID != "" {
		if err := inference.ModelID(f.modelID).Validate(); err != nil {
			return cli.Usagef("--model-id: %w", err)
		}
	}
	if f.metrics != "" {
		if _, _, err := net.SplitHostPort(f.metrics); err != nil {
			return cli.Usagef("--metrics %q: want host:port such as 127.0.0.1:9464", f.metrics)
		}
	}
	return nil
}

func (f *flags) run(cmd *cobra.Command) error {
	c, err := f.config()
	if err == nil {
		err = f.check()
	}
	if err != nil {
		return err
	}
	level := slog.LevelWarn
	if f.verbose {
		level = slog.LevelDebug
	}
	if c.Log, err = cli.Logger(f.logFormat, level); err != nil {
		return err
	}
	if f.json {
		lines := cli.NewJSONLines(cmd.OutOrStdout())
		c.Events = func(e node.Event) { lines.Write(e) }
	} else {
		c.Events = (&printer{progress: cli.NewProgress(cmd.OutOrStdout())}).event
	}
	err = node.Run(cmd.Context(), c)
	if setting := (*node.SettingError)(nil); errors.As(err, &setting) {
		return &cli.UsageError{Err: err}
	}
	return err
}
