package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/farnet"
	"github.com/farlabs/inference/internal/cli"
	"github.com/farlabs/inference/model/catalog"
	"github.com/farlabs/inference/payment/pricing"
	"github.com/farlabs/inference/pipeline"
)

// defaultModel is what a client asks when nobody says otherwise: the catalog's
// first row, which is what `make model` fetches.
func defaultModel() string { return string(catalog.Entries()[0].ID) }

// connection are the settings of every subcommand that joins the network.
type connection struct {
	bootstrap           []string
	mdns, dataDir, logs string
	wire, activations   string
	asks                bool // the command opens sessions: addSession was called
	timeout             time.Duration
	maxPrice            cli.USD
	verbose             bool
	relay               bool
}

func (f *connection) add(c *cobra.Command) {
	p := c.Flags()
	p.StringSliceVar(&f.bootstrap, "bootstrap", nil, "addresses of any nodes of the network, ending in /p2p/PEER (repeatable); default: the network of the last run")
	p.StringVar(&f.mdns, "mdns", "auto", "find nodes on the local network: on, off, or auto (on unless every bootstrap address is loopback)")
	cli.CompleteWith(c, "mdns", "on", "off", "auto")
	p.StringVar(&f.dataDir, "data-dir", cli.DataDir("farclient"), "where the payer's key, books and ratings are kept")
	p.StringVar(&f.logs, "log-format", "off", "log on standard error as text, json or off")
	cli.CompleteWith(c, "log-format", "text", "json", "off")
}

func (f *connection) addSession(c *cobra.Command) {
	f.asks = true
	p := c.Flags()
	p.StringVar(&f.wire, "wire", "bf16", "how hidden states travel and are rounded: bf16, or f32 (exact, twice the bytes)")
	cli.CompleteWith(c, "wire", "bf16", "f32")
	p.StringVar(&f.activations, "activations", inference.DefaultActivations.String(), "what the head's quantised weights are multiplied by: int8, or f32 (closer to the reference, slower)")
	cli.CompleteWith(c, "activations", "int8", "f32")
	p.DurationVar(&f.timeout, "timeout", 30*time.Second, "give up after so long without progress")
	p.Var(&f.maxPrice, "max-price", "most that all nodes of a route together may ask, USD per 1M tokens; default: no limit, as is 0")
	p.BoolVar(&f.relay, "relay", false, "let every edge between nodes run through this client")
}

// session returns the options that the flags stand for.
func (f *connection) session() (pipeline.SessionOptions, error) {
	var o pipeline.SessionOptions
	var err error
	if !f.asks {
		return o, nil
	}
	if f.wire != "" {
		if o.Wire, err = inference.ParseWireDType(f.wire); err != nil {
			return o, cli.Usagef("--wire: %w", err)
		}
	}
	if f.timeout <= 0 {
		return o, cli.Usagef("--timeout %s: want more than 0", f.timeout)
	}
	o.Timeout, o.Relay = f.timeout, f.relay
	usd, _ := f.maxPrice.Get()
	if o.Ceiling, err = ceiling(usd); err != nil {
		return o, cli.Usagef("--max-price: %w", err)
	}
	return o, nil
}

// ceiling converts USD per 1M tokens to wei per token; 0 is no limit.
func ceiling(usd float64) (inference.Wei, error) {
	if usd == 0 {
		return inference.Wei{}, nil
	}
	q, err := pricing.Quote(usd, 1)
	return q.Dearest(), err
}

// check finds what is wrong with the settings before anything is joined.
func (f *connection) check() error {
	for _, a := range f.bootstrap {
		if err := farnet.CheckBootstrap(a); err != nil {
			return cli.Usagef("--bootstrap: %w", err)
		}
	}
	if _, err := farnet.ParseSwitch(f.mdns); err != nil {
		return cli.Usagef("--mdns: %w", err)
	}
	if _, err := cli.Logger(f.logs, slog.LevelInfo); err != nil {
		return err
	}
	if _, err := f.session(); err != nil {
		return err
	}
	_, err := f.numerics()
	return err
}

// numerics returns the dtype that the flag names; 0 where the command has none.
func (f *connection) numerics() (inference.Activations, error) {
	if !f.asks {
		return 0, nil
	}
	a, err := inference.ParseActivations(f.activations)
	if err != nil {
		return 0, cli.Usagef("--activations: %w", err)
	}
	return a, nil
}

// client joins the network.
func (f *connection) client(ctx context.Context, events pipeline.Events) (*pipeline.Client, error) {
	log, err := cli.Logger(f.logs, slog.LevelInfo)
	if err != nil {
		return nil, err
	}
	o, err := f.session()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(f.dataDir, 0o700); err != nil {
		return nil, fmt.Errorf("data directory: %w; choose another with --data-dir", err)
	}
	cfg := f.config(o)
	if cfg.Activations, err = f.numerics(); err != nil {
		return nil, err
	}
	cfg.Events, cfg.Log = events, log
	c, err := pipeline.NewClient(ctx, cfg)
	if err == nil && !c.Node().Alone() && !c.Node().BootstrapMet(time.Second) {
		fmt.Fprintf(os.Stderr, "Warning: %v. Other nodes did, which are remembered from a run with the same addresses or are on the local network.\n", errUnreachable)
	}
	return c, err
}

// errUnreachable says that what was given to find the network by is of no use.
var errUnreachable = errors.New("none of the --bootstrap addresses answered: check address and peer id (a node prints both when it starts)")

// lost says why a client is alone; nil: it is not.
func (f *connection) lost(c *pipeline.Client) error {
	switch {
	case !c.Node().Alone():
		return nil
	case len(f.bootstrap) > 0:
		return errUnreachable
	}
	return fmt.Errorf("no node found: give the address of one (--bootstrap), or start one: start_node --model %s", defaultModel())
}

// config returns the part of a client's settings that flags stand for.
func (f *connection) config(o pipeline.SessionOptions) pipeline.ClientConfig {
	return pipeline.ClientConfig{Bootstrap: f.bootstrap, MDNS: f.mdns, DataDir: f.dataDir, Defaults: o}
}

// checkModel finds what is wrong with a model, as far as the header of its file
// tells, before anything is joined. It returns the model's id.
func checkModel(spec string, id inference.ModelID) (inference.ModelID, error) {
	m, err := catalog.Read(spec, catalog.CacheDir(), id)
	if err != nil {
		return "", err
	}
	return m.ID, m.Close()
}

// progress shows the one pass over a model file that makes its digest.
func progress(p *cli.Progress, model string) func(done, total int64) {
	return func(done, total int64) { p.Set("Checking "+model+" (once)", done, total) }
}
