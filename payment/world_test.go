package payment

import (
	"encoding/binary"
	"errors"
	"flag"
	"testing"

	"github.com/farlabs/inference"
	"go.uber.org/goleak"
)

// Prices differ by line, so that a unit on the wrong line shows in the amount.
var testQuote = inference.Quote{
	inference.WeiOf(1_000_003), inference.WeiOf(1_000_033), inference.WeiOf(999_983), inference.WeiOf(100_003), inference.WeiOf(1_000_003),
}

// world is a client and a node that talk without a network.
type world struct {
	t        failer
	meterCfg MeterConfig
	purseCfg PurseConfig
	meter    *Meter
	purse    *Purse
	sessions []*play
	next     uint64 // session ids
}

// failer is a *testing.T or a *rapid.T.
type failer interface {
	Helper()
	Fatal(...any)
	Fatalf(string, ...any)
}

// play is one session as the test knows it to have gone.
type play struct {
	id      inference.SessionID
	series  uint64
	terms   Terms
	tab     *Tab     // nil: its process is gone
	account *Account // nil: never opened, or its process is gone
	ordered inference.Units
	billed  inference.Units // Sent, as long as the node lived; what it stood at when it died
}

func newWorld(t failer, dirs func() string, sync bool) *world {
	w := &world{t: t}
	node := childKey(99)
	w.meterCfg = MeterConfig{Dir: dirs(), Key: node, Wallet: childKey(98).Address(), Domain: DevelopmentDomain, noSync: !sync}
	w.purseCfg = PurseConfig{Dir: dirs(), Key: childKey(1), Domain: DevelopmentDomain, noSync: !sync}
	w.startMeter()
	w.startPurse()
	return w
}

func newTestWorld(t *testing.T) *world {
	w := newWorld(t, t.TempDir, false)
	t.Cleanup(w.stop)
	return w
}

func (w *world) stop() {
	w.meter.kill()
	w.purse.kill()
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) startMeter() {
	var err error
	w.meter, err = OpenMeter(w.meterCfg)
	w.must(err)
}

func (w *world) startPurse() {
	before := uint64(0)
	if w.purse != nil {
		before = w.purse.Series()
	}
	var err error
	w.purse, err = OpenPurse(w.purseCfg)
	w.must(err)
	if w.purse.Series() <= before {
		w.t.Fatalf("series %d after %d", w.purse.Series(), before)
	}
}

func (w *world) signer() inference.Address { return w.meterCfg.Key.Address() }

// begin opens a tab and orders the prompt; the session is not at the node yet.
func (w *world) begin(blocks, prompt int) (*play, *inference.Voucher) {
	w.t.Helper()
	w.next++
	p := &play{series: w.purse.Series()}
	binary.BigEndian.PutUint64(p.id[:], w.next)
	p.terms = Terms{
		Session: p.id, Model: "toy:f32", Digest: inference.Digest{1}, Class: inference.Numerics{}.Class(),
		Blocks: inference.BlockRange{Start: 2, End: 2 + blocks}, Quote: testQuote,
	}
	w.sessions = append(w.sessions, p)
	var err error
	p.tab, err = w.purse.Open(HopTerms{Terms: p.terms, Wallet: w.meterCfg.Wallet, Signer: w.signer()})
	w.must(err)
	return p, w.order(p, inference.LinePrefill, prompt)
}

func (w *world) open(p *play, v *inference.Voucher) {
	w.t.Helper()
	var err error
	p.account, err = w.meter.Open(OpenInfo{Terms: p.terms, Peer: "client", Ask: testQuote}, v)
	w.must(err)
}

func (w *world) order(p *play, line inference.Line, positions int) *inference.Voucher {
	w.t.Helper()
	n := uint64(positions * p.terms.Blocks.Len())
	v, err := p.tab.Order(line, n)
	w.must(err)
	p.ordered[line] += n
	return v
}

// pay hands a voucher to the node and its receipt to the client.
func (w *world) pay(p *play, v *inference.Voucher) {
	w.t.Helper()
	if v == nil {
		return
	}
	r, err := p.account.Voucher(v)
	w.must(err)
	w.must(p.tab.Receipt(&r))
}

func (w *world) charge(p *play, line inference.Line, positions int) {
	w.t.Helper()
	w.must(p.account.Charge(line, uint64(positions*p.terms.Blocks.Len())))
}

func (w *world) sent(p *play, line inference.Line, positions int) {
	n := uint64(positions * p.terms.Blocks.Len())
	p.account.Sent(line, n)
	p.billed[line] += n
}

func (w *world) delivered(p *play, line inference.Line, positions int) {
	p.tab.Delivered(line, uint64(positions*p.terms.Blocks.Len()))
}

// step is a whole step without a fault.
func (w *world) step(p *play, line inference.Line, positions int) {
	w.t.Helper()
	w.pay(p, w.order(p, line, positions))
	w.serve(p, line, positions)
}

func (w *world) serve(p *play, line inference.Line, positions int) {
	w.t.Helper()
	w.charge(p, line, positions)
	w.sent(p, line, positions)
	w.delivered(p, line, positions)
}

// session is a whole session without a fault up to its end.
func (w *world) session(blocks, prompt, tokens int) *play {
	w.t.Helper()
	p, v := w.begin(blocks, prompt)
	w.open(p, v)
	w.serve(p, inference.LinePrefill, prompt)
	for range tokens {
		w.step(p, inference.LineDecode, 1)
	}
	return p
}

func (w *world) end(p *play) inference.Receipt {
	w.t.Helper()
	r, err := p.account.Close(inference.OutcomeOK)
	w.must(err)
	p.account = nil
	w.must(p.tab.Receipt(&r))
	w.must(p.tab.Close())
	p.tab = nil
	return r
}

// killNode ends the node's process. What it had not persisted, less than a
// tranche of each session, is gone.
func (w *world) killNode() {
	w.t.Helper()
	w.meter.kill()
	w.startMeter()
	for _, p := range w.sessions {
		if p.account == nil {
			continue
		}
		p.account = nil
		r, err := w.meter.Settle("client", p.id)
		w.must(err)
		if r.Outcome != inference.OutcomeNodeFault {
			w.t.Fatalf("outcome %s after the node died", r.Outcome)
		}
		for i, n := range r.Units {
			if n > p.billed[i] || n > p.ordered[i] {
				w.t.Fatalf("%s: recovered %d of %d billed, %d ordered", inference.Line(i), n, p.billed[i], p.ordered[i])
			}
		}
		if lost := p.billed.Total() - r.Units.Total(); lost >= p.terms.tranche() {
			w.t.Fatalf("lost %d token·blocks, a tranche is %d", lost, p.terms.tranche())
		}
		p.billed = r.Units
		if p.tab != nil {
			w.must(p.tab.Close())
			p.tab = nil
		}
	}
}

// killClient ends the client's process; the node notices.
func (w *world) killClient() {
	w.t.Helper()
	w.purse.kill()
	w.startPurse()
	for _, p := range w.sessions {
		p.tab = nil
		if p.account != nil {
			_, err := p.account.Close(inference.OutcomeAbort)
			w.must(err)
			p.account = nil
		}
	}
}

// reconcile is the next contact.
func (w *world) reconcile() {
	w.t.Helper()
	for _, id := range w.purse.Claims(w.signer()) {
		r, err := w.meter.Settle("client", id)
		if errors.Is(err, ErrUnknownSession) {
			w.must(w.purse.Lost(id, w.signer()))
			continue
		}
		w.must(err)
		w.must(w.purse.Adopt(&r, w.signer()))
	}
}

// equal checks that both sides have what the test saw, to the unit. Sessions
// must be over and reconciled.
func (w *world) equal() {
	w.t.Helper()
	if left := w.purse.Claims(w.signer()); len(left) > 0 {
		w.t.Fatalf("%d sessions wait for a receipt", len(left))
	}
	var all inference.Units
	amounts := map[uint64]inference.Wei{} // by series
	var sum inference.Wei
	atNode := uint64(0)
	for _, p := range w.sessions {
		all = all.Add(p.billed)
		cost, _ := testQuote.Cost(p.billed)
		amounts[p.series], _ = amounts[p.series].Add(cost)
		sum, _ = sum.Add(cost)
		r, err := w.meter.Settle("client", p.id)
		if errors.Is(err, ErrUnknownSession) && p.billed.Total() == 0 {
			continue
		}
		w.must(err)
		atNode++
		if r.Units != p.billed || r.Amount != cost {
			w.t.Fatalf("session %s: receipt %v, %s wei; billed %v, %s", p.id, r.Units, r.Amount, p.billed, cost)
		}
	}
	spent, earned := w.purse.Usage().Total(), w.meter.Usage().Total()
	if spent.Units != all || earned.Units != all || spent.Amount != sum || earned.Amount != sum {
		w.t.Fatalf("spent %v, %s wei\nearned %v, %s wei\nwant %v, %s wei", spent.Units, spent.Amount, earned.Units, earned.Amount, all, sum)
	}
	if spent.Unsettled != 0 || earned.Unsettled != 0 || earned.Sessions != atNode || spent.Sessions != uint64(len(w.sessions)) {
		w.t.Fatalf("spent %+v\nearned %+v\n%d sessions, %d at the node", spent, earned, len(w.sessions), atNode)
	}
	for _, v := range w.meter.Vouchers() {
		w.must(DevelopmentDomain.VerifyVoucher(&v))
		if v.Cumulative.Cmp(amounts[v.Series]) < 0 {
			w.t.Fatalf("series %d: voucher %s wei, billed %s", v.Series, v.Cumulative, amounts[v.Series])
		}
	}
}

func TestMain(m *testing.M) {
	childMain()
	flag.Set("rapid.checks", "40") // a command line says otherwise
	goleak.VerifyTestMain(m)
}
