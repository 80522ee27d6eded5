//go:build unix

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/farlabs/inference/internal/node"
	"github.com/farlabs/inference/model/catalog"
)

// patience is how long a test waits for what has to happen, on a machine that
// does other things too. Claims about time are separate.
const patience = 90 * time.Second

// Event is a line of standard output of a process that runs with --json.
type Event struct {
	node.Event
	URL string    `json:"url"` // of a gateway
	At  time.Time `json:"-"`   // when it was read
}

// Process is a running binary.
type Process struct {
	Name    string
	Dir     string // of its data
	PID     int
	logPath string

	mu     sync.Mutex
	events []Event
	raw    bytes.Buffer  // standard output …
	parsed int           // … of which events were read
	news   chan struct{} // closed at the next event
	exited chan struct{}
	state  *os.ProcessState
	ended  time.Time
}

// scope owns processes: a test, or the whole run.
type scope interface {
	Helper()
	Fatalf(format string, args ...any)
	TempDir() string
	Cleanup(func())
}

// launch starts one of the binaries, or the program at an absolute path, with --json events and ties its life to the scope.
func launch(t scope, name, program, dir string, env []string, args ...string) *Process {
	t.Helper()
	p := &Process{Name: name, Dir: dir, news: make(chan struct{}), exited: make(chan struct{})}
	p.logPath = filepath.Join(t.TempDir(), name+".log")
	log, err := os.Create(p.logPath)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	defer log.Close()
	cmd := command(program, env, args...)
	cmd.Stderr = log
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if err := startCommand(cmd); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	p.PID = cmd.Process.Pid
	go func() {
		_, _ = io.Copy(p, out)
		_ = cmd.Wait()
		p.mu.Lock()
		p.state, p.ended = cmd.ProcessState, time.Now()
		p.mu.Unlock()
		close(p.exited)
	}()
	t.Cleanup(func() { p.end(t) })
	return p
}

// end makes sure that the process and its children are gone.
func (p *Process) end(t scope) {
	_ = syscall.Kill(-p.PID, syscall.SIGKILL)
	<-p.exited
	if t, ok := t.(testing.TB); ok && t.Failed() {
		t.Logf("%s printed:\n%s\nand logged:\n%s", p.Name, tail(p.told()), tail(p.Log()))
	}
}

func tail(s string) string {
	const most = 4000
	if len(s) > most {
		return "… " + s[len(s)-most:]
	}
	return s
}

// Write takes what the process prints, as it comes; whole lines may be events.
func (p *Process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.raw.Write(b)
	for {
		rest := p.raw.Bytes()[p.parsed:]
		n := bytes.IndexByte(rest, '\n') + 1
		if n == 0 {
			return len(b), nil
		}
		p.parsed += n
		e := Event{At: time.Now()}
		if json.Unmarshal(rest[:n], &e) != nil || e.Event.Event == "" {
			continue
		}
		p.events = append(p.events, e)
		close(p.news)
		p.news = make(chan struct{})
	}
}

// Find returns the first event of a name, if it has come.
func (p *Process) Find(name string) (Event, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.events {
		if e.Event.Event == name {
			return e, true
		}
	}
	return Event{}, false
}

// await returns the first event of a name, waiting for it if need be.
func (p *Process) await(t scope, name string) Event {
	t.Helper()
	timeout := time.After(patience)
	for {
		p.mu.Lock()
		news := p.news
		p.mu.Unlock()
		if e, ok := p.Find(name); ok {
			return e
		}
		select {
		case <-news:
		case <-p.exited:
			if e, ok := p.Find(name); ok {
				return e
			}
			t.Fatalf("%s ended (%v) before %q:\n%s", p.Name, p.state, name, tail(p.Log()))
		case <-timeout:
			t.Fatalf("%s: no %q within %s:\n%s\n%s", p.Name, name, patience, tail(p.told()), tail(p.Log()))
		}
	}
}

// Output returns what the process has printed on standard output.
func (p *Process) Output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.raw.String()
}

// told returns the output without the many lines about progress.
func (p *Process) told() string {
	var b strings.Builder
	for line := range strings.Lines(p.Output()) {
		if !strings.Contains(line, `"event":"loading"`) && !strings.Contains(line, `"event":"packing"`) && !strings.Contains(line, `"event":"hashing"`) {
			b.WriteString(line)
		}
	}
	return b.String()
}

// Log returns what the process has printed on standard error.
func (p *Process) Log() string {
	b, _ := os.ReadFile(p.logPath)
	return string(b)
}

// Signal sends a signal; one to a process that is gone is no error.
func (p *Process) Signal(s syscall.Signal) { _ = syscall.Kill(p.PID, s) }

// Kill ends the process as a power cut would and waits until it is gone.
func (p *Process) Kill() {
	p.Signal(syscall.SIGKILL)
	<-p.exited
}

// Stop freezes the process, Cont lets it go on.
func (p *Process) Stop() { p.Signal(syscall.SIGSTOP) }
func (p *Process) Cont() { p.Signal(syscall.SIGCONT) }

// Exit waits for the end of the process and returns its status.
func (p *Process) Exit(t testing.TB, within time.Duration) int {
	t.Helper()
	select {
	case <-p.exited:
		return p.state.ExitCode()
	case <-time.After(within):
		t.Fatalf("%s is still there after %s:\n%s", p.Name, within, tail(p.Log()))
		return -1
	}
}

// Exited reports whether the process is gone.
func (p *Process) Exited() bool {
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

// Result is what a command came to.
type Result struct {
	Code           int
	Stdout, Stderr string
	Took           time.Duration
}

// Run runs a command to its end, at most for patience.
func Run(t testing.TB, program string, args ...string) Result {
	t.Helper()
	return RunInput(t, "", program, args...)
}

// RunInput is Run with standard input.
func RunInput(t testing.TB, stdin, program string, args ...string) Result {
	t.Helper()
	cmd := command(program, nil, args...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	begin := time.Now()
	if err := startCommand(cmd); err != nil {
		t.Fatalf("%s: %v", program, err)
	}
	done := make(chan struct{})
	go func() { _ = cmd.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(patience):
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-done
		t.Fatalf("%s %q does not end:\n%s%s", program, args, out.String(), errs.String())
	}
	return Result{cmd.ProcessState.ExitCode(), out.String(), errs.String(), time.Since(begin)}
}

// command prepares a binary to run in an environment without settings of the
// person who tests, in a process group of its own.
func command(program string, env []string, args ...string) *exec.Cmd {
	if !filepath.IsAbs(program) {
		program = filepath.Join(binaries, program)
	}
	cmd := exec.Command(program, args...)
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "FARLABS_") && !strings.HasPrefix(e, "XDG_") {
			cmd.Env = append(cmd.Env, e)
		}
	}
	cmd.Env = append(cmd.Env, "FARLABS_CACHE="+catalog.CacheDir(), "XDG_CONFIG_HOME="+filepath.Join(runDir, "config"), "XDG_DATA_HOME="+filepath.Join(runDir, "data"))
	cmd.Env = append(cmd.Env, env...)
	cmd.SysProcAttr = ownGroup()
	return cmd
}

// starts carries commands to the one thread that starts processes. Linux ties
// a child's death to that of the thread that made it, so that thread must last.
var starts = func() chan<- func() {
	c := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range c {
			f()
		}
	}()
	return c
}()

func startCommand(cmd *exec.Cmd) error {
	done := make(chan error)
	starts <- func() { done <- cmd.Start() }
	return <-done
}

// runScope owns what lives as long as the run.
type runScope struct {
	dirs  int
	tasks []func()
}

func (*runScope) Helper() {}

func (*runScope) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

func (s *runScope) TempDir() string {
	s.dirs++
	dir := filepath.Join(runDir, "run", fmt.Sprint(s.dirs))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		panic(err)
	}
	return dir
}

func (s *runScope) Cleanup(f func()) { s.tasks = append(s.tasks, f) }

func (s *runScope) close() {
	for len(s.tasks) > 0 {
		f := s.tasks[len(s.tasks)-1]
		s.tasks = s.tasks[:len(s.tasks)-1]
		f()
	}
}
