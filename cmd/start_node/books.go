package main

import (
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/farlabs/inference/internal/cli"
	"github.com/farlabs/inference/payment"
)

func usage() *cobra.Command {
	return cli.UsageCommand(cli.Books{
		Program: "start_node", Short: "Show what was earned", Party: "payer", Bound: cli.BoundLower,
		Read: func(dir string) (payment.Usage, error) { return payment.ReadEarnings(filepath.Join(dir, "earned")) },
	})
}
