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
		Long: "network joins, looks around and prints what is served, by whom, how fast and at what price. It fails when no node is found.",
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
		var lost error
		if len(info.Nodes) == 0 {
			lost = f.lost(client)
		}
		switch {
		case asJSON:
			cli.NewJSONLines(c.OutOrStdout()).Write(info)
		case lost == nil:
			printNetwork(c.OutOrStdout(), info)
		}
		return lost
	}
	return c
}

func printNetwork(w io.Writer, info pipeline.NetworkInfo) {
	if len(info.Nodes) == 0 {
		fmt.Fprintln(w, "The network is there, but no node serves a model.")
		return
	}
	for _, m := range info.Models {
		state := "complete"
		if len(m.Missing) > 0 {
			state = "missing blocks " + strings.Join(m.Missing, ", ")
		}
		fmt.Fprintf(w, "%s  %s, %s, %s  (%s)\n%s\n\n", m.Model, cli.Plural(m.Blocks, "block"), cli.Plural(m.Nodes, "node"), state, m.Digest.Short(), coverage(m.Coverage))
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
