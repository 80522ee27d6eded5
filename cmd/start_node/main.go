// Command start_node is a Far Labs Node: it joins the network, hosts a range of
// a model's blocks and is paid for serving them.
//
// This file turns flags, variables and the settings file into a node.Config
// and prints the node's events. It holds no serving logic.
package main

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/farlabs/inference"
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
and that fit --memory. Without --bootstrap it finds nodes on the local network,
or starts a network of its own and prints what to run elsewhere.

Every setting is also a variable (--max-sessions: FARLABS_MAX_SESSIONS) and a
key of the settings file (max_sessions).`,
		Example: `  start_node --model smollm2-135m-instruct
  start_node --model smollm2-135m-instruct --bootstrap /ip4/192.0.2.7/tcp/4744/p2p/12D3Koo…
  start_node --model ./my-model.gguf --blocks 0:16 --memory 6GiB --price 0.20`,
		Args:    cobra.NoArgs,
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
	c.AddCommand(usage(), models(), versionCommand())
	return c
}

// flags are the settings of the daemon.
type flags struct {
	model, modelID, blocks, identity, dataDir, name string
	bootstrap, listen, announce                     []string
	memory, kvCache                                 cli.Size
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
	p.StringSliceVar(&f.bootstrap, "bootstrap", nil, "addresses of any nodes of the network, ending in /p2p/PEER (repeatable)")
	p.StringSliceVar(&f.listen, "listen", nil, "addresses to listen on, host:port or multiaddrs; default 0.0.0.0:4744 and [::]:4744, TCP and UDP")
	p.StringSliceVar(&f.announce, "announce", nil, "addresses at which others reach this node, such as a forwarded port")
	p.StringVar(&f.mdns, "mdns", "auto", "find nodes on the local network: on, off, or auto (on unless every listen address is loopback)")
	p.StringVar(&f.identity, "identity", "", "file of the node's key; default identity.key in the data directory")
	p.StringVar(&f.dataDir, "data-dir", cli.DataDir("start_node"), "where keys, books and remembered peers are kept")
	p.StringVar(&f.name, "name", "", "name shown to people; default: made from the node's key")
	_ = p.SetAnnotation("name", config.EnvAnnotation, []string{"FARLABS_NODE_NAME"})
	p.Var(&f.memory, "memory", "what weights and KV cache may take together; default: half of the machine's memory")
	p.Var(&f.kvCache, "kv-cache", "what the KV cache may take of --memory; default: a quarter, or what the weights leave")
	p.IntVar(&f.maxSessions, "max-sessions", 64, "sessions served at once")
	p.Var(&f.price, "price", "USD per 1M tokens over all blocks of the model; default: the catalog's price for its class")
	p.Uint64Var(&f.credit, "credit", 64, "tokens served to a payer before they are paid for")
	p.StringVar(&f.wallet, "wallet", "", "address that is paid, 0x…; default: the node's own key")
	p.StringVar(&f.metrics, "metrics", "", "serve Prometheus metrics, /healthz and /readyz on this address, such as 127.0.0.1:9464; default: off")
	p.StringVar(&f.logFormat, "log-format", "text", "log on standard error as text, json or off")
	p.BoolVarP(&f.verbose, "verbose", "v", false, "log what the node does in detail")
	p.BoolVar(&f.json, "json", false, "print events as JSON, one object per line, instead of text")
	_ = c.RegisterFlagCompletionFunc("model", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		var ids []string
		for _, e := range catalog.Entries() {
			ids = append(ids, string(e.ID))
		}
		return ids, cobra.ShellCompDirectiveDefault
	})
}

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
	return c, nil
}

func (f *flags) run(cmd *cobra.Command) error {
	c, err := f.config()
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
		c.Events = (&printer{progress: cli.NewProgress(os.Stdout)}).event
	}
	return node.Run(cmd.Context(), c)
}

// printer shows a node's events to people.
type printer struct {
	progress *cli.Progress
	addrs    []string
	model    string
}

func (p *printer) event(e node.Event) {
	say := p.progress.Printf
	switch e.Event {
	case node.EventHashing:
		p.progress.Set("Checking "+string(e.Model)+" (once)", e.Done, e.Bytes)
	case node.EventListening:
		p.addrs = e.Addrs
		say("Far Labs Node %q  %s  %s", e.Name, e.Peer.Short(), e.Version)
		for _, a := range e.Addrs {
			say("  %s", a)
		}
		if e.Metrics != "" {
			say("Metrics on http://%s/metrics", e.Metrics)
		}
		say("Connecting to Far Labs Network …")
	case node.EventJoined:
		p.model = string(e.Model)
		if e.Alone && e.Why != "" {
			say("No other node found: %s.", e.Why)
			return
		}
		if e.Alone {
			say("No other node found: this one starts its own network. To add a node, run elsewhere:")
			say("  start_node --model %s --bootstrap %s", e.Model, best(p.addrs))
			return
		}
		say("Connected: %s, %d of them serve %s", plural(e.Peers, "node"), e.Serving, e.Model)
	case node.EventBlocks:
		say("Blocks %s of %d (%s)", e.Blocks, e.Total, e.Why)
	case node.EventPacking:
		p.progress.Set("packing weights "+node.Bytes(e.Bytes)+" (once)", e.Done, e.Bytes)
	case node.EventLoading:
		p.progress.Set("weights "+node.Bytes(e.Bytes), e.Done, e.Bytes)
	case node.EventServing:
		say("Serving %s blocks %s · %.0f tok/s decode, %.0f tok/s prefill over them · weights %s, KV %s",
			e.Model, e.Blocks, e.DecodeRate, e.PrefillRate, node.Bytes(e.WeightBytes), node.Bytes(e.KVBytes))
	case node.EventLeaving:
		say("Leaving: saying goodbye, %s go on elsewhere", plural(e.Sessions, "session"))
	case node.EventStopped:
		say("Stopped")
	}
}

// best returns the address that is most useful elsewhere: not a loopback one
// if there is another.
func best(addrs []string) string {
	for _, a := range addrs {
		if !strings.HasPrefix(a, "/ip4/127.") && !strings.HasPrefix(a, "/ip6/::1/") {
			return a
		}
	}
	if len(addrs) == 0 {
		return "ADDRESS"
	}
	return addrs[0]
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		Run: func(c *cobra.Command, _ []string) { fmt.Fprintln(c.OutOrStdout(), version.String()) },
	}
}
