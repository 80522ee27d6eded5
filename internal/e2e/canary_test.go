//go:build unix

package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/pipeline"
)

// canary stands in prompts, system messages and stop texts. Nothing that a
// node, client or gateway writes may contain it.
const canary = "xylophone-quokka-7319"

// forms are ways in which the canary, or its token ids, might be written.
func forms(ids []inference.TokenID) map[string][]byte {
	utf := []byte{}
	for _, u := range utf16.Encode([]rune(canary)) {
		utf = append(utf, byte(u), byte(u>>8))
	}
	var list []string
	binary := []byte{}
	for _, id := range ids {
		list = append(list, fmt.Sprint(id))
		binary = append(binary, byte(id), byte(id>>8), byte(id>>16), byte(id>>24))
	}
	m := map[string][]byte{
		"text": []byte(canary), "a part of the text": []byte("quokka"), "UTF-16": utf,
		"hexadecimal": []byte(hex.EncodeToString([]byte(canary))),
		"ids in JSON": []byte(strings.Join(list, ",")), "ids as Go prints them": []byte(strings.Join(list, " ")), "binary ids": binary,
	}
	// Base64 of the text at each of the three alignments, without the ends that
	// depend on what is around it.
	for pad := range 3 {
		e := base64.StdEncoding.EncodeToString(append(make([]byte, pad), canary...))
		m[fmt.Sprintf("base64 at %d", pad)] = []byte(e[4 : len(e)-4])
	}
	return m
}

// TestPromptIsWrittenNowhere sends a canary through everything that takes a
// prompt, with every log on, in success and in failure, and searches all that
// was written: data directories, logs, events, metrics.
func TestPromptIsWrittenNowhere(t *testing.T) {
	processes(t)
	root := t.TempDir()
	start := func(blocks, format string, bootstrap ...string) *Node {
		dir := filepath.Join(root, nextName("data"))
		return Start(t, NodeOptions{
			Blocks: blocks, Bootstrap: bootstrap, DataDir: dir, Verbose: true,
			Extra: []string{"--metrics", "127.0.0.1:0", "--log-format", format},
		})
	}
	a := start("0:15", "json")
	b := start("15:30", "text", a.Addr)
	spare := start("15:30", "json", a.Addr)
	nodes := []*Node{a, b, spare}
	for _, n := range nodes {
		n.Wait("serving")
	}
	gateway, url := Serve(t, a.Addr, "--log-format", "json")

	// What is checked: name of the place → what is written there.
	written := map[string]func() []byte{}
	for _, n := range nodes {
		written["log of "+n.Name] = func() []byte { return []byte(n.Log()) }
		written["events of "+n.Name] = func() []byte { return []byte(n.Output()) }
	}
	written["log of the gateway"] = func() []byte { return []byte(gateway.Log()) }
	written["events of the gateway"] = func() []byte { return []byte(gateway.Output()) }

	run := func(name string, prompt string, code int, args ...string) {
		t.Helper()
		dir := filepath.Join(root, nextName("data"))
		base := []string{"run", "-v", "--log-format", "json", "--bootstrap", a.Addr, "--data-dir", dir, "--temperature", "0", "--max-tokens", "3", "--system", "You are " + canary}
		out := RunInput(t, prompt, "farclient", append(base, args...)...)
		if out.Code != code {
			t.Errorf("%s: status %d, want %d\n%s", name, out.Code, code, out.Stderr)
		}
		written["errors of "+name] = func() []byte { return []byte(out.Stderr) }
	}
	run("a run", "Say "+canary, 0)
	run("a run through the client", "Say "+canary, 0, "--relay", "--wire", "f32")
	run("a prompt beyond the context", strings.Repeat(canary+" ", 2000), 1)
	run("a run that is too dear", "Say "+canary, 1, "--max-price", "0.000001")

	post := func(path, body string) int {
		t.Helper()
		resp, err := http.Post(url+path, "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		_, _ = io.Copy(io.Discard, resp.Body)
		return resp.StatusCode
	}
	good := fmt.Sprintf(`{"model":%q,"max_tokens":3,"stop":[%q],"user":%q,"messages":[{"role":"user","content":"Say %s"}]}`, modelID, canary, canary, canary)
	if code := post("/v1/chat/completions", good); code != http.StatusOK {
		t.Errorf("the gateway answers %d", code)
	}
	for _, bad := range []string{
		good[:len(good)-3], // no JSON
		fmt.Sprintf(`{"model":%q,"messages":[{"role":%q,"content":"x"}]}`, modelID, canary),
		fmt.Sprintf(`{"model":%q,"prompt":%q,"%s":1,"max_tokens":"x"}`, modelID, canary, canary),
		fmt.Sprintf(`{"model":%q,"prompt":%q}`, canary, canary),
		fmt.Sprintf(`{"model":%q,"prompt":%q}`, modelID, strings.Repeat(canary+" ", 2000)),
	} {
		for _, path := range []string{"/v1/chat/completions", "/v1/completions"} {
			if code := post(path, bad); code < 400 || code >= 500 {
				t.Errorf("%s answers %d to a bad request", path, code)
			}
		}
	}

	// A node dies in the middle: failures and replays are logged too.
	c := Dial(t, ClientOptions{Bootstrap: []string{a.Addr}, DataDir: filepath.Join(root, nextName("data"))})
	c.Sees(t, nodes...)
	ids, err := c.P.Encode(pipeline.Request{Prompt: canary})
	if err != nil || len(ids) < 4 {
		t.Fatalf("the canary has %d tokens, %v", len(ids), err)
	}
	var hops []*Node
	var killed *Node
	for d, err := range c.P.Generate(t.Context(), pipeline.Request{Prompt: "Say " + canary + " and", MaxTokens: 8, IgnoreEOS: true}) {
		if err != nil {
			t.Fatal(err)
		}
		if d.Route != nil && hops == nil {
			hops = inOrder(t, *d.Route, nodes)
		} else if len(d.Tokens) > 0 && killed == nil {
			killed = hops[1]
			killed.Kill()
		}
	}
	if killed == nil {
		t.Error("no node was killed")
	}
	for _, n := range nodes {
		if n == killed {
			continue
		}
		resp, err := http.Get("http://" + n.Wait("listening").Metrics + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || len(body) == 0 {
			t.Fatalf("metrics of %s: %d bytes, %v", n.Name, len(body), err)
		}
		written["metrics of "+n.Name] = func() []byte { return body }
	}
	files := 0
	for _, dir := range []string{root, gateway.Dir, filepath.Join(runDir, "config"), filepath.Join(runDir, "data")} {
		err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() {
				return nil // it went away, or is no file
			}
			files++
			written["file "+path] = func() []byte { b, _ := os.ReadFile(path); return b }
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if files < 20 {
		t.Errorf("only %d files were searched", files)
	}
	for place, read := range written {
		text := read()
		for form, want := range forms(ids) {
			if i := bytes.Index(bytes.ToLower(text), bytes.ToLower(want)); i >= 0 {
				t.Errorf("%s holds the prompt as %s: …%q…", place, form, text[max(0, i-80):min(len(text), i+80)])
			}
		}
	}
	// The logs were on.
	for p, word := range map[*Process]string{a.Process: "link", b.Process: "link", spare.Process: "link", gateway: "context_length_exceeded"} {
		if !strings.Contains(p.Log(), word) {
			t.Errorf("%s logs nothing of %q:\n%s", p.Name, word, tail(p.Log()))
		}
	}
}
