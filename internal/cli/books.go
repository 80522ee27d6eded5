package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/internal/version"
	"github.com/farlabs/inference/model/catalog"
	"github.com/farlabs/inference/payment"
)

// Books says how a program's books are read and shown.
type Books struct {
	Program string
	Short   string // help of the command
	Party   string // heading of the other side's address
	// Bound says what the figures of sessions are that have not settled: BoundUpper
	// or BoundLower.
	Bound string
	Read  func(dataDir string) (payment.Usage, error)
}

// What the figures of unsettled sessions are: a client counts what it has
// ordered, which becomes less when less is delivered; a node what it has
// computed so far.
const (
	BoundUpper = "upper"
	BoundLower = "lower"
)

// UsageCommand returns the command that shows a program's books.
func UsageCommand(b Books) *cobra.Command {
	var dataDir string
	var asJSON bool
	c := &cobra.Command{Use: "usage", Short: b.Short, Args: NoArgs}
	c.Flags().StringVar(&dataDir, "data-dir", DataDir(b.Program), "where the books are kept")
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	load := Settings(c, b.Program)
	c.RunE = func(c *cobra.Command, _ []string) error {
		if _, done, err := load(); done || err != nil {
			return err
		}
		u, err := b.Read(dataDir)
		if err != nil {
			return err
		}
		if asJSON {
			NewJSONLines(c.OutOrStdout()).Write(usageOf(u, b.Bound))
			return nil
		}
		PrintUsage(c.OutOrStdout(), u, b)
		return nil
	}
	return c
}

// usage is what usage --json prints.
type usage struct {
	Rows     []usageRow    `json:"rows"`
	Promised inference.Wei `json:"promised"`
}

type usageRow struct {
	payment.Row
	// Bound is BoundUpper or BoundLower while sessions of the row are unsettled:
	// what its token·blocks and amount are of the final ones.
	Bound string `json:"bound,omitempty"`
}

func usageOf(u payment.Usage, bound string) usage {
	out := usage{Rows: make([]usageRow, len(u.Rows)), Promised: u.Promised}
	for i, r := range u.Rows {
		out.Rows[i].Row = r
		if r.Unsettled > 0 {
			out.Rows[i].Bound = bound
		}
	}
	return out
}

// ModelsCommand returns the command that lists the catalog.
func ModelsCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{Use: "models", Short: "List the models of the catalog", Args: NoArgs}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON array")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if asJSON {
			NewJSONLines(c.OutOrStdout()).Write(catalog.Entries())
			return nil
		}
		PrintModels(c.OutOrStdout(), Have)
		return nil
	}
	return c
}

// VersionCommand returns the command that prints the version.
func VersionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: NoArgs,
		Run: func(c *cobra.Command, _ []string) { fmt.Fprintln(c.OutOrStdout(), version.String()) },
	}
}
