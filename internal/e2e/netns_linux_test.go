package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// expected skips a test whose means are missing on this machine, unless
// FARLABS_EXPECT, a list of words, promises them.
func expected(t *testing.T, what string, missing error) {
	t.Helper()
	if slices.Contains(strings.Split(os.Getenv("FARLABS_EXPECT"), ","), what) {
		t.Fatalf("FARLABS_EXPECT promises %s: %v", what, missing)
	}
	t.Skipf("%s: %v", what, missing)
}

// island is a network namespace that reaches this machine and nothing beyond.
type island struct {
	name       string
	here, addr string // of this machine as seen from there, and of the island
}

// newIsland makes one, or skips the test.
func newIsland(t *testing.T, n int) island {
	t.Helper()
	i := island{
		name: fmt.Sprintf("fl%d-%d", os.Getpid(), n),
		here: fmt.Sprintf("198.18.%d.1", n), addr: fmt.Sprintf("198.18.%d.2", n),
	}
	ip := func(args ...string) error {
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, out)
		}
		return nil
	}
	if err := ip("netns", "add", i.name); err != nil {
		expected(t, "netns", err)
	}
	t.Cleanup(func() {
		if err := ip("netns", "del", i.name); err != nil {
			t.Error(err)
		}
	})
	end := i.name + "p"
	for _, line := range []string{
		"link add " + i.name + " type veth peer name " + end + " netns " + i.name,
		"addr add " + i.here + "/30 dev " + i.name,
		"link set " + i.name + " up",
		"-n " + i.name + " link set lo up",
		"-n " + i.name + " addr add " + i.addr + "/30 dev " + end,
		"-n " + i.name + " link set " + end + " up",
		"-n " + i.name + " route add default via " + i.here,
	} {
		if err := ip(strings.Fields(line)...); err != nil {
			expected(t, "netns", err)
		}
	}
	return i
}

// inside returns the options of a node that runs on the island.
func (i island) inside(o NodeOptions) NodeOptions {
	path, err := exec.LookPath("ip")
	if err != nil {
		panic(err) // it made the island
	}
	o.Through = []string{path, "netns", "exec", i.name}
	o.Listen = i.addr + ":0"
	o.Extra = append(o.Extra, "--mdns", "off")
	return o
}

// TestBlockedEdgeRunsThroughTheClient has two nodes that cannot reach each
// other, because this machine forwards nothing between them; packets vanish.
func TestBlockedEdgeRunsThroughTheClient(t *testing.T) {
	processes(t)
	if b, err := os.ReadFile("/proc/sys/net/ipv4/ip_forward"); err != nil || strings.TrimSpace(string(b)) != "0" {
		expected(t, "netns", fmt.Errorf("this machine forwards packets: %s %w", b, err))
	}
	a, b := newIsland(t, 1), newIsland(t, 2)
	hub := Start(t, NodeOptions{Blocks: "29:30", Listen: "0.0.0.0:0", Extra: []string{"--mdns", "off"}})
	at := func(i island) []string {
		for _, addr := range hub.Wait("listening").Addrs {
			if strings.HasPrefix(addr, "/ip4/"+i.here+"/tcp/") {
				return []string{addr}
			}
		}
		t.Fatalf("the hub does not listen on %s: %q", i.here, hub.Wait("listening").Addrs)
		return nil
	}
	first := Start(t, a.inside(NodeOptions{Blocks: "0:15", Bootstrap: at(a)}))
	second := Start(t, b.inside(NodeOptions{Blocks: "15:30", Bootstrap: at(b)}))
	for _, n := range []*Node{hub, first, second} {
		n.Wait("serving")
	}
	c := Dial(t, ClientOptions{Bootstrap: []string{hub.Addr}})
	c.Sees(t, first, second)
	got := c.Ask(t, question(10))
	hops := inOrder(t, got.Route(), []*Node{hub, first, second})
	if len(hops) < 2 || hops[0] != first || hops[1] != second || got.Route().Hops[0].Direct {
		t.Fatalf("route %s: want an edge through the client between the islands", got.Route())
	}
	nodes := Shared(t)
	c3 := Dial(t, ClientOptions{Bootstrap: []string{nodes[0].Addr}})
	c3.Sees(t, nodes...)
	if direct := c3.Ask(t, question(10)); got.Text != direct.Text {
		t.Errorf("through the client %q, direct %q", got.Text, direct.Text)
	}
}
