package pipeline

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/kernels/tensor"
	"github.com/farlabs/inference/pipeline/route"
	"github.com/farlabs/inference/pipeline/wire"
)

// ledger is a purse and its only account.
type ledger struct {
	mu        sync.Mutex
	opened    int
	closed    int
	broken    error // of Order
	ordered   inference.Units
	delivered inference.Units
	vouchers  uint64
}

func (l *ledger) Account(AccountInfo) (Account, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.opened++
	return l, nil
}

func (l *ledger) Order(line inference.Line, n uint64) (*inference.Voucher, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken != nil {
		return nil, l.broken
	}
	l.ordered[line] += n
	return nil, nil
}

func (l *ledger) Voucher() (*inference.Voucher, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken != nil {
		return nil, l.broken
	}
	l.vouchers++
	return &inference.Voucher{Cumulative: inference.WeiOf(l.vouchers)}, nil
}

func (l *ledger) Withdraw(line inference.Line, n uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ordered[line] -= n
	return nil
}

func (l *ledger) Delivered(line inference.Line, n uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.delivered[line] += n
}

func (l *ledger) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed++
	return nil
}

func (l *ledger) Resumed(r *inference.Receipt, ahead inference.Units) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ordered, l.delivered = r.Units.Add(ahead), r.Units
	return nil
}

func (l *ledger) Receipt(*inference.Receipt) error                  { return nil }
func (l *ledger) Claims(inference.Address) []inference.SessionID    { return nil }
func (l *ledger) Adopt(*inference.Receipt, inference.Address) error { return nil }
func (l *ledger) Lost(inference.SessionID, inference.Address) error { return nil }
func (l *ledger) Connect(context.Context, inference.PeerID) error   { return nil }
func (l *ledger) Send(_ inference.PeerID, f *wire.Frame) error      { f.Release(); return nil }

// accounted returns a session of one hop of three blocks that l is the books of.
func accounted(t *testing.T, l *ledger, links Links) (*Session, *hop) {
	t.Helper()
	x := NewExchange(tensor.NewPool(1 << 16))
	x.Use(links)
	s, err := New(Parts{Context: 16, Blocks: 3, Exchange: x, Links: links, Purse: l}).Open(context.Background(), SessionOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(); x.Wait() })
	h := &hop{Hop: route.Hop{Blocks: inference.BlockRange{Start: 0, End: 3}}}
	h.Offer.Record.Peer = "a"
	s.hops = []*hop{h}
	return s, h
}

func rowsOf(line inference.Line, n int) []wire.Row {
	return []wire.Row{{N: uint32(n), Extent: uint32(n), Line: line}}
}

func TestClosedSessionOpensNoAccount(t *testing.T) {
	l := &ledger{}
	s, h := accounted(t, l, l)
	if _, err := s.openAccount(h, true, nil); err != nil || l.opened != 1 {
		t.Fatal(l.opened, err)
	}
	s.Close()
	s.p.parts.Exchange.Wait()
	if _, err := s.openAccount(h, true, nil); !errors.Is(err, ErrClosed) || l.opened != 1 || l.closed != 1 {
		t.Errorf("opened %d, closed %d: %v", l.opened, l.closed, err)
	}
}

func TestFailureOfTheClientsBooksIsNoHops(t *testing.T) {
	l := &ledger{broken: errors.New("disk full")}
	s, h := accounted(t, l, l)
	h.account, s.ready = &hopAccount{Account: l}, true
	err := s.order(context.Background(), []*planned{{rows: rowsOf(inference.LineDecode, 1)}})
	var he *HopError
	if !errors.Is(err, l.broken) || errors.As(err, &he) {
		t.Errorf("%T: %v", err, err)
	}
	if err := s.fault(context.Background(), err); !errors.Is(err, l.broken) || h.bad || len(s.failures) > 0 {
		t.Errorf("the hop is to blame: %v", err)
	}
	if s.ready {
		t.Error("the hop is not opened again, though a voucher may be missing")
	}
}

// A step is billable once its hop says that it has sent it on, or its output is
// here; never twice, in whichever order the news come.
func TestWorkCountsOnceAsSentOnOrByItsOutput(t *testing.T) {
	l := &ledger{}
	s, h := accounted(t, l, l)
	h.account, s.epoch, s.seq = &hopAccount{Account: l}, 1, 3
	for seq := range uint64(3) {
		s.waiting[seq+1] = &pending{seq: seq + 1, rows: rowsOf(inference.LineDecode, 1<<seq), units: 1 << seq}
	}
	progress := func(sent uint64) {
		s.progressed(h, 0, &wire.Progress{Epoch: 1, Received: 3, Started: 3, Sent: sent})
	}
	output := func(seq uint64) {
		p := s.waiting[seq]
		delete(s.waiting, seq)
		s.observe(nil, p)
	}
	want := func(positions uint64) {
		t.Helper()
		if got := l.delivered[inference.LineDecode]; got != 3*positions {
			t.Errorf("%d token·blocks delivered, want %d", got, 3*positions)
		}
	}
	progress(1)
	want(1)
	progress(1)
	want(1)
	output(1) // counted already
	want(1)
	output(2) // before its progress
	want(1 + 2)
	progress(4) // was never sent: no message of this session
	want(1 + 2)
	progress(3)
	want(1 + 2 + 4)
	progress(0)
	progress(3)
	want(1 + 2 + 4)
	output(3)
	want(1 + 2 + 4)
}

// outbox keeps the vouchers that are sent.
type outbox struct {
	*ledger
	sent []inference.Voucher
}

func (o *outbox) Send(_ inference.PeerID, f *wire.Frame) error {
	if v, ok := f.Message.(*wire.Voucher); ok {
		o.sent = append(o.sent, v.Voucher)
	}
	f.Release()
	return nil
}

func TestRefusedVoucherIsReplacedOnce(t *testing.T) {
	o := &outbox{ledger: &ledger{}}
	s, h := accounted(t, o.ledger, o)
	h.account, h.opened, s.epoch = &hopAccount{Account: o}, true, 1
	final := func(m *wire.Fail) {
		t.Helper()
		m.Epoch, m.Code = 1, wire.CodePayment
		err := s.failed(0, m)
		var he *HopError
		if !errors.As(err, &he) || he.Kind != FailRefused || he.Retryable {
			t.Errorf("%+v is not final: %v", m, err)
		}
	}
	final(&wire.Fail{Seq: 3}) // of a step: the epoch is over
	if err := s.failed(0, &wire.Fail{Epoch: 1, Code: wire.CodePayment}); err != nil || len(o.sent) != 1 {
		t.Fatalf("%d vouchers were sent: %v", len(o.sent), err)
	}
	final(&wire.Fail{})
	h.account, h.opened = &hopAccount{Account: o}, false
	final(&wire.Fail{}) // of Open
	if len(o.sent) != 1 {
		t.Errorf("%d vouchers were sent", len(o.sent))
	}
	h.opened, o.broken = true, errors.New("disk full")
	var he *HopError
	if err := s.failed(0, &wire.Fail{Epoch: 1, Code: wire.CodePayment}); !errors.Is(err, o.broken) || errors.As(err, &he) {
		t.Errorf("books that fail: %v", err)
	}
}
