package cli

import (
	"github.com/spf13/cobra"

	"github.com/farlabs/inference/model/catalog"
	"github.com/farlabs/inference/payment"
)

// UsageCommand returns the command that shows a program's books: read reads
// them from the data directory, party is the heading of the other side.
func UsageCommand(program, short, party string, read func(dataDir string) (payment.Usage, error)) *cobra.Command {
	var dataDir string
	var asJSON bool
	c := &cobra.Command{Use: "usage", Short: short, Args: cobra.NoArgs}
	c.Flags().StringVar(&dataDir, "data-dir", DataDir(program), "where the books are kept")
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	load := Settings(c, program)
	c.RunE = func(c *cobra.Command, _ []string) error {
		if _, done, err := load(); done || err != nil {
			return err
		}
		u, err := read(dataDir)
		if err != nil {
			return err
		}
		if asJSON {
			NewJSONLines(c.OutOrStdout()).Write(u)
			return nil
		}
		PrintUsage(c.OutOrStdout(), u, party)
		return nil
	}
	return c
}

// ModelsCommand returns the command that lists the catalog.
func ModelsCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{Use: "models", Short: "List the models of the catalog", Args: cobra.NoArgs}
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
