package wire

import "github.com/farlabs/inference"

// Progress tells the client how far a hop is: the highest Seq that it has
// received, started and sent on. It comes at most every 20 ms per session, at
// once when a step exceeds its deadline, and in answer to a Probe.
type Progress struct {
	Session  inference.SessionID
	Epoch    inference.Epoch
	Hop      uint8
	Received uint64
	Started  uint64
	Sent     uint64
	Nonce    uint64 // of the Probe; 0: unasked
	Load     LoadInfo
}

// Kind implements Message.
func (*Progress) Kind() Kind { return KindProgress }

// Of implements Message.
func (m *Progress) Of() inference.SessionID { return m.Session }

func (m *Progress) append(b []byte) []byte {
	b = append(b, m.Session[:]...)
	b = putUvarint(b, uint64(m.Epoch))
	b = append(b, m.Hop)
	b = putUvarint(b, m.Received)
	b = putUvarint(b, m.Started)
	b = putUvarint(b, m.Sent)
	b = putUvarint(b, m.Nonce)
	return m.Load.append(b)
}

func (m *Progress) parse(d *decoder) {
	d.fixed(m.Session[:])
	m.Epoch = inference.Epoch(d.u32())
	m.Hop = d.byte()
	m.Received = d.uvarint()
	m.Started = d.uvarint()
	m.Sent = d.uvarint()
	m.Nonce = d.uvarint()
	m.Load.parse(d)
}

// Probe asks a hop for its Progress at once.
type Probe struct {
	Session inference.SessionID
	Nonce   uint64
}

// Kind implements Message.
func (*Probe) Kind() Kind { return KindProbe }

// Of implements Message.
func (m *Probe) Of() inference.SessionID { return m.Session }

func (m *Probe) append(b []byte) []byte {
	return putUvarint(append(b, m.Session[:]...), m.Nonce)
}

func (m *Probe) parse(d *decoder) {
	d.fixed(m.Session[:])
	m.Nonce = d.uvarint()
}

// Credit returns bytes of the window to whoever sends steps: the previous hop,
// or the client; and to the last hop for outputs.
type Credit struct {
	Session inference.SessionID
	Epoch   inference.Epoch
	Hop     uint8 // whose window: the receiver of the steps
	Bytes   uint64
}

// Kind implements Message.
func (*Credit) Kind() Kind { return KindCredit }

// Of implements Message.
func (m *Credit) Of() inference.SessionID { return m.Session }

func (m *Credit) append(b []byte) []byte {
	b = append(b, m.Session[:]...)
	b = putUvarint(b, uint64(m.Epoch))
	b = append(b, m.Hop)
	return putUvarint(b, m.Bytes)
}

func (m *Credit) parse(d *decoder) {
	d.fixed(m.Session[:])
	m.Epoch = inference.Epoch(d.u32())
	m.Hop = d.byte()
	m.Bytes = d.uvarint()
}
