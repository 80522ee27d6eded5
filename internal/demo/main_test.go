package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

func TestWhatIsKeptIsNamedAndHowToEndIt(t *testing.T) {
	d := demo{bin: "bin", dir: "some/folder"}
	for _, pid := range []int{11, 12, 13, 14} {
		d.procs = append(d.procs, &process{cmd: &exec.Cmd{Process: &os.Process{Pid: pid}}})
	}
	var out strings.Builder
	d.hints(&out, "http://127.0.0.1:8080", "ADDRESS")
	for _, want := range []string{
		"curl http://127.0.0.1:8080/v1/chat/completions", "bin/farclient chat --bootstrap ADDRESS",
		"one of the nodes (11, 12, 13)", fmt.Sprintf("logs are in %s", d.dir), "\n  kill 11 12 13 14 && sleep 5 && rm -r some/folder\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in:\n%s", want, out.String())
		}
	}
}
