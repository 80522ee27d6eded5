package stage_test

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/pipeline/stage"
	"github.com/farlabs/inference/pipeline/wire"
)

// books is a Meter that sells token·blocks for one wei each, all lines alike.
type books struct {
	mu       sync.Mutex
	delay    time.Duration // of the disk
	accounts map[inference.SessionID]*account
	refuse   error
	damaged  bool // receipts say nothing of blocks
}

type account struct {
	b       *books
	terms   stage.Terms
	voucher uint64
	open    inference.Units // charged, not sent
	sent    inference.Units
	closed  bool
	opens   int
}

func (b *books) Open(t stage.Terms, v *inference.Voucher) (stage.Account, error) {
	time.Sleep(b.delay)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.refuse != nil {
		return nil, b.refuse
	}
	a := b.accounts[t.Session]
	if a == nil {
		a = &account{b: b}
		b.accounts[t.Session] = a
	}
	a.terms = t
	a.opens++
	if v != nil {
		a.voucher = v.Cumulative.Lo
	}
	return a, nil
}

func (b *books) Settle(client inference.PeerID, id inference.SessionID) (inference.Receipt, error) {
	time.Sleep(b.delay)
	b.mu.Lock()
	a := b.accounts[id]
	b.mu.Unlock()
	if a == nil || !a.closed || a.terms.Client != client {
		return inference.Receipt{}, errors.New("no account")
	}
	return a.Receipt()
}

func (a *account) Charge(l inference.Line, n uint64) error {
	a.b.mu.Lock()
	defer a.b.mu.Unlock()
	if a.open.Total()+a.sent.Total()+n > a.voucher {
		return errors.New("credit exhausted")
	}
	a.open[l] += n
	return nil
}

func (a *account) Sent(l inference.Line, n uint64) {
	a.b.mu.Lock()
	defer a.b.mu.Unlock()
	a.open[l] -= n
	a.sent[l] += n
}

func (a *account) Refund(l inference.Line, n uint64) {
	a.b.mu.Lock()
	defer a.b.mu.Unlock()
	a.open[l] -= n
}

func (a *account) Voucher(v *inference.Voucher) (inference.Receipt, error) {
	time.Sleep(a.b.delay)
	a.b.mu.Lock()
	if v.Cumulative.Lo <= a.voucher {
		a.b.mu.Unlock()
		return inference.Receipt{}, errors.New("stale voucher")
	}
	a.voucher = v.Cumulative.Lo
	a.b.mu.Unlock()
	return a.Receipt()
}

func (a *account) Receipt() (inference.Receipt, error) {
	a.b.mu.Lock()
	defer a.b.mu.Unlock()
	r := inference.Receipt{Session: a.terms.Session, Epoch: a.terms.Epoch, Blocks: a.terms.Blocks, Units: a.sent, Amount: inference.WeiOf(a.sent.Total())}
	if a.b.damaged {
		r.Blocks = inference.BlockRange{}
	}
	if a.closed {
		r.Outcome = inference.OutcomeOK
	}
	return r, nil
}

func (a *account) Close(inference.Outcome) (inference.Receipt, error) {
	time.Sleep(a.b.delay)
	a.b.mu.Lock()
	a.closed = true
	a.b.mu.Unlock()
	return a.Receipt()
}

func voucher(wei uint64) *inference.Voucher {
	return &inference.Voucher{Cumulative: inference.WeiOf(wei)}
}

// paid runs f with a stage that keeps books.
func paid(t *testing.T, f func(r *rig, n *node, b *books)) {
	run(t, func(r *rig) {
		b := &books{accounts: map[inference.SessionID]*account{}, delay: 5 * time.Millisecond}
		n := r.node("n", all, func(c *stage.Config) { c.Meter = b })
		f(r, n, b)
		for _, a := range b.accounts {
			if a.open.Total() != 0 {
				t.Errorf("session %s: %v charged, neither sent nor refunded", a.terms.Session, a.open)
			}
		}
	})
}

func TestWorkIsBilledWhenItLeaves(t *testing.T) {
	paid(t, func(r *rig, n *node, b *books) {
		rt := r.client.session([]*node{n})
		rt.change = func(m *wire.Open) { m.Voucher = voucher(1000) }
		if o := rt.open(); o[0].Receipt == nil || o[0].Receipt.Session != rt.id {
			t.Errorf("receipt in Opened: %+v", o[0].Receipt)
		}
		rt.step(tokens(1, 20), row(0, 0, 20, wire.WantLast))
		rt.step(tokens(1, 1), row(0, 20, 1, wire.WantLast))
		f := rt.ids(tokens(1, 4), wire.Row{Start: 21, N: 4, Line: inference.LineDraft})
		rt.send(f)
		rt.wait(3)
		rt.close()
		want := inference.Units{inference.LinePrefill: 120, inference.LineDecode: 6, inference.LineDraft: 24}
		a := b.accounts[rt.id]
		if a.sent != want || !a.closed {
			t.Errorf("billed %v, want %v; closed %v", a.sent, want, a.closed)
		}
		last := r.client.receipts[len(r.client.receipts)-1]
		if last.Units != want || last.Outcome != inference.OutcomeOK {
			t.Errorf("last receipt %+v", last)
		}
		p := r.client.progress[len(r.client.progress)-1]
		if p.Sent != 3 {
			t.Errorf("progress before the receipt: %+v", p)
		}
	})
}

func TestStepWaitsForItsVoucher(t *testing.T) {
	paid(t, func(r *rig, n *node, b *books) {
		rt := r.client.session([]*node{n})
		rt.change = func(m *wire.Open) { m.Voucher = voucher(60) }
		rt.open()
		rt.step(tokens(1, 10), row(0, 0, 10, wire.WantLast))
		rt.send(rt.ids(tokens(1, 1), row(0, 10, 1, wire.WantLast)))
		nap(time.Second)
		if _, ok := rt.output(2); ok {
			t.Error("served without pay")
		}
		r.client.send("n", &wire.Voucher{Session: rt.id, Voucher: *voucher(120)})
		rt.wait(2)
		r.client.mu.Lock()
		got := len(r.client.receipts)
		r.client.mu.Unlock()
		if got != 1 {
			t.Errorf("%d receipts for a voucher", got)
		}
		// A voucher and the step it pays for race on two streams.
		for i := range 9 {
			rt.send(rt.ids(tokens(1, 1), row(0, 11+i, 1, wire.WantLast)))
		}
		for i := range 20 {
			r.client.send("n", &wire.Voucher{Session: rt.id, Voucher: *voucher(uint64(130 + 10*i))})
			nap(time.Millisecond)
		}
		rt.wait(11)
		rt.close()
	})
}

func TestUnpaidStepFailsAndALaterEpochGoesOn(t *testing.T) {
	paid(t, func(r *rig, n *node, b *books) {
		rt := r.client.session([]*node{n})
		rt.change = func(m *wire.Open) { m.Voucher = voucher(60) }
		rt.open()
		rt.step(tokens(1, 10), row(0, 0, 10, wire.WantLast))
		start := time.Now()
		rt.send(rt.ids(tokens(1, 1), row(0, 10, 1, wire.WantLast)))
		if f := rt.wantFail(wire.CodePayment); f.Text == "" || f.Seq != 2 {
			t.Errorf("%+v", f)
		}
		if d := time.Since(start); d < 2*time.Second || d > 2200*time.Millisecond {
			t.Errorf("after %v", d)
		}
		r.client.send("n", &wire.Voucher{Session: rt.id, Voucher: *voucher(60)})
		nap(time.Second)
		if f := r.client.fails[len(r.client.fails)-1]; f.Code != wire.CodePayment || f.Seq != 0 {
			t.Errorf("a stale voucher: %+v", f)
		}
		rt.change = func(m *wire.Open) { m.Keep, m.Voucher = true, voucher(66) }
		rt.open()
		rt.step(tokens(1, 1), row(0, 10, 1, wire.WantLast))
		if b.accounts[rt.id].opens != 2 {
			t.Errorf("%d opens of the account", b.accounts[rt.id].opens)
		}
		rt.close()
	})
}

func TestWorkThatIsNotSentIsNotBilled(t *testing.T) {
	paid(t, func(r *rig, n *node, b *books) {
		rt := r.client.session([]*node{n})
		rt.change = func(m *wire.Open) { m.Voucher, m.Limits.Window = voucher(10000), 30*rowBytes }
		rt.open()
		hold(n)
		rt.send(rt.ids(tokens(1, 20), row(0, 0, 20, wire.WantAll)))
		synctest.Wait()
		rt.open2() // a new epoch inside the pass
		synctest.Wait()
		n.span.release()
		nap(time.Second)
		r.client.deaf = true
		for i := range 3 { // the second waits for window
			rt.send(rt.ids(tokens(1, 20), row(0, 20*i, 20, wire.WantAll)))
		}
		nap(time.Second)
		rt.close()
		if got := b.accounts[rt.id].sent; got != (inference.Units{inference.LinePrefill: 120}) {
			t.Errorf("billed %v for one step that left", got)
		}
	})
}

// open2 sends the Open of the next epoch and does not wait.
func (rt *route) open2() { rt.c.send(rt.peers[0], rt.opens()[0]) }

func TestRefusedVoucherAtOpen(t *testing.T) {
	paid(t, func(r *rig, n *node, b *books) {
		b.refuse = errors.New("voucher is for another node")
		rt := r.client.session([]*node{n})
		rt.open2()
		if f := rt.wantFail(wire.CodePayment); f.Text != "voucher is for another node" {
			t.Errorf("%+v", f)
		}
		nap(time.Second)
		if n.Load().Sessions != 0 {
			t.Error("the session is there")
		}
	})
}

// A client that lost the final receipt closes the session again to get it.
func TestClosingAgainBringsTheReceiptAgain(t *testing.T) {
	paid(t, func(r *rig, n *node, b *books) {
		rt := r.client.session([]*node{n})
		rt.change = func(m *wire.Open) { m.Voucher = voucher(1000) }
		rt.open()
		rt.step(tokens(1, 3), row(0, 0, 3, wire.WantLast))
		rt.close()
		before := len(r.client.receipts)
		rt.close()
		if len(r.client.receipts) != before+1 || r.client.receipts[before] != r.client.receipts[before-1] {
			t.Errorf("%d receipts, %d before: %v", len(r.client.receipts), before, r.client.failed())
		}
		// Nobody else gets it.
		other := r.another("other")
		other.send("n", &wire.Close{Session: rt.id})
		nap(time.Second)
		if len(other.receipts) != 0 || len(other.fails) != 1 || other.fails[0].Code != wire.CodeNoSession {
			t.Errorf("another client: receipts %v, %v", other.receipts, other.failed())
		}
		r.client.send("n", &wire.Close{Session: inference.SessionID{77}})
		nap(time.Second)
		if f := r.client.fails; len(f) != 1 || f[0].Code != wire.CodeNoSession {
			t.Errorf("close of nothing: %v", r.client.failed())
		}
		b.delay = time.Minute
		for range 200 {
			r.client.send("n", &wire.Close{Session: inference.SessionID{77}})
		}
		nap(time.Hour)
		codes := map[wire.Code]int{}
		for _, f := range r.client.fails[1:] {
			codes[f.Code]++
			if f.Session != (inference.SessionID{77}) || f.Code == wire.CodeBusy && f.RetryAfter == 0 {
				t.Errorf("%+v", f)
			}
		}
		if codes[wire.CodeNoSession] != 16 || codes[wire.CodeBusy] != 184 {
			t.Errorf("answers to 200 look-ups at once: %v", codes)
		}
	})
}

// A close that comes while the account is being opened closes it afterwards.
func TestCloseBeforeTheDiskHasAnswered(t *testing.T) {
	paid(t, func(r *rig, n *node, b *books) {
		b.delay = time.Second
		rt := r.client.session([]*node{n})
		rt.open2()
		nap(100 * time.Millisecond)
		r.client.send("n", &wire.Close{Session: rt.id})
		nap(5 * time.Second)
		if a := b.accounts[rt.id]; a == nil || !a.closed {
			t.Errorf("account left open: %+v", a)
		}
	})
}

// A receipt that the client cannot parse would end the connection, with all
// sessions on it.
func TestReceiptWithoutBlocksIsNotSent(t *testing.T) {
	paid(t, func(r *rig, n *node, b *books) {
		b.damaged = true
		rt := r.client.session([]*node{n})
		rt.change = func(m *wire.Open) { m.Voucher = voucher(1000) }
		if o := rt.open(); o[0].Receipt != nil {
			t.Errorf("receipt in Opened: %+v", o[0].Receipt)
		}
		r.client.send("n", &wire.Voucher{Session: rt.id, Voucher: *voucher(1100)})
		rt.step(tokens(1, 3), row(0, 0, 3, wire.WantLast))
		rt.close()
		rt.close() // asks for the receipt again
		if f := rt.lastFail(); f == nil || f.Code != wire.CodeInternal {
			t.Errorf("the second close: %v", r.client.failed())
		}
		if len(r.client.downs) != 0 || len(r.client.receipts) != 0 {
			t.Errorf("%d connections lost, receipts %v", len(r.client.downs), r.client.receipts)
		}
	})
}

func (rt *route) lastFail() (last *wire.Fail) {
	rt.c.mu.Lock()
	defer rt.c.mu.Unlock()
	for _, f := range rt.c.fails {
		if f.Session == rt.id {
			last = f
		}
	}
	return last
}
