package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/model/catalog"
)

// Main runs root until it returns or a signal ends it, and returns the exit
// status: 0; 1 after an error, and when standard output could not be written; 2
// after a mistake in how it was called or in its settings; 128 and the signal's
// number, 130 after Ctrl-C, when a signal cut short what the command was to do.
// The first SIGINT or SIGTERM cancels the command's context; the second ends
// the process at once. When nobody reads the output any more the command ends
// as by a signal, without a word.
func Main(root *cobra.Command) int {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	s := &signals{cancel: cancel, atOnce: func() {
		fmt.Fprintf(os.Stderr, "%s: ended at once by a second signal\n", root.Name())
		os.Exit(130)
	}}
	ctx = context.WithValue(ctx, signalsKey{}, s)
	in, done := make(chan os.Signal, 2), make(chan struct{})
	defer close(done)
	signal.Notify(in, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(in)
	go s.watch(in, done)
	// A signal that is taken does not end the process: the write fails instead,
	// and the command can end in good order.
	pipe := make(chan os.Signal, 1)
	signal.Notify(pipe, syscall.SIGPIPE)
	defer signal.Stop(pipe)
	out := &output{file: os.Stdout, gone: func() { cancel(&Interrupted{syscall.SIGPIPE}) }}
	root.SetOut(out)
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SuggestionsMinimumDistance = 2
	root.SetFlagErrorFunc(flagError)
	completion(root)
	// What fails before this hook, such as an unknown command or one argument too
	// many, is an error of usage too.
	begun := false
	root.PersistentPreRun = func(*cobra.Command, []string) { begun = true }
	err := root.ExecuteContext(ctx)
	if err == nil {
		err = out.err()
	}
	var stopped *Interrupted
	switch {
	case err == nil:
		return 0
	case errors.As(context.Cause(ctx), &stopped) && interrupted(err, stopped):
		for _, e := range besides(err, stopped) {
			fmt.Fprintf(os.Stderr, "%s: %v\n", root.Name(), e)
		}
		if stopped.Signal != syscall.SIGPIPE {
			fmt.Fprintf(os.Stderr, "%s: %v\n", root.Name(), stopped)
		}
		return stopped.status()
	case !begun, mistaken(err):
		fmt.Fprintf(os.Stderr, "%s: %s\n", root.Name(), plain(err))
		return 2
	}
	fmt.Fprintf(os.Stderr, "%s: %v\n", root.Name(), err)
	return 1
}

// Interrupted is the cause of a context that a signal ended.
type Interrupted struct{ Signal os.Signal }

// Error implements error.
func (i *Interrupted) Error() string {
	if i.Signal == os.Interrupt {
		return "interrupted"
	}
	return "stopped by a signal: " + i.Signal.String()
}

func (i *Interrupted) status() int {
	if n, ok := i.Signal.(syscall.Signal); ok {
		return 128 + int(n)
	}
	return 130
}

// interrupted reports whether err says no more than that a signal came, or that
// nobody reads.
func interrupted(err error, by *Interrupted) bool {
	return errors.Is(err, by) || errors.Is(err, context.Canceled) || by.Signal == syscall.SIGPIPE && errors.Is(err, syscall.EPIPE)
}

// besides returns what was joined to the news of a signal.
func besides(err error, by *Interrupted) (others []error) {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return nil
	}
	for _, e := range joined.Unwrap() {
		if !interrupted(e, by) {
			others = append(others, e)
		}
	}
	return others
}

// UsageError is an error in how the command was called.
type UsageError struct{ Err error }

// Error implements error.
func (e *UsageError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *UsageError) Unwrap() error { return e.Err }

// Usagef returns a UsageError.
func Usagef(format string, args ...any) error { return &UsageError{fmt.Errorf(format, args...)} }

// mistaken reports whether err is about how the command was called, or about a
// setting that cannot work.
func mistaken(err error) bool {
	var usage *UsageError
	var unknown *catalog.UnknownModelError
	var unsupported *catalog.UnsupportedSourceError
	return errors.As(err, &usage) || errors.As(err, &unknown) || errors.As(err, &unsupported)
}

// plain is an error of usage as people read it: without the kind that Validate
// functions wrap, which is for programs.
func plain(err error) string {
	return strings.TrimSuffix(err.Error(), ": "+inference.ErrInvalid.Error())
}
