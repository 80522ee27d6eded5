//go:build unix

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"testing"

	"github.com/spf13/cobra"
)

// ended runs a command that gets a signal, unless it is 0, and then returns
// what end makes of its context's cause. Before that it does first.
func ended(t *testing.T, s syscall.Signal, end func(cause error) error, first ...func(*cobra.Command) error) (status int, said string) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr := os.Stderr
	os.Stderr = w
	defer func() { os.Stderr = stderr }()
	root := &cobra.Command{Use: "prog", RunE: func(c *cobra.Command, _ []string) error {
		for _, f := range first {
			if err := f(c); err != nil {
				return err
			}
		}
		if s == 0 {
			return end(nil)
		}
		if err := syscall.Kill(os.Getpid(), s); err != nil {
			return err
		}
		<-c.Context().Done()
		return end(context.Cause(c.Context()))
	}}
	root.SetArgs([]string{})
	status = Main(root)
	w.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return status, string(b)
}

func TestASignalEndsWithOnePlainLine(t *testing.T) {
	wrapped := func(cause error) error { return fmt.Errorf("prompt: session 1234: %w", cause) }
	for _, x := range []struct {
		name   string
		signal syscall.Signal
		end    func(error) error
		status int
		said   string
	}{
		{"Ctrl-C", syscall.SIGINT, wrapped, 130, "prog: interrupted\n"},
		{"terminated", syscall.SIGTERM, wrapped, 143, "prog: stopped by a signal: terminated\n"},
		{"canceled", syscall.SIGINT, func(error) error { return context.Canceled }, 130, "prog: interrupted\n"},
		{"what went wrong meanwhile is said too", syscall.SIGINT, func(cause error) error { return errors.Join(wrapped(cause), errors.New("disk full")) }, 130, "prog: disk full\nprog: interrupted\n"},
		{"a command that ends in good order", syscall.SIGINT, func(error) error { return nil }, 0, ""},
		{"an error of its own", syscall.SIGINT, func(error) error { return errors.New("disk full") }, 1, "prog: disk full\n"},
		{"no signal", 0, func(error) error { return errors.New("disk full") }, 1, "prog: disk full\n"},
	} {
		if status, said := ended(t, x.signal, x.end); status != x.status || said != x.said {
			t.Errorf("%s: status %d, %q; want %d, %q", x.name, status, said, x.status, x.said)
		}
	}
}
