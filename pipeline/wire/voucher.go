package wire

import "github.com/farlabs/inference"

// Voucher pays for a session: the voucher of tranche k+1 is sent when tranche
// k starts. The stage answers with a Receipt.
type Voucher struct {
	Session inference.SessionID
	Voucher inference.Voucher
}

// Kind implements Message.
func (*Voucher) Kind() Kind { return KindVoucher }

// Of implements Message.
func (m *Voucher) Of() inference.SessionID { return m.Session }

func (m *Voucher) append(b []byte) []byte {
	return appendVoucher(append(b, m.Session[:]...), &m.Voucher)
}

func (m *Voucher) parse(d *decoder) {
	d.fixed(m.Session[:])
	if v := parseVoucher(d); v != nil {
		m.Voucher = *v
	}
}

func appendVoucher(b []byte, v *inference.Voucher) []byte {
	b = append(b, v.Payer[:]...)
	b = append(b, v.Node[:]...)
	b = putUvarint(b, v.Series)
	b = putWei(b, v.Cumulative)
	return append(b, v.Signature[:]...)
}

func parseVoucher(d *decoder) *inference.Voucher {
	v := new(inference.Voucher)
	d.fixed(v.Payer[:])
	d.fixed(v.Node[:])
	v.Series = d.uvarint()
	v.Cumulative = d.wei()
	d.fixed(v.Signature[:])
	return v
}

// Receipt is a stage's signed statement of account: after each voucher, and
// when the session ends.
type Receipt struct{ Receipt inference.Receipt }

// Kind implements Message.
func (*Receipt) Kind() Kind { return KindReceipt }

// Of implements Message.
func (m *Receipt) Of() inference.SessionID { return m.Receipt.Session }

func (m *Receipt) append(b []byte) []byte { return appendReceipt(b, &m.Receipt) }

func (m *Receipt) parse(d *decoder) {
	if r := parseReceipt(d); r != nil {
		m.Receipt = *r
	}
}

func appendReceipt(b []byte, r *inference.Receipt) []byte {
	b = append(b, r.Payer[:]...)
	b = append(b, r.Node[:]...)
	b = putUvarint(b, r.Series)
	b = append(b, r.Session[:]...)
	b = putUvarint(b, uint64(r.Epoch))
	b = append(b, r.Digest[:]...)
	b = putBlocks(b, r.Blocks)
	b = putString(b, string(r.Class))
	b = putUnits(b, r.Units)
	b = putWei(b, r.Amount)
	b = putWei(b, r.Cumulative)
	b = append(b, byte(r.Outcome))
	return append(b, r.Signature[:]...)
}

func parseReceipt(d *decoder) *inference.Receipt {
	r := new(inference.Receipt)
	d.fixed(r.Payer[:])
	d.fixed(r.Node[:])
	r.Series = d.uvarint()
	d.fixed(r.Session[:])
	r.Epoch = inference.Epoch(d.u32())
	d.fixed(r.Digest[:])
	r.Blocks = d.blocks()
	r.Class = inference.NumericsClass(d.string())
	r.Units = d.units()
	r.Amount = d.wei()
	r.Cumulative = d.wei()
	r.Outcome = inference.Outcome(d.byte())
	d.fixed(r.Signature[:])
	return r
}
