package wire

import "github.com/farlabs/inference"

// LoadInfo is a node's load as it travels.
type LoadInfo struct {
	Queue     uint32 // rows waiting
	Sessions  uint32 // open
	FreePages uint32 // KV pages
}

// Noun returns l as the root package has it.
func (l LoadInfo) Noun() inference.Load {
	return inference.Load{Queue: int(l.Queue), Sessions: int(l.Sessions), FreePages: int(l.FreePages)}
}

func (l *LoadInfo) append(b []byte) []byte {
	b = putUvarint(b, uint64(l.Queue))
	b = putUvarint(b, uint64(l.Sessions))
	return putUvarint(b, uint64(l.FreePages))
}

func (l *LoadInfo) parse(d *decoder) { l.Queue, l.Sessions, l.FreePages = d.u32(), d.u32(), d.u32() }

// LoadQuery asks a node for its load, outside any session.
type LoadQuery struct{ Nonce uint64 }

// Kind implements Message.
func (*LoadQuery) Kind() Kind { return KindLoadQuery }

// Of implements Message.
func (*LoadQuery) Of() inference.SessionID { return inference.SessionID{} }

func (m *LoadQuery) append(b []byte) []byte { return putUvarint(b, m.Nonce) }
func (m *LoadQuery) parse(d *decoder)       { m.Nonce = d.uvarint() }

// Load answers LoadQuery.
type Load struct {
	Nonce uint64
	Info  LoadInfo
}

// Kind implements Message.
func (*Load) Kind() Kind { return KindLoad }

// Of implements Message.
func (*Load) Of() inference.SessionID { return inference.SessionID{} }

func (m *Load) append(b []byte) []byte { return m.Info.append(putUvarint(b, m.Nonce)) }

func (m *Load) parse(d *decoder) {
	m.Nonce = d.uvarint()
	m.Info.parse(d)
}
