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
in memory only. A line that begins with / is a command: /reset (or /clear)
forgets the conversation, /exit (or /quit) ends it, /help lists them; //x says
"/x". Ctrl-D ends too. Ctrl-C stops an answer that is being written, and ends the
chat when none is.`,
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
		t.onInterrupt = func(f func()) func() { return cli.OnInterrupt(c.Context(), f) }
		fmt.Fprintf(t.errs, "%s. Ctrl-C stops an answer, /reset forgets, /exit ends, /help lists more.\n", p.Model())
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
	// onInterrupt has the next Ctrl-C call f; nil: Ctrl-C ends the conversation.
	onInterrupt func(f func()) (forget func())
}

// errStopped is why an answer ends that a person has stopped.
var errStopped = errors.New("stopped")

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
		if !ok {
			return nil
		}
		word := strings.TrimSpace(line)
		switch {
		case word == "":
			continue
		case strings.HasPrefix(word, "//"):
			line = strings.Replace(line, "//", "/", 1)
		case strings.HasPrefix(word, "/"):
			switch do, known := commands[word]; {
			case !known:
				name, _, _ := strings.Cut(word, " ")
				fmt.Fprintf(t.errs, "There is no command %s. /help lists them; to say it to the model: /%s\n", name, word)
			case do == ends:
				return nil
			case do == forgets:
				history = begin
			default:
				fmt.Fprint(t.errs, help)
			}
			continue
		}
		asked := append(history, chat.Message{Role: "user", Content: line})
		a, err := t.answer(ctx, asked)
		fmt.Fprintln(t.out)
		var unwritten *unwritten
		switch {
		case errors.As(err, &unwritten):
			return err
		case err != nil && ctx.Err() != nil:
			return nil
		case errors.Is(err, errStopped) && a.Text != "":
			fmt.Fprintln(t.errs, "(stopped)") // what there is belongs to the conversation
		case errors.Is(err, errStopped):
			fmt.Fprintln(t.errs, "(stopped; the question is forgotten)")
			continue
		case err != nil:
			fmt.Fprintln(t.errs, explain(err))
			continue // the question that failed is forgotten
		}
		history = append(asked, chat.Message{Role: "assistant", Content: a.Text})
	}
}

// answer prints what the model says. The error is errStopped when a person has
// stopped it.
func (t *talk) answer(ctx context.Context, asked []chat.Message) (answer, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if t.onInterrupt != nil {
		defer t.onInterrupt(func() { cancel(errStopped) })()
	}
	a, err := t.stream(ctx, t.out, t.generate, t.request(asked))
	if err != nil && context.Cause(ctx) == errStopped {
		err = errStopped
	}
	return a, err
}

// What the commands of a conversation do.
const (
	helps = iota
	forgets
	ends
)

var commands = map[string]int{
	"/help": helps, "/?": helps,
	"/reset": forgets, "/clear": forgets,
	"/exit": ends, "/quit": ends,
}

const help = `/reset, /clear   forget the conversation
/exit, /quit     end it, as does Ctrl-D
/help            this
//x              say "/x" to the model
Ctrl-C           stop the answer; without one, end the conversation
`

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
