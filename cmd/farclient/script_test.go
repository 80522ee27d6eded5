package main

import (
	"errors"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/farlabs/inference/internal/cli"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"farclient": func() { os.Exit(cli.Main(root())) }})
}

// TestScripts runs what a person types, in testdata/*.txtar; no script joins a
// network. The command status N PROGRAM ARG… demands an exit status.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:   "testdata",
		Cmds:  map[string]func(*testscript.TestScript, bool, []string){"status": status},
		Setup: home,
	})
}

// home gives a script places of its own for settings, data and models.
func home(e *testscript.Env) error {
	e.Setenv("HOME", e.WorkDir)
	e.Setenv("XDG_CONFIG_HOME", e.WorkDir+"/conf")
	e.Setenv("XDG_DATA_HOME", e.WorkDir+"/data")
	e.Setenv("FARLABS_CACHE", e.WorkDir+"/cache")
	return nil
}

func status(ts *testscript.TestScript, _ bool, args []string) {
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
