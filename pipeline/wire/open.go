package wire

import "github.com/farlabs/inference"

// Mode is what a session does.
type Mode uint8

// The modes. Encode and Train are reserved: answered CodeUnsupported.
const (
	ModeDecode Mode = 1
	ModeEncode Mode = 2
	ModeTrain  Mode = 3
)

// Features is a set of optional abilities. The client offers those it wants,
// Opened returns those that will be used.
type Features uint64

// The features of version 1.
const (
	FeatureIDs        Features = 1 << iota // hop 1 takes token ids and embeds them
	FeatureReplay                          // stages keep activations: Replay
	FeatureResume                          // stages keep sessions of lost clients: Resume
	FeaturePrefix                          // prefix keys are looked up
	FeatureAttach                          // side inputs
	FeatureAdapter                         // LoRA adapters
	FeatureInt8                            // wire dtype int8
	FeatureRemoteHead                      // roles with head or sample
)

// Role is the part of the model that a stage computes for a session.
type Role struct {
	Embed  bool // reserved
	Blocks inference.BlockRange
	Head   bool // reserved
	Sample bool // reserved
}

// Capability is a secret that the client gives to both ends of an edge, new in
// every epoch: a step without it is refused.
type Capability [16]byte

// Limits of a session, reserved or checked by the stage at Open.
type Limits struct {
	Positions uint32 // of one branch
	Branches  uint32 // alive at once
	Window    uint32 // bytes of payload that the sender of steps may have unacknowledged
}

// Open starts a session at a stage or, with a higher epoch, moves it to a new
// route; the stage keeps its KV in that case when Keep says so.
type Open struct {
	Version  uint64
	Features Features
	Session  inference.SessionID
	Epoch    inference.Epoch
	Mode     Mode
	Digest   inference.Digest
	Class    inference.NumericsClass
	Wire     inference.WireDType
	Role     Role
	Hop      uint8 // index of the receiver in the route, from 0
	Hops     uint8 // length of the route
	// Prev is the peer that sends steps; "" is the client itself. Steps that
	// bear In are taken from Prev and from the client, from nobody else.
	Prev inference.PeerID
	In   Capability
	// Next receives the steps; "" is the client, which gets Outputs.
	Next      inference.PeerID
	NextAddrs []string
	Out       Capability
	// Relay says that the edge to Next runs through the client from the start.
	Relay    bool
	Keep     bool // with a higher epoch: the branches stay; else they are dropped
	Limits   Limits
	Deadline uint64 // Unix milliseconds; the session ends then at the latest
	Prefix   []inference.Digest
	Adapter  inference.Digest // zero: none
	Quote    inference.Quote  // what the client agreed to pay
	Voucher  *inference.Voucher
}

// Kind implements Message.
func (*Open) Kind() Kind { return KindOpen }

// Of implements Message.
func (m *Open) Of() inference.SessionID { return m.Session }

func (m *Open) append(b []byte) []byte {
	b = putUvarint(b, m.Version)
	b = putUvarint(b, uint64(m.Features))
	b = append(b, m.Session[:]...)
	b = putUvarint(b, uint64(m.Epoch))
	b = append(b, byte(m.Mode))
	b = append(b, m.Digest[:]...)
	b = putString(b, string(m.Class))
	b = append(b, byte(m.Wire))
	b = putBool(b, m.Role.Embed)
	b = putBlocks(b, m.Role.Blocks)
	b = putBool(b, m.Role.Head)
	b = putBool(b, m.Role.Sample)
	b = append(b, m.Hop, m.Hops)
	b = putString(b, string(m.Prev))
	b = append(b, m.In[:]...)
	b = putString(b, string(m.Next))
	b = putStrings(b, m.NextAddrs)
	b = append(b, m.Out[:]...)
	b = putBool(b, m.Relay)
	b = putBool(b, m.Keep)
	b = putUvarint(b, uint64(m.Limits.Positions))
	b = putUvarint(b, uint64(m.Limits.Branches))
	b = putUvarint(b, uint64(m.Limits.Window))
	b = putUvarint(b, m.Deadline)
	b = putUvarint(b, uint64(len(m.Prefix)))
	for _, k := range m.Prefix {
		b = append(b, k[:]...)
	}
	b = append(b, m.Adapter[:]...)
	for _, w := range m.Quote {
		b = putWei(b, w)
	}
	b = putBool(b, m.Voucher != nil)
	if m.Voucher != nil {
		b = appendVoucher(b, m.Voucher)
	}
	return b
}

func (m *Open) parse(d *decoder) {
	m.Version = d.uvarint()
	m.Features = Features(d.uvarint())
	d.fixed(m.Session[:])
	m.Epoch = inference.Epoch(d.u32())
	m.Mode = Mode(d.byte())
	d.fixed(m.Digest[:])
	m.Class = inference.NumericsClass(d.string())
	m.Wire = inference.WireDType(d.byte())
	m.Role.Embed = d.bool()
	m.Role.Blocks = d.blocks()
	m.Role.Head = d.bool()
	m.Role.Sample = d.bool()
	m.Hop, m.Hops = d.byte(), d.byte()
	if m.Hops > MaxHops || m.Hop >= m.Hops {
		d.fail("hop %d of %d", m.Hop, m.Hops)
	}
	m.Prev = inference.PeerID(d.string())
	d.fixed(m.In[:])
	m.Next = inference.PeerID(d.string())
	m.NextAddrs = d.strings(MaxAddrs, "addresses")
	d.fixed(m.Out[:])
	m.Relay = d.bool()
	m.Keep = d.bool()
	m.Limits.Positions = d.u32()
	m.Limits.Branches = uint32(d.upTo(MaxBranches, "branches"))
	m.Limits.Window = d.u32()
	m.Deadline = d.uvarint()
	if n := d.count(MaxPrefix, 32, "prefix keys"); n > 0 {
		m.Prefix = make([]inference.Digest, n)
		for i := range m.Prefix {
			d.fixed(m.Prefix[i][:])
		}
	}
	d.fixed(m.Adapter[:])
	for i := range m.Quote {
		m.Quote[i] = d.wei()
	}
	if d.bool() {
		m.Voucher = parseVoucher(d)
	}
}

// Opened answers Open.
type Opened struct {
	Session  inference.SessionID
	Epoch    inference.Epoch
	Hop      uint8
	Features Features // will be used
	Window   uint32   // bytes of payload reserved for the sender of steps
	Direct   bool     // the edge to Next is up; false: steps to it go through the client
	Held     uint32   // pages found by prefix keys
	Branches []BranchLength
	Load     LoadInfo
	Receipt  *inference.Receipt // the last one of (payer, series), for reconciliation
}

// BranchLength tells how many positions of a branch a stage holds.
type BranchLength struct{ Branch, Length uint32 }

// Kind implements Message.
func (*Opened) Kind() Kind { return KindOpened }

// Of implements Message.
func (m *Opened) Of() inference.SessionID { return m.Session }

func (m *Opened) append(b []byte) []byte {
	b = append(b, m.Session[:]...)
	b = putUvarint(b, uint64(m.Epoch))
	b = append(b, m.Hop)
	b = putUvarint(b, uint64(m.Features))
	b = putUvarint(b, uint64(m.Window))
	b = putBool(b, m.Direct)
	b = putUvarint(b, uint64(m.Held))
	b = putUvarint(b, uint64(len(m.Branches)))
	for _, l := range m.Branches {
		b = putUvarint(putUvarint(b, uint64(l.Branch)), uint64(l.Length))
	}
	b = m.Load.append(b)
	b = putBool(b, m.Receipt != nil)
	if m.Receipt != nil {
		b = appendReceipt(b, m.Receipt)
	}
	return b
}

func (m *Opened) parse(d *decoder) {
	d.fixed(m.Session[:])
	m.Epoch = inference.Epoch(d.u32())
	m.Hop = d.byte()
	m.Features = Features(d.uvarint())
	m.Window = d.u32()
	m.Direct = d.bool()
	m.Held = d.u32()
	if n := d.count(MaxBranches, 2, "branches"); n > 0 {
		m.Branches = make([]BranchLength, n)
		for i := range m.Branches {
			m.Branches[i] = BranchLength{d.u32(), d.u32()}
		}
	}
	m.Load.parse(d)
	if d.bool() {
		m.Receipt = parseReceipt(d)
	}
}
