package payment

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/farlabs/inference"
)

// childEnv makes the test binary a client or a node that works until it is
// killed: "meter:DIR" or "purse:DIR".
const childEnv = "FARLABS_PAYMENT_TEST_CHILD"

func childMain() {
	role, dir, ok := strings.Cut(os.Getenv(childEnv), ":")
	if !ok {
		return
	}
	if err := child(role, dir); err != nil {
		fmt.Println("error", err)
	}
	os.Exit(1)
}

func childKey(n byte) *Key {
	k, err := KeyFromBytes(append(make([]byte, 31), n))
	if err != nil {
		panic(err)
	}
	return k
}

func childTerms() Terms {
	return Terms{Session: inference.SessionID{7}, Blocks: inference.BlockRange{Start: 0, End: 2}, Quote: testQuote}
}

// child prints, after every position of two token·blocks, the count so far.
func child(role, dir string) error {
	node := childKey(2)
	if role == "purse" {
		p, err := OpenPurse(PurseConfig{Dir: dir, Key: childKey(1), Domain: DevelopmentDomain})
		if err != nil {
			return err
		}
		t, err := p.Open(HopTerms{Terms: childTerms(), Wallet: node.Address(), Signer: node.Address()})
		if err != nil {
			return err
		}
		for n := uint64(2); ; n += 2 {
			if _, err := t.Order(inference.LineDecode, 2); err != nil {
				return err
			}
			fmt.Println(n)
		}
	}
	m, err := OpenMeter(MeterConfig{Dir: dir, Key: node, Wallet: node.Address(), Domain: DevelopmentDomain})
	if err != nil {
		return err
	}
	v := inference.Voucher{Node: node.Address(), Series: 1, Cumulative: inference.Wei{Hi: 1}}
	DevelopmentDomain.SignVoucher(childKey(1), &v)
	a, err := m.Open(OpenInfo{Terms: childTerms()}, &v)
	if err != nil {
		return err
	}
	for n := uint64(2); ; n += 2 {
		if err := a.Charge(inference.LineDecode, 2); err != nil {
			return err
		}
		a.Sent(inference.LineDecode, 2)
		fmt.Println(n)
	}
}

// runAndKill starts a child, kills it with SIGKILL after it has said at least
// upTo, and returns the last count that it said.
func runAndKill(t *testing.T, role, dir string, upTo uint64) (last uint64) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "-test.run=^$")
	cmd.Env = append(os.Environ(), childEnv+"="+role+":"+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		n, err := strconv.ParseUint(lines.Text(), 10, 64)
		if err != nil {
			t.Errorf("child says %q", lines.Text())
			break
		}
		if last = n; last >= upTo {
			cmd.Process.Kill()
			upTo = ^uint64(0) // what is still in the pipe counts
		}
	}
	cmd.Process.Kill()
	cmd.Wait()
	return last
}

func TestKilledNodeLosesLessThanATranche(t *testing.T) {
	const tranche = 2 * TrancheTokens
	for _, upTo := range []uint64{2, 62, 64, 5000} {
		dir := t.TempDir()
		said := runAndKill(t, "meter", dir, upTo)
		m, err := OpenMeter(MeterConfig{Dir: dir, Key: childKey(2), Wallet: childKey(2).Address(), Domain: DevelopmentDomain})
		if err != nil {
			t.Fatal(err)
		}
		r, err := m.Settle("", childTerms().Session)
		if err != nil {
			t.Fatal(err)
		}
		if n := r.Units[inference.LineDecode]; n+tranche <= said || n > said+tranche {
			t.Errorf("killed after %d: recovered %d", said, n)
		}
		if v := m.Vouchers(); len(v) != 1 || v[0].Cumulative != (inference.Wei{Hi: 1}) {
			t.Errorf("vouchers %v", v)
		}
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestKilledClientKnowsWhatItMayOwe(t *testing.T) {
	dir := t.TempDir()
	said := runAndKill(t, "purse", dir, 3000)
	p, err := OpenPurse(PurseConfig{Dir: dir, Key: childKey(1), Domain: DevelopmentDomain})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	node := childKey(2)
	if ids := p.Claims(node.Address()); len(ids) != 1 || ids[0] != childTerms().Session {
		t.Fatalf("claims %v", ids)
	}
	claim := p.tabs[tabKey{childTerms().Session, node.Address()}]
	statement := func(n uint64) *inference.Receipt {
		r := &inference.Receipt{
			Payer: p.Payer(), Node: node.Address(), Series: claim.series, Session: childTerms().Session,
			Blocks: childTerms().Blocks, Units: inference.Units{inference.LineDecode: n}, Outcome: inference.OutcomeAbort,
		}
		r.Amount, _ = testQuote.Cost(r.Units)
		r.Cumulative = r.Amount
		DevelopmentDomain.SignReceipt(node, r)
		return r
	}
	// A tranche is 64. The process may have got further than it has said, but a
	// claim of two tranches more than it has ordered is false.
	if err := p.Adopt(statement(claim.horizon.Started+2), node.Address()); err == nil {
		t.Error("adopted more than was promised")
	}
	if claim.horizon.Started < said || claim.tally.Bound.Total() > claim.horizon.Started {
		t.Errorf("said %d, wrote down %d, started %d", said, claim.tally.Bound.Total(), claim.horizon.Started)
	}
	if err := p.Adopt(statement(said), node.Address()); err != nil {
		t.Error(err)
	}
	if u := p.Usage().Total(); u.Units[inference.LineDecode] != said || u.Unsettled != 0 {
		t.Errorf("usage %+v", u)
	}
}
