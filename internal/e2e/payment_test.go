//go:build unix

package e2e

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/payment"
)

// wallet returns the account that a node is paid at.
func (n *Node) wallet(t *testing.T) inference.Address {
	t.Helper()
	key, err := payment.LoadOrCreateKey(filepath.Join(n.Dir, "wallet.key"))
	if err != nil {
		t.Fatal(err)
	}
	return key.Address()
}

// spent and earned return the books of a client's and a node's data directory.
func spent(t *testing.T, dir string) payment.Usage {
	t.Helper()
	u, err := payment.ReadSpending(filepath.Join(dir, "spent"))
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func earned(t *testing.T, n *Node) payment.Usage {
	t.Helper()
	u, err := payment.ReadEarnings(filepath.Join(n.Dir, "earned"))
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// with returns the sum of the rows of one other party.
func with(u payment.Usage, party inference.Address) payment.Row {
	for _, r := range u.By(func(r payment.Row) payment.Row { return payment.Row{Party: r.Party} }) {
		if r.Party == party {
			return r
		}
	}
	return payment.Row{}
}

// equalBooks compares both sides' counts to the unit and the wei.
func equalBooks(t *testing.T, client string, nodes []*Node) {
	t.Helper()
	key, err := payment.LoadOrCreateKey(filepath.Join(client, "payer.key"))
	if err != nil {
		t.Fatal(err)
	}
	paid := spent(t, client)
	promised := inference.Wei{}
	for _, n := range nodes {
		theirs := earned(t, n)
		a, b := with(paid, n.wallet(t)), with(theirs, key.Address())
		if a.Units != b.Units || a.Amount != b.Amount || a.Unsettled != 0 || b.Unsettled != 0 {
			t.Errorf("%s: the client counts %v, %s wei, %d sessions unsettled; the node %v, %s wei, %d",
				n.Name, a.Units, a.Amount, a.Unsettled, b.Units, b.Amount, b.Unsettled)
		}
		if b.Amount.Cmp(theirs.Promised) > 0 {
			t.Errorf("%s: vouchers of %s wei do not cover %s", n.Name, theirs.Promised, b.Amount)
		}
		if b.Units.Total() > 0 && b.Amount.IsZero() {
			t.Errorf("%s worked for nothing", n.Name)
		}
		promised, _ = promised.Add(theirs.Promised)
		t.Logf("%s: %d sessions, %v units, %s wei, vouchers %s", n.Name, b.Sessions, b.Units, b.Amount, theirs.Promised)
	}
	// A voucher may have been signed and have died with one of the two.
	if promised.Cmp(paid.Promised) > 0 {
		t.Errorf("the nodes hold vouchers of %s wei, the client has signed %s", promised, paid.Promised)
	}
}

// TestBillIsWhatWasComputed counts units by hand: (session, position, block).
func TestBillIsWhatWasComputed(t *testing.T) {
	processes(t)
	nodes := Chain(t, "0:12", "12:30")
	c := Dial(t, ClientOptions{Bootstrap: []string{nodes[0].Addr}})
	c.Sees(t, nodes...)
	var want inference.Units
	for _, n := range []int{1, 40} { // 40 tokens are more than a tranche
		a := c.Ask(t, short(n))
		want[inference.LinePrefill] += uint64(a.Usage.PromptTokens)
		want[inference.LineDecode] += uint64(n - 1)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	for i, blocks := range []uint64{12, 18} {
		scaled := want
		for l := range scaled {
			scaled[l] *= blocks
		}
		if got := with(spent(t, c.Dir), nodes[i].wallet(t)).Units; got != scaled {
			t.Errorf("hop %d: billed %v, computed %v", i+1, got, scaled)
		}
	}
	equalBooks(t, c.Dir, nodes)
	// The commands show what the books hold.
	for _, side := range []struct {
		program, dir string
		want         payment.Usage
	}{{"farclient", c.Dir, spent(t, c.Dir)}, {"start_node", nodes[0].Dir, earned(t, nodes[0])}} {
		out := Run(t, side.program, "usage", "--json", "--data-dir", side.dir)
		var got payment.Usage
		if err := json.Unmarshal([]byte(out.Stdout), &got); out.Code != 0 || err != nil {
			t.Fatalf("%s usage: status %d, %v\n%s%s", side.program, out.Code, err, out.Stdout, out.Stderr)
		}
		if got.Promised != side.want.Promised || len(got.Rows) != len(side.want.Rows) {
			t.Fatalf("%s usage: %+v, want %+v", side.program, got, side.want)
		}
		for i, r := range got.Rows {
			if w := side.want.Rows[i]; r.Amount != w.Amount || r.Party != w.Party || r.Lines["decode"] != w.Units[inference.LineDecode] || r.Lines["prefill"] != w.Units[inference.LinePrefill] {
				t.Errorf("%s usage, row %d: %+v, want %+v", side.program, i, r, w)
			}
		}
	}
}

// TestBooksAgreeAfterKillsOfEachSide kills clients and nodes in the middle of
// their sessions. Once each node has been met again both sides agree.
func TestBooksAgreeAfterKillsOfEachSide(t *testing.T) {
	processes(t)
	sessions, kills := pick(6, 50), pick(2, 10)
	nodes := Chain(t, "0:15", "15:30", "0:15", "15:30")
	client := t.TempDir()
	addrs := func() []string {
		var args []string
		for _, n := range nodes {
			if !n.Exited() {
				args = append(args, "--bootstrap", n.Addr)
			}
		}
		return args
	}
	ask := func() *Process {
		args := []string{"run", "-v", "--data-dir", client, "--temperature", "0", "--max-tokens", "12"}
		return launch(t, nextName("client"), "farclient", client, nil, append(append(args, addrs()...), "Count to ten.")...)
	}
	restart := func(n *Node) {
		t.Helper()
		i := slices.Index(nodes, n)
		o := n.options
		for _, other := range nodes {
			if !other.Exited() {
				o.Bootstrap = []string{other.Addr}
			}
		}
		nodes[i] = Start(t, o)
		nodes[i].Wait("serving")
	}
	nodeKills, clientKills := 0, 0
	for i := range sessions {
		p := ask()
		answering := func() bool { return p.Output() != "" || p.Exited() }
		if !Until(patience, answering) {
			t.Fatalf("session %d does not begin:\n%s", i+1, p.Log())
		}
		time.Sleep(time.Duration(i%5) * 50 * time.Millisecond) // not always at the same token
		victim := -1
		switch {
		case i%(sessions/kills) == 0 && clientKills < kills:
			clientKills++
			p.Kill()
		case i%(sessions/kills) == 1 && nodeKills < kills:
			for j, n := range nodes { // the first or the last of the route, in turn
				if strings.Contains(p.Log(), n.Name) && (victim < 0 || nodeKills%2 == 1) {
					victim = j
				}
			}
			if victim < 0 {
				t.Fatalf("session %d names no node:\n%s", i+1, p.Log())
			}
			nodeKills++
			nodes[victim].Kill()
		}
		if code := p.Exit(t, patience); code == 1 {
			t.Errorf("session %d failed:\n%s", i+1, p.Log())
		}
		if victim >= 0 {
			restart(nodes[victim])
		}
	}
	if nodeKills < kills || clientKills < kills {
		t.Fatalf("%d nodes and %d clients were killed, want %d of each", nodeKills, clientKills, kills)
	}
	for _, n := range nodes {
		if !Until(patience, func() bool { return n.Metric(t, "farlabs_sessions") == 0 }) {
			t.Fatalf("%s keeps sessions of clients that are gone", n.Name)
		}
	}
	before := spent(t, client).Total()
	// Each node is met again: first one pair, then the other.
	for i := range 2 {
		away := []*Node{nodes[2*i], nodes[2*i+1]}
		for _, n := range away {
			n.Kill()
		}
		here := []*Node{nodes[2-2*i], nodes[3-2*i]}
		c := Dial(t, ClientOptions{Bootstrap: []string{here[0].Addr, here[1].Addr}, DataDir: client})
		c.Sees(t, here...)
		c.Ask(t, short(2))
		settled := func() bool {
			u := c.Usage()
			return with(u, here[0].wallet(t)).Unsettled+with(u, here[1].wallet(t)).Unsettled == 0
		}
		if !Until(5*time.Second, settled) {
			t.Errorf("after %s and %s were met again, sessions are unsettled", here[0].Name, here[1].Name)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		for _, n := range away {
			restart(n)
		}
	}
	t.Logf("before: %d of %d sessions unsettled", before.Unsettled, before.Sessions)
	equalBooks(t, client, nodes)
}
