// Package clitest runs what a person types at a command, in the process of its
// test: scripts in testdata/*.txtar, in the language of testscript.
//
// In: the command's root and its name. Each script has places of its own for
// settings, data and models, so that none sees those of whoever runs the tests,
// and none joins a network. Besides the usual commands there is
//
//	status N PROGRAM ARG…
//
// which runs a program and demands its exit status.
//
// The package knows nothing of what the commands do.
package clitest

import (
	"errors"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/farlabs/inference/internal/cli"
	"github.com/farlabs/inference/internal/config"
)

// Main is the TestMain of a command: scripts find it under its name.
func Main(m *testing.M, name string, root func() *cobra.Command) {
	testscript.Main(m, map[string]func(){name: func() { os.Exit(cli.Main(root())) }})
}

// Run runs the scripts in the folder dir.
func Run(t *testing.T, dir string) {
	testscript.Run(t, testscript.Params{
		Dir:   dir,
		Cmds:  map[string]func(*testscript.TestScript, bool, []string){"status": status},
		Setup: home,
	})
}

// Variables fails for the flags of c and the commands below it whose variable
// [cli.KnownVariable] does not know.
func Variables(t *testing.T, c *cobra.Command) {
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if name := config.Env(f); !slices.Contains(config.CommandOnly, f.Name) && !cli.KnownVariable(name) {
			t.Errorf("%s --%s: %s is not known", c.CommandPath(), f.Name, name)
		}
	})
	for _, sub := range c.Commands() {
		Variables(t, sub)
	}
}

func home(e *testscript.Env) error {
	e.Setenv("HOME", e.WorkDir)
	e.Setenv("XDG_CONFIG_HOME", e.WorkDir+"/conf")
	e.Setenv("XDG_DATA_HOME", e.WorkDir+"/data")
	e.Setenv("FARLABS_CACHE", e.WorkDir+"/cache")
	return nil
}

func status(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: status N PROGRAM ARG…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}
