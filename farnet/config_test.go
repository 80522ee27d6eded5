package farnet

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	ma "github.com/multiformats/go-multiaddr"
)

func TestValidateReportsEveryFault(t *testing.T) {
	c := Config{Listen: []string{"nowhere"}, Bootstrap: []string{"/ip4/1.2.3.4/tcp/1"}, Announce: []string{"x"}, MDNS: 9, Heartbeat: -1, Key: []byte{1}}
	err := c.Validate()
	if err == nil {
		t.Fatal("valid")
	}
	for _, word := range []string{"listen", "bootstrap", "announce", "mdns", "heartbeat", "identity key"} {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%q is not named in: %v", word, err)
		}
	}
	d := DefaultConfig()
	if err := d.Validate(); err != nil {
		t.Error(err)
	}
}

func TestDefaultPortIsFixed(t *testing.T) {
	c := Config{}.withDefaults()
	if len(c.Listen) != 2 || c.Listen[0] != "0.0.0.0:4744" || c.Listen[1] != "[::]:4744" {
		t.Errorf("listens on %v", c.Listen)
	}
	if c = (Config{ClientMode: true}).withDefaults(); len(c.Listen) != 0 {
		t.Errorf("a client listens on %v", c.Listen)
	}
}

func TestMulticastIsOffOnLoopback(t *testing.T) {
	for _, x := range []struct {
		listen, boot []string
		mdns         Switch
		want         bool
	}{
		{listen: []string{"127.0.0.1:0", "[::1]:0"}, want: false},
		{listen: []string{"127.0.0.1:0", "0.0.0.0:0"}, want: true},
		{listen: []string{"127.0.0.1:0"}, mdns: On, want: true},
		{listen: []string{"0.0.0.0:0"}, mdns: Off, want: false},
		{want: true},
		{boot: []string{"/ip4/127.0.0.1/tcp/1/p2p/12D3KooWDEyBDMj6bLvxVmNCHxXoY5T5JNEfRrxeotVJ4mFwoaMo"}, want: false},
		{boot: []string{"/ip4/192.0.2.1/tcp/1/p2p/12D3KooWDEyBDMj6bLvxVmNCHxXoY5T5JNEfRrxeotVJ4mFwoaMo"}, want: true},
	} {
		n := &Node{cfg: Config{Listen: x.listen, Bootstrap: x.boot, MDNS: x.mdns}}
		n.joining = newJoining(n)
		if got := n.mdnsWanted(); got != x.want {
			t.Errorf("%+v: %v", x, got)
		}
	}
}

func TestTakenPortIsNamed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := testConfig()
	c.Listen = []string{l.Addr().String()}
	_, err = New(t.Context(), c)
	if !errors.Is(err, ErrPortInUse) || !strings.Contains(err.Error(), fmt.Sprint(l.Addr().(*net.TCPAddr).Port)) || !strings.Contains(err.Error(), "listen elsewhere") {
		t.Errorf("error %v", err)
	}
	// Nodes share TCP ports with other processes unless that is prevented.
	a := testNode(t, nil)
	for _, s := range a.Addrs() {
		addr := ma.StringCast(s).Decapsulate(ma.StringCast("/p2p/" + string(a.ID())))
		c.Listen = []string{addr.String()}
		if _, err = New(t.Context(), c); !errors.Is(err, ErrPortInUse) {
			t.Errorf("%s: %v", addr, err)
		}
	}
}

func TestIdentityIsKeptAndPrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sub", "identity")
	c := Config{IdentityPath: path}
	a, err := openIdentity(&c)
	if err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(path); err != nil || runtime.GOOS != "windows" && st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	if _, err := openIdentity(&c); !errors.Is(err, ErrIdentityInUse) {
		t.Errorf("opened twice: %v", err)
	}
	a.close()
	b, err := openIdentity(&c)
	if err != nil {
		t.Fatal(err)
	}
	defer b.close()
	if !a.key.Equal(b.key) {
		t.Error("another key the second time")
	}
	left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*"))
	if len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestBrokenIdentityIsNotReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "identity")
	if err := os.WriteFile(path, []byte("precious, but no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openIdentity(&Config{IdentityPath: path}); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v", err)
	}
	if b, _ := os.ReadFile(path); string(b) != "precious, but no key" {
		t.Error("the file was touched")
	}
}

// childNode starts this test's binary as a node in a process of its own and
// returns its first address.
func childNode(t *testing.T, env ...string) (*exec.Cmd, string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=TestChildProcess", "-test.v")
	cmd.Env = append(os.Environ(), append(env, "FARNET_TEST_CHILD=1")...)
	in, err := cmd.StdinPipe() // the child ends with this test
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	buf, text := make([]byte, 4096), ""
	for !strings.Contains(text, "\nADDR ") || !strings.HasSuffix(text, "\n") {
		n, err := out.Read(buf)
		if err != nil {
			t.Fatalf("child: %v: %s", err, text)
		}
		text += string(buf[:n])
	}
	_, addr, _ := strings.Cut(text, "\nADDR ")
	addr, _, _ = strings.Cut(addr, "\n")
	return cmd, addr
}

// TestChildProcess is the node of childNode; by itself it does nothing.
func TestChildProcess(t *testing.T) {
	if os.Getenv("FARNET_TEST_CHILD") == "" {
		return
	}
	n := testNode(t, func(c *Config) { c.IdentityPath = os.Getenv("FARNET_TEST_IDENTITY") })
	announce(t, n, "m")
	fmt.Printf("\nADDR %s\n", n.Addrs()[0])
	_, _ = os.Stdin.Read(make([]byte, 1))
}

func TestSecondProcessWithSameIdentityIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "identity")
	cmd, _ := childNode(t, "FARNET_TEST_IDENTITY="+path)
	c := testConfig()
	c.IdentityPath = path
	_, err := New(t.Context(), c)
	if !errors.Is(err, ErrIdentityInUse) || !strings.Contains(err.Error(), fmt.Sprint("pid ", cmd.Process.Pid)) || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v", err)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	n, err := New(t.Context(), c)
	if err != nil {
		t.Fatalf("after the first has died: %v", err)
	}
	n.Close()
}

func TestKilledProcessIsAvoided(t *testing.T) {
	cmd, addr := childNode(t)
	a := testNode(t, func(c *Config) { c.Bootstrap = []string{addr} })
	client := testClient(t, a.Addrs()...)
	if err := client.Follow(t.Context(), testDigest("m")); err != nil {
		t.Fatal(err)
	}
	if err := a.Follow(t.Context(), testDigest("m")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is seen", func() bool {
		return len(client.Records(testDigest("m"))) == 1 && len(a.Records(testDigest("m"))) == 1
	})
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	took := eventually(t, "it is avoided", func() bool {
		return len(client.Records(testDigest("m"))) == 0 && len(a.Records(testDigest("m"))) == 0
	})
	t.Log("avoided after", took)
}
