package wire

import "github.com/farlabs/inference"

// The messages of this file are part of version 1 and are encoded, but no
// stage serves them yet: each is answered with CodeUnsupported.

// Replay asks a stage to send again, under a new epoch, the activations it
// kept: positions [From, To) of a branch, of which those below EmitFrom only
// fill KV at the next hop.
type Replay struct {
	Session  inference.SessionID
	Epoch    inference.Epoch
	Branch   uint32
	From, To uint32
	EmitFrom uint32
}

// Kind implements Message.
func (*Replay) Kind() Kind { return KindReplay }

// Of implements Message.
func (m *Replay) Of() inference.SessionID { return m.Session }

func (m *Replay) append(b []byte) []byte {
	b = append(b, m.Session[:]...)
	for _, v := range [...]uint32{uint32(m.Epoch), m.Branch, m.From, m.To, m.EmitFrom} {
		b = putUvarint(b, uint64(v))
	}
	return b
}

func (m *Replay) parse(d *decoder) {
	d.fixed(m.Session[:])
	m.Epoch = inference.Epoch(d.u32())
	m.Branch, m.From, m.To, m.EmitFrom = d.u32(), d.u32(), d.u32(), d.u32()
}

// Resume takes up a session whose client was away.
type Resume struct {
	Session inference.SessionID
	Epoch   inference.Epoch
}

// Kind implements Message.
func (*Resume) Kind() Kind { return KindResume }

// Of implements Message.
func (m *Resume) Of() inference.SessionID { return m.Session }

func (m *Resume) append(b []byte) []byte {
	return putUvarint(append(b, m.Session[:]...), uint64(m.Epoch))
}

func (m *Resume) parse(d *decoder) {
	d.fixed(m.Session[:])
	m.Epoch = inference.Epoch(d.u32())
}

// Attach delivers a side input, such as image states, to the stages that need
// it; the payload is the tensor [Rows, Cols] in the session's wire dtype.
type Attach struct {
	Session inference.SessionID
	Epoch   inference.Epoch
	Name    string // kind of input
	Rows    uint32
	Cols    uint32
}

// Kind implements Message.
func (*Attach) Kind() Kind { return KindAttach }

// Of implements Message.
func (m *Attach) Of() inference.SessionID { return m.Session }

func (m *Attach) append(b []byte) []byte {
	b = append(b, m.Session[:]...)
	b = putUvarint(b, uint64(m.Epoch))
	b = putString(b, m.Name)
	return putUvarint(putUvarint(b, uint64(m.Rows)), uint64(m.Cols))
}

func (m *Attach) parse(d *decoder) {
	d.fixed(m.Session[:])
	m.Epoch = inference.Epoch(d.u32())
	m.Name = d.string()
	m.Rows, m.Cols = d.u32(), d.u32()
}

// Sampling tells a stage that holds the head how to choose tokens by itself.
type Sampling struct {
	Session     inference.SessionID
	Branch      uint32
	Temperature float32
	TopK        uint32
	TopP, MinP  float32
	Repetition  float32
	Presence    float32
	Frequency   float32
	Seed        uint64
	RunAhead    uint32 // tokens it may produce without hearing from the client
	Stop        []inference.TokenID
	Mask        []byte // bit i: token i allowed; empty: all
}

// Kind implements Message.
func (*Sampling) Kind() Kind { return KindSampling }

// Of implements Message.
func (m *Sampling) Of() inference.SessionID { return m.Session }

func (m *Sampling) append(b []byte) []byte {
	b = append(b, m.Session[:]...)
	b = putUvarint(b, uint64(m.Branch))
	b = putFloat(b, m.Temperature)
	b = putUvarint(b, uint64(m.TopK))
	for _, f := range [...]float32{m.TopP, m.MinP, m.Repetition, m.Presence, m.Frequency} {
		b = putFloat(b, f)
	}
	b = putUvarint(b, m.Seed)
	b = putUvarint(b, uint64(m.RunAhead))
	b = putUvarint(b, uint64(len(m.Stop)))
	for _, id := range m.Stop {
		b = putUvarint(b, uint64(uint32(id)))
	}
	return append(putUvarint(b, uint64(len(m.Mask))), m.Mask...)
}

func (m *Sampling) parse(d *decoder) {
	d.fixed(m.Session[:])
	m.Branch = d.u32()
	m.Temperature = d.float()
	m.TopK = d.u32()
	m.TopP, m.MinP = d.float(), d.float()
	m.Repetition, m.Presence, m.Frequency = d.float(), d.float(), d.float()
	m.Seed = d.uvarint()
	m.RunAhead = d.u32()
	if n := d.count(1024, 1, "stop ids"); n > 0 {
		m.Stop = make([]inference.TokenID, n)
		for i := range m.Stop {
			m.Stop[i] = inference.TokenID(d.u32())
		}
	}
	if n := d.count(MaxHeader, 1, "mask"); n > 0 {
		m.Mask = append([]byte(nil), d.raw(n)...)
	}
}
