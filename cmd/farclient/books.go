package main

import (
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/farlabs/inference/internal/cli"
	"github.com/farlabs/inference/payment"
)

func usage() *cobra.Command {
	return cli.UsageCommand(cli.Books{
		Program: "farclient", Short: "Show what was spent", Party: "node", Bound: cli.BoundUpper,
		Read: func(dir string) (payment.Usage, error) { return payment.ReadSpending(filepath.Join(dir, "spent")) },
	})
}
