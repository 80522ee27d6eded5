package cli

import (
	"github.com/spf13/cobra"

	"github.com/farlabs/inference/model/catalog"
)

// completion adds the command that prints scripts for shells. Cobra's own takes
// a shell that it does not know for a wish to see the help.
func completion(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	c := find(root, "completion")
	if c == nil {
		return // a command without others
	}
	c.Args = NoArgs
	c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
}

// CompleteModels has a shell offer the catalog's ids, and files, for a flag.
func CompleteModels(c *cobra.Command, flag string) {
	must(c.RegisterFlagCompletionFunc(flag, func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		var ids []string
		for _, e := range catalog.Entries() {
			ids = append(ids, string(e.ID))
		}
		return ids, cobra.ShellCompDirectiveDefault
	}))
}

// CompleteWith has a shell offer values for a flag.
func CompleteWith(c *cobra.Command, flag string, values ...string) {
	must(c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)))
}

// must is for what fails only where our own commands are put together wrongly.
func must(err error) {
	if err != nil {
		panic(err)
	}
}
