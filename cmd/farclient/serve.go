package main

import "github.com/spf13/cobra"

func serve() *cobra.Command { return &cobra.Command{Use: "serve"} }
