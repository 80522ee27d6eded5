package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/farlabs/inference/internal/cli"
	"github.com/farlabs/inference/model/chat"
)

func chatCommand() *cobra.Command {
	var f asking
	c := &cobra.Command{
		Use:   "chat",
		Short: "Talk with a model",
		Long: `chat reads a message per line and prints the answers. The conversation is kept
in memory only. /reset forgets it; /exit, Ctrl-D or Ctrl-C ends.`,
		Args: cli.NoArgs,
	}
	f.add(c)
	load := cli.Settings(c, "farclient")
	c.RunE = func(c *cobra.Command, _ []string) error {
		s, done, err := load()
		if done || err != nil {
			return err
		}
		f.loaded(s)
		return f.chat(c)
	}
	return c
}

func (f *asking) chat(c *cobra.Command) (err error) {
	client, p, err := f.open(c.Context())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	t := talk{asking: f, in: c.InOrStdin(), out: c.OutOrStdout(), errs: c.ErrOrStderr(), generate: p.Generate}
	if term.IsTerminal(int(os.Stdin.Fd())) {
		t.prompt = "> "
		fmt.Fprintf(t.errs, "%s. /reset forgets, /exit ends.\n", p.Model())
	}
	return t.run(c.Context())
}

// talk is one conversation: lines in, answers out, what went wrong and the
// prompt to errs.
type talk struct {
	*asking
	in        io.Reader
	out, errs io.Writer
	prompt    string // before each line; "": the input is no terminal
	generate  generate
}

// run answers lines until the input or ctx ends.
func (t *talk) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	lines := t.lines(ctx)
	begin := t.messages("")
	begin = slices.Clip(begin[:len(begin)-1])
	history := begin
	for {
		fmt.Fprint(t.errs, t.prompt)
		var line string
		var ok bool
		select {
		case line, ok = <-lines:
		case <-ctx.Done():
		}
		switch {
		case !ok, strings.TrimSpace(line) == "/exit":
			return nil
		case strings.TrimSpace(line) == "/reset":
			history = begin
			continue
		case strings.TrimSpace(line) == "":
			continue
		}
		asked := append(history, chat.Message{Role: "user", Content: line})
		a, err := t.stream(ctx, t.out, t.generate, t.request(asked))
		fmt.Fprintln(t.out)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			fmt.Fprintln(t.errs, explain(err))
			continue // the question that failed is forgotten
		}
		history = append(asked, chat.Message{Role: "assistant", Content: a.Text})
	}
}

// lines reads the input until it or ctx ends. A read that waits for a person
// cannot be broken off: its goroutine then lasts until the process ends.
func (t *talk) lines(ctx context.Context) <-chan string {
	lines := make(chan string)
	go func() {
		defer close(lines)
		in := bufio.NewScanner(t.in)
		in.Buffer(make([]byte, 64<<10), 4<<20)
		for in.Scan() {
			select {
			case lines <- in.Text():
			case <-ctx.Done():
				return
			}
		}
	}()
	return lines
}
