package payment

import (
	"errors"
	"fmt"

	"github.com/farlabs/inference"
)

// TrancheTokens is the length of a tranche of decoding, positions.
const TrancheTokens = 32

// ErrAmount is returned when a sum does not fit 128 bits, or a count 64.
var ErrAmount = errors.New("amount out of range")

// ErrLine is returned for a billing line that does not exist.
var ErrLine = errors.New("no such billing line")

// Tally is one side's count of one session at one node, in token·blocks. Both
// sides count alike: work is taken on, then delivered or dropped.
//
//	           client                               node
//	Take       step sent to the hop                 before the rows' forward pass
//	Deliver    Progress.sent, or output arrived     rows sent on
//	Drop       –                                    computed or queued, never sent on
//	Withdraw   ordered, its steps were never sent   –
//	Advance    receipt while the session is open    –
//	Reopen     receipt with a new epoch             –
//	Agree      receipt of the session's end         –
//
// What is billable is Done. The two Done differ while work or news of it is
// under way, and after a crash by what was not persisted yet, less than one
// tranche; Agree makes them equal.
type Tally struct {
	Open  inference.Units // taken on, neither delivered nor dropped
	Done  inference.Units // delivered: billable
	Bound inference.Units // everything ever taken on and not withdrawn: no figure above it is believed
}

// Take adds n token·blocks of work that begins. On an error nothing changed.
func (t *Tally) Take(line inference.Line, n uint64) error {
	if line >= inference.NumLines {
		return fmt.Errorf("%w: %d", ErrLine, line)
	}
	if t.Bound.Total()+n < n || t.Bound[line]+n < n {
		return fmt.Errorf("%w: %d token·blocks more of %s", ErrAmount, n, line)
	}
	t.Open[line] += n
	t.Bound[line] += n
	return nil
}

// Deliver moves up to n token·blocks from Open to Done and returns how many:
// nothing is delivered that was not taken on.
func (t *Tally) Deliver(line inference.Line, n uint64) uint64 {
	n = t.Drop(line, n)
	if n > 0 {
		t.Done[line] += n
	}
	return n
}

// Drop takes up to n token·blocks out of Open and returns how many.
func (t *Tally) Drop(line inference.Line, n uint64) uint64 {
	if line >= inference.NumLines {
		return 0
	}
	n = min(n, t.Open[line])
	t.Open[line] -= n
	return n
}

// Withdraw takes back up to n token·blocks of work that was taken on and never
// sent, and returns how many. They cannot have been delivered: a figure that
// claimed them already is cut.
func (t *Tally) Withdraw(line inference.Line, n uint64) uint64 {
	if line >= inference.NumLines {
		return 0
	}
	n = min(n, t.Bound[line])
	t.Bound[line] -= n
	t.Drop(line, n)
	t.Done[line] = min(t.Done[line], t.Bound[line]-min(t.Open[line], t.Bound[line]))
	return n
}

// Due returns what is delivered and what is under way.
func (t *Tally) Due() inference.Units { return t.Open.Add(t.Done) }

// Advance notes that the node says it has delivered figure while work goes on.
// A figure above what was ordered is refused and changes nothing.
func (t *Tally) Advance(figure inference.Units) error {
	if err := t.within(figure, 0); err != nil {
		return err
	}
	for i, n := range figure {
		if n > t.Done[i] {
			t.Deliver(inference.Line(i), n-t.Done[i])
		}
	}
	return nil
}

// Reopen takes the node's figure as it stands between two epochs, when nothing
// is under way: what was sent before and is not in it failed, was given back at
// the node and can be billed no more. ahead is ordered for the new epoch, none of
// it sent. A figure above what was ordered before that is refused and changes
// nothing.
func (t *Tally) Reopen(figure, ahead inference.Units) error {
	before := *t
	for i, n := range ahead {
		before.Bound[i] -= min(n, before.Bound[i])
	}
	if err := before.within(figure, 0); err != nil {
		return err
	}
	*t = Tally{Open: ahead, Done: figure, Bound: figure.Add(ahead)}
	return nil
}

// Agree ends the count at the node's figure: nothing is under way any more.
// The figure may exceed what is known to be ordered by slack, all lines
// together: what a crash may have kept from being written down. One that
// exceeds it by more is refused and changes nothing.
func (t *Tally) Agree(figure inference.Units, slack uint64) error {
	if err := t.within(figure, slack); err != nil {
		return err
	}
	t.Done, t.Open = figure, inference.Units{}
	for i, n := range figure {
		t.Bound[i] = max(t.Bound[i], n)
	}
	return nil
}

func (t *Tally) within(figure inference.Units, slack uint64) error {
	for i, n := range figure {
		if n <= t.Bound[i] {
			continue
		}
		if n-t.Bound[i] > slack {
			return fmt.Errorf("%d token·blocks of %s, but %d were ordered", n, inference.Line(i), t.Bound[i])
		}
		slack -= n - t.Bound[i]
	}
	return nil
}

// Horizon decides when the next tranche is promised. It counts token·blocks
// over all lines.
//
// Work that is known beforehand, a prompt, is a tranche of its own and begins
// at once. After it tranches have Tranche token·blocks each. When work reaches
// into tranche k, tranche k has started, and k+1 is promised too, so that the
// voucher is there before it is needed.
type Horizon struct {
	Started uint64 // token·blocks of the tranches that have started
	Tranche uint64 // token·blocks of one: TrancheTokens · blocks of the role
	Limit   uint64 // the most that the session may need; 0: unknown
}

// Reach notes that due token·blocks are ordered, and reports whether a tranche
// began.
func (h *Horizon) Reach(due uint64) (began bool) {
	if due <= h.Started {
		return false
	}
	h.Started = max(due, h.capped(h.Started+h.Tranche))
	return true
}

// Promised returns the token·blocks that a voucher should cover: the started
// tranches and one more, less what the limit makes needless.
func (h *Horizon) Promised() uint64 { return max(h.Started, h.capped(h.Started+h.Tranche)) }

// Withdraw notes that only due token·blocks are ordered after all: tranches
// that lie beyond have not begun. A tranche may begin elsewhere than before, so
// that what is promised for the same orders differs by less than one.
func (h *Horizon) Withdraw(due uint64) {
	if h.Started > due && h.Tranche > 0 {
		h.Started -= (h.Started - due) / h.Tranche * h.Tranche
	}
}

func (h *Horizon) capped(n uint64) uint64 {
	if h.Limit > 0 {
		return min(n, h.Limit)
	}
	return n
}

// Commitment returns the amount that a session may come to before the next
// tranche begins: what is due at the quote, and the rest of the horizon at the
// price of decoding.
func Commitment(q inference.Quote, due inference.Units, h Horizon) (inference.Wei, error) {
	sum, ok := q.Cost(due)
	if total := due.Total(); ok && h.Promised() > total {
		ahead, ok1 := q[inference.LineDecode].Mul(h.Promised() - total)
		all, ok2 := sum.Add(ahead)
		sum, ok = all, ok1 && ok2
	}
	if !ok {
		return inference.Wei{}, fmt.Errorf("%w: cost of %d token·blocks", ErrAmount, due.Total())
	}
	return sum, nil
}
