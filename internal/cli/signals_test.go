package cli

import (
	"context"
	"os"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// watched is a process whose signals are handled; it tells what they did.
func watched(t *testing.T) (ctx context.Context, send func(os.Signal), did func() []string) {
	var log []string
	s := &signals{
		cancel: func(cause error) { log = append(log, cause.Error()) },
		atOnce: func() { log = append(log, "at once") },
	}
	in, done := make(chan os.Signal, 2), make(chan struct{})
	go s.watch(in, done)
	t.Cleanup(func() { close(done) })
	send = func(sig os.Signal) {
		in <- sig
		synctest.Wait()
	}
	return context.WithValue(t.Context(), signalsKey{}, s), send, func() []string { return log }
}

// timeout(1) signals the process and then its group, which it is in.
func TestTheSameSignalAgainAtOnceIsNoSecondOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, send, did := watched(t)
		send(syscall.SIGTERM)
		send(syscall.SIGTERM)
		time.Sleep(repeat - 1)
		send(syscall.SIGTERM)
		if want := []string{"stopped by a signal: terminated"}; !slices.Equal(did(), want) {
			t.Errorf("did %q, want %q", did(), want)
		}
		time.Sleep(time.Nanosecond)
		send(syscall.SIGTERM)
		if want := []string{"stopped by a signal: terminated", "at once"}; !slices.Equal(did(), want) {
			t.Errorf("did %q, want %q", did(), want)
		}
	})
}

func TestAnotherSignalIsASecondOneAtAnyTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, send, did := watched(t)
		send(os.Interrupt)
		send(syscall.SIGTERM)
		if want := []string{"interrupted", "at once"}; !slices.Equal(did(), want) {
			t.Errorf("did %q, want %q", did(), want)
		}
	})
}

func TestAnInterruptGoesToWhoAskedForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, send, did := watched(t)
		asked := 0
		forget := OnInterrupt(ctx, func() { asked++ })
		send(os.Interrupt)
		forget()
		time.Sleep(time.Second)
		if asked != 1 || len(did()) != 0 {
			t.Errorf("called %d times, did %q", asked, did())
		}
		OnInterrupt(ctx, func() { asked++ })()
		send(os.Interrupt)
		if want := []string{"interrupted"}; asked != 1 || !slices.Equal(did(), want) {
			t.Errorf("forgotten: called %d times, did %q", asked, did())
		}
	})
}

func TestSIGTERMIsForTheWholeProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, send, did := watched(t)
		defer OnInterrupt(ctx, func() { t.Error("called") })()
		send(syscall.SIGTERM)
		send(os.Interrupt) // the second: whoever asked is not to hold it up
		if want := []string{"stopped by a signal: terminated", "at once"}; !slices.Equal(did(), want) {
			t.Errorf("did %q, want %q", did(), want)
		}
		OnInterrupt(t.Context(), nil)() // outside of Main there is nothing to ask for
	})
}
