//go:build unix

package cli

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/spf13/cobra"
)

// printing runs a command that prints to stdout, looks at no error and then
// returns what end returns.
func printing(t *testing.T, stdout *os.File, end func(c *cobra.Command) error) (status int, said string) {
	t.Helper()
	was := os.Stdout
	os.Stdout = stdout
	defer func() { os.Stdout = was }()
	return ended(t, 0, func(error) error { return nil }, func(c *cobra.Command) error {
		fmt.Fprintln(c.OutOrStdout(), "words")
		return end(c)
	})
}

func TestOutputThatCannotBeWrittenIsAnError(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer full.Close()
	status, said := printing(t, full, func(*cobra.Command) error { return nil })
	if status != 1 || said != "prog: standard output: no space left on device\n" {
		t.Errorf("status %d, said %q", status, said)
	}
	status, said = printing(t, full, func(*cobra.Command) error { return errors.New("worse") })
	if status != 1 || said != "prog: worse\n" {
		t.Errorf("with another error: status %d, said %q", status, said)
	}
}

// As in farclient run … | head -1.
func TestACommandThatNobodyReadsEndsQuietly(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	defer w.Close()
	for name, end := range map[string]func(c *cobra.Command) error{
		"looks at nothing": func(*cobra.Command) error { return nil },
		"waits":            func(c *cobra.Command) error { <-c.Context().Done(); return fmt.Errorf("ask: %w", c.Context().Err()) },
		"looks":            func(c *cobra.Command) error { _, err := fmt.Fprintln(c.OutOrStdout()); return err },
	} {
		status, said := printing(t, w, end)
		if status != 128+int(syscall.SIGPIPE) || said != "" {
			t.Errorf("%s: status %d, said %q", name, status, said)
		}
	}
	status, said := printing(t, w, func(c *cobra.Command) error { return errors.Join(c.Context().Err(), errors.New("books lost")) })
	if status != 128+int(syscall.SIGPIPE) || !strings.Contains(said, "books lost") {
		t.Errorf("what else went wrong: status %d, said %q", status, said)
	}
}
