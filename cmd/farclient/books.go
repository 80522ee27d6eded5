package main

import (
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/farlabs/inference/internal/cli"
	"github.com/farlabs/inference/model/catalog"
	"github.com/farlabs/inference/payment"
)

func usage() *cobra.Command {
	var dataDir string
	var asJSON bool
	c := &cobra.Command{Use: "usage", Short: "Show what was spent", Args: cobra.NoArgs}
	c.Flags().StringVar(&dataDir, "data-dir", cli.DataDir("farclient"), "where the books are kept")
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	load := cli.Settings(c, "farclient")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if _, done, err := load(); done || err != nil {
			return err
		}
		u, err := payment.ReadSpending(filepath.Join(dataDir, "spent"))
		if err != nil {
			return err
		}
		if asJSON {
			cli.NewJSONLines(c.OutOrStdout()).Write(u)
			return nil
		}
		cli.PrintUsage(c.OutOrStdout(), u, "node")
		return nil
	}
	return c
}

func models() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{Use: "models", Short: "List the models of the catalog", Args: cobra.NoArgs}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON array")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if asJSON {
			cli.NewJSONLines(c.OutOrStdout()).Write(catalog.Entries())
			return nil
		}
		cli.PrintModels(c.OutOrStdout(), cli.Have)
		return nil
	}
	return c
}
