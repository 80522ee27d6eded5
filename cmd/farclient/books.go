package main

import (
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/farlabs/inference/internal/cli"
	"github.com/farlabs/inference/payment"
)

func usage() *cobra.Command {
	return cli.UsageCommand("farclient", "Show what was spent", "node", func(dir string) (payment.Usage, error) {
		return payment.ReadSpending(filepath.Join(dir, "spent"))
	})
}

func models() *cobra.Command { return cli.ModelsCommand() }
