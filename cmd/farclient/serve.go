package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/gateway"
	"github.com/farlabs/inference/internal/cli"
	"github.com/farlabs/inference/internal/version"
	"github.com/farlabs/inference/pipeline"
)

// serving are the settings of serve.
type serving struct {
	connection
	models, modelIDs, hosts, origins []string
	listen                           string
	apiKeys                          []string
	json                             bool
}

// served is the event that serve --json prints when it listens.
type served struct {
	Event  string   `json:"event"` // "listening"
	URL    string   `json:"url"`
	Models []string `json:"models"`
	Peers  int      `json:"peers"` // nodes of the network that are connected
}

func serve() *cobra.Command {
	var f serving
	c := &cobra.Command{
		Use:   "serve",
		Short: "Serve an OpenAI-compatible API on this machine",
		Long: `serve answers the OpenAI API (chat completions, completions, models) for models
of the network. It listens on loopback; to listen beyond this machine it wants
an --api-key, and a proxy with TLS in front of it. It answers under localhost,
and there also under the machine's addresses and name; --host adds others.`,
		Example: `  farclient serve
  farclient serve --listen 127.0.0.1:9000 --model smollm2-135m-instruct --bootstrap /ip4/192.0.2.7/tcp/4744/p2p/12D3Koo…
  farclient serve --listen 0.0.0.0:8080 --api-key "$KEY" --host chat.example
  curl 127.0.0.1:8080/v1/chat/completions -H 'Content-Type: application/json' \
    -d '{"model":"smollm2-135m-instruct","messages":[{"role":"user","content":"Hello!"}]}'`,
		Args: cli.NoArgs,
	}
	f.addFlags(c)
	load := cli.Settings(c, "farclient")
	c.RunE = func(c *cobra.Command, _ []string) error {
		s, done, err := load()
		if done || err != nil {
			return err
		}
		// A variable that holds no key must not open the server to everybody.
		if s.Given("api-key") && len(f.apiKeys) == 0 {
			return cli.Usagef("--api-key is empty (%s): give a key, or leave it out", s.Source("api-key"))
		}
		return f.run(c)
	}
	return c
}

func (f *serving) addFlags(c *cobra.Command) {
	f.add(c)
	f.addSession(c)
	p := c.Flags()
	p.StringVar(&f.listen, "listen", "127.0.0.1:8080", "address to listen on, host:port")
	p.StringSliceVarP(&f.models, "model", "m", []string{defaultModel()}, "catalog id or path of a GGUF file (repeatable)")
	p.StringSliceVar(&f.modelIDs, "model-id", nil, "names for models given by a path, in the order of --model")
	p.StringSliceVar(&f.apiKeys, "api-key", nil, "key that requests must bring as a bearer token (repeatable)")
	p.StringSliceVar(&f.hosts, "host", nil, "further name under which others reach this server, such as that of a proxy before it (repeatable)")
	p.StringSliceVar(&f.origins, "origin", nil, "web origin that may use this server from a browser, such as https://chat.example (repeatable)")
	p.BoolVar(&f.json, "json", false, "print events as JSON, one object per line, instead of text")
	cli.CompleteModels(c, "model")
}

// id returns the name of the i-th model; "": the catalog id, or the file's name.
func (f *serving) id(i int) inference.ModelID {
	if i < len(f.modelIDs) {
		return inference.ModelID(f.modelIDs[i])
	}
	return ""
}

// gateway returns the part of the gateway's settings that flags stand for.
func (f *serving) gateway() gateway.Config {
	usd, _ := f.maxPrice.Get()
	return gateway.Config{
		APIKeys: f.apiKeys, Hosts: slices.Concat(f.hosts, gateway.ListenNames(f.listen)), Origins: f.origins,
		Ceiling: ceiling, MaxPrice: usd, Version: version.String(),
	}
}

// checkModels finds models that cannot be read, or are the same, before anything
// is joined.
func (f *serving) checkModels() error {
	if len(f.models) == 0 {
		return cli.Usagef("--model is empty: give a catalog id, such as %s, or the path of a GGUF file", defaultModel())
	}
	seen := map[inference.ModelID]string{}
	for i, spec := range f.models {
		id, err := checkModel(spec, f.id(i))
		if err != nil {
			return err
		}
		if other, twice := seen[id]; twice {
			return cli.Usagef("--model %s and --model %s would both be served as %s: leave one out, or give files names by --model-id", other, spec, id)
		}
		seen[id] = spec
	}
	return nil
}

func (f *serving) run(c *cobra.Command) (err error) {
	ctx := c.Context()
	if err := gateway.CheckListen(f.listen, f.apiKeys); err != nil {
		return cli.Usagef("--listen %s: %w", f.listen, err)
	}
	if len(f.modelIDs) > len(f.models) {
		return cli.Usagef("--model-id is given %d times, --model %d times", len(f.modelIDs), len(f.models))
	}
	if err := f.check(); err != nil {
		return err
	}
	g := f.gateway()
	if err := g.Validate(); err != nil {
		return &cli.UsageError{Err: err}
	}
	log, err := cli.Logger(f.logs, slog.LevelInfo)
	if err != nil {
		return err
	}
	if err := f.checkModels(); err != nil {
		return err
	}
	// The port first: a mistake about it should not cost the time to join.
	l, err := net.Listen("tcp", f.listen)
	if err != nil {
		return fmt.Errorf("%w; choose another --listen address, or stop what listens there", err)
	}
	defer l.Close()
	bar := cli.NewProgress(os.Stderr)
	if !f.json {
		bar.Printf("Connecting to Far Labs Network …")
	}
	client, err := f.client(ctx, pipeline.Events{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	g.Network, g.Log = client, log
	started := served{Event: "listening", URL: gateway.URL(l.Addr())}
	for i, spec := range f.models {
		p, err := client.Pipeline(ctx, spec, f.id(i), progress(bar, spec))
		if err != nil {
			return err
		}
		g.Models = append(g.Models, p)
		started.Models = append(started.Models, string(p.Model()))
	}
	if err := client.Node().FollowAll(ctx); err != nil {
		return err
	}
	if err := f.lost(client); err != nil {
		fmt.Fprintf(os.Stderr, "Warning: %v. Requests wait for nodes until --timeout.\n", err)
	}
	server, err := gateway.New(g)
	if err != nil {
		return err
	}
	started.Peers = client.Node().Peers()
	if f.json {
		cli.NewJSONLines(c.OutOrStdout()).Write(started)
	} else {
		fmt.Fprintf(c.OutOrStdout(), "Serving %s on %s (%s connected)\n", strings.Join(started.Models, ", "), started.URL, cli.Plural(started.Peers, "node"))
		fmt.Fprintf(c.OutOrStdout(), "  OpenAI base URL: %s/v1\n", started.URL)
	}
	told := f.farewell(ctx, c.OutOrStdout(), slowStop)
	err = server.Serve(ctx, l)
	told(err == nil)
	return err
}

// slowStop is how long serve takes to end before it says what it waits for.
const slowStop = 300 * time.Millisecond

// farewell says, from the end of ctx on, what the server does: that it waits
// for answers that run, when that takes longer than slow, and, once the
// returned function is called, that it has stopped. Each at most once.
func (f *serving) farewell(ctx context.Context, w io.Writer, slow time.Duration) (stopped func(ok bool)) {
	over := make(chan struct{})
	said := make(chan struct{})
	go func() {
		defer close(said)
		select {
		case <-ctx.Done():
		case <-over:
			return
		}
		select {
		case <-time.After(slow):
			if !f.json {
				fmt.Fprintln(w, "Stopping: answers that run get a few seconds; interrupt again to stop at once")
			}
		case <-over:
		}
	}()
	return func(ok bool) {
		close(over)
		<-said
		switch {
		case !ok:
		case f.json:
			cli.NewJSONLines(w).Write(stoppedEvent{Event: "stopped"})
		default:
			fmt.Fprintln(w, "Stopped")
		}
	}
}

// stoppedEvent is the last that serve --json prints.
type stoppedEvent struct {
	Event string `json:"event"` // "stopped"
}
