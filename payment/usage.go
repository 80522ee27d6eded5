package payment

import (
	"cmp"
	"slices"
	"time"

	"github.com/farlabs/inference"
)

// maxRows bounds the rows of a usage report that are kept on disk; beyond it
// the oldest days become one day, "".
const maxRows = 4096

// Usage is what sessions came to: spent, in a purse, or earned, at a meter.
type Usage struct {
	Rows []Row `json:"rows"`
	// Promised is the sum of the highest vouchers, used up or not.
	Promised inference.Wei `json:"promised"`
}

// Row sums the sessions of one day, model and other party.
type Row struct {
	Day       string            `json:"day"`   // UTC, "2006-01-02"; "" is everything older
	Model     inference.ModelID `json:"model"` // label as it was at the time
	Party     inference.Address `json:"party"` // purse: the node's wallet; meter: the payer
	Sessions  uint64            `json:"sessions"`
	Unsettled uint64            `json:"unsettled"` // of them, still open or without a final receipt
	Units     inference.Units   `json:"-"`         // token·blocks
	Lines     map[string]uint64 `json:"token_blocks"`
	Amount    inference.Wei     `json:"amount"`
}

// By sums the rows that agree in key: Usage.By(func(r Row) Row { return
// Row{Model: r.Model} }) is one row per model. The result is sorted by day,
// model, party.
func (u Usage) By(key func(Row) Row) []Row {
	var l rows
	for _, r := range u.Rows {
		k := key(r)
		l.add(rowKey{k.Day, k.Model, k.Party}, r)
	}
	return l.list()
}

// Total sums all rows.
func (u Usage) Total() Row {
	sum := u.By(func(Row) Row { return Row{} })
	if len(sum) == 0 {
		return Row{}
	}
	return sum[0]
}

type rowKey struct {
	day   string
	model inference.ModelID
	party inference.Address
}

func dayOf(unix uint64) string { return time.Unix(int64(unix), 0).UTC().Format(time.DateOnly) }

// rows sums usage by key. Sums that would overflow stay at their largest value.
type rows map[rowKey]Row

func (l *rows) add(k rowKey, r Row) {
	if *l == nil {
		*l = rows{}
	}
	sum := (*l)[k]
	sum.Sessions += r.Sessions
	sum.Unsettled += r.Unsettled
	sum.Units = sum.Units.Add(r.Units)
	var ok bool
	if sum.Amount, ok = sum.Amount.Add(r.Amount); !ok {
		sum.Amount = inference.Wei{Hi: ^uint64(0), Lo: ^uint64(0)}
	}
	(*l)[k] = sum
}

// fold keeps l within limit rows by merging days, the oldest first, then
// parties.
func (l rows) fold(limit int) {
	for len(l) > limit {
		oldest := ""
		for k := range l {
			if k.day != "" && (oldest == "" || k.day < oldest) {
				oldest = k.day
			}
		}
		before := len(l)
		for k, r := range l {
			if k.day != oldest {
				continue
			}
			to := rowKey{model: k.model, party: k.party}
			if oldest == "" {
				to = rowKey{} // no day is left to merge: forget who and what
			}
			if k != to {
				delete(l, k)
				l.add(to, r)
			}
		}
		if oldest == "" && len(l) == before {
			return
		}
	}
}

func (l rows) clone() rows {
	c := make(rows, len(l))
	for k, r := range l {
		c[k] = r
	}
	return c
}

func (l rows) list() []Row {
	out := make([]Row, 0, len(l))
	for k, r := range l {
		r.Day, r.Model, r.Party = k.day, k.model, k.party
		r.Lines = make(map[string]uint64, len(r.Units))
		for i, n := range r.Units {
			r.Lines[inference.Line(i).String()] = n
		}
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b Row) int {
		return cmp.Or(cmp.Compare(a.Day, b.Day), cmp.Compare(a.Model, b.Model), slices.Compare(a.Party[:], b.Party[:]))
	})
	return out
}

func (e *encoder) row(k rowKey, r Row) {
	e.u8(recordRow)
	e.text(k.day)
	e.text(string(k.model))
	e.raw(k.party[:])
	e.u64(r.Sessions)
	e.units(r.Units)
	e.wei(r.Amount)
}

func (d *decoder) row() (k rowKey, r Row) {
	k.day = d.text()
	k.model = inference.ModelID(d.text())
	d.fixed(k.party[:])
	r.Sessions = d.u64()
	r.Units = d.units()
	r.Amount = d.wei()
	return k, r
}
