// Command farclient uses the Far Labs network: it asks questions, serves an
// OpenAI-compatible API on this machine, and shows the network.
//
// Each subcommand has its file here: flags in, package pipeline or gateway
// called, text or JSON out. Routing, sessions and money are theirs.
package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/farlabs/inference/internal/cli"
	"github.com/farlabs/inference/internal/version"
)

func main() { os.Exit(cli.Main(root())) }

func root() *cobra.Command {
	c := &cobra.Command{
		Use:   "farclient",
		Args:  cli.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
		Short: "Use language models on the Far Labs network",
		Long: `farclient asks models that are split over many machines.

The prompt is turned into numbers here and the answer's words are chosen here;
the nodes compute what lies between. A node that sees those numbers can
reconstruct the prompt: do not send secrets over a network of strangers.`,
		Example: `  farclient run "Why is the sky blue?"
  farclient chat
  farclient serve                 # OpenAI-compatible API on 127.0.0.1:8080
  farclient network`,
		Version: version.String(),
	}
	c.AddCommand(run(), chatCommand(), serve(), network(), cli.ModelsCommand(), usage(), cli.VersionCommand())
	return c
}
