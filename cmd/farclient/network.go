package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/farlabs/inference/internal/cli"
	"github.com/farlabs/inference/pipeline"
)

func network() *cobra.Command {
	var f connection
	var asJSON bool
	c := &cobra.Command{
		Use: "network", Short: "Show models, blocks and nodes of the network", Args: cli.NoArgs,
		Long: "network joins, looks around and prints what is served, by whom, how fast and at what price.",
	}
	f.add(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	load := cli.Settings(c, "farclient")
	c.RunE = func(c *cobra.Command, _ []string) (err error) {
		if _, done, err := load(); done || err != nil {
			return err
		}
		if err := f.check(); err != nil {
			return err
		}
		client, err := f.client(c.Context(), pipeline.Events{})
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, client.Close()) }()
		if err := client.Node().FollowAll(c.Context()); err != nil {
			return err
		}
		info := client.Network(c.Context(), time.Second)
		if len(info.Nodes) == 0 && len(f.bootstrap) > 0 && client.Node().Alone() {
			return errUnreachable
		}
		if asJSON {
			cli.NewJSONLines(c.OutOrStdout()).Write(info)
			return nil
		}
		printNetwork(c.OutOrStdout(), info, client.Node().Alone())
		return nil
	}
	return c
}

// errUnreachable says that what was given to find the network by is of no use.
var errUnreachable = errors.New("none of the --bootstrap addresses answered: check address and peer id (a node prints both when it starts)")

func printNetwork(w io.Writer, info pipeline.NetworkInfo, alone bool) {
	if len(info.Nodes) == 0 {
		if alone {
			fmt.Fprintln(w, "No node found. Give the address of one (--bootstrap), or start one: start_node --model", defaultModel())
			return
		}
		fmt.Fprintln(w, "The network is there, but no node serves a model.")
		return
	}
	for _, m := range info.Models {
		state := "complete"
		if len(m.Missing) > 0 {
			state = "missing blocks " + strings.Join(m.Missing, ", ")
		}
		fmt.Fprintf(w, "%s  %d blocks, %d nodes, %s  (%s)\n%s\n\n", m.Model, m.Blocks, m.Nodes, state, m.Digest.Short(), coverage(m.Coverage))
	}
	t := table.NewWriter()
	t.SetOutputMirror(w)
	t.SetStyle(table.StyleLight)
	t.AppendHeader(table.Row{"node", "peer", "model", "blocks", "state", "decode", "prefill", "queue", "rtt", "$/1M", "score"})
	for _, n := range info.Nodes {
		queue := "?"
		if n.Queue >= 0 {
			queue = fmt.Sprint(n.Queue)
		}
		t.AppendRow(table.Row{
			n.Name, n.Peer.Short(), n.Model, n.Blocks, n.State, fmt.Sprintf("%.0f tok/s", n.Decode),
			fmt.Sprintf("%.0f tok/s", n.Prefill), queue, fmt.Sprintf("%.1f ms", n.RTT), fmt.Sprintf("%.2f", n.Price), fmt.Sprintf("%.2f", n.Score),
		})
	}
	t.Render()
}

// coverage draws how many nodes serve each block: a digit, + for more than 9,
// · for none.
func coverage(nodes []int) string {
	var b strings.Builder
	for _, n := range nodes {
		switch {
		case n == 0:
			b.WriteRune('·')
		case n > 9:
			b.WriteByte('+')
		default:
			fmt.Fprint(&b, n)
		}
	}
	return b.String()
}
