package main

import (
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/farlabs/inference/internal/cli"
	"github.com/farlabs/inference/payment"
)

func usage() *cobra.Command {
	return cli.UsageCommand("start_node", "Show what was earned", "payer", func(dir string) (payment.Usage, error) {
		return payment.ReadEarnings(filepath.Join(dir, "earned"))
	})
}

func models() *cobra.Command { return cli.ModelsCommand() }
