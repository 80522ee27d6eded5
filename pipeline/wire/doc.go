// Package wire holds the messages that a client and the stages of its pipeline
// speak, and their encoding. It opens no stream and keeps no session.
//
// A [Frame] is one [Message] and, for [Step] and [Output], the raw rows of a
// tensor. On a stream it is laid out as
//
//	uvarint  bytes that follow
//	uvarint  bytes of the header
//	header   1 byte kind, then the message's fields in their order
//	payload  raw little-endian tensor rows, nothing else
//
// Integers are uvarints unless a field says otherwise; strings and lists are a
// uvarint count and their elements; digests, capabilities, addresses and
// session ids are their raw bytes. A message may grow at its end: a reader
// ignores header bytes it does not know. The limits of this file hold for
// every peer; [Reader] refuses what exceeds them before it allocates.
//
// Every message, field and rule is described in docs/protocol.md.
package wire

import "time"

// Version is the protocol version in Open, and in the stream protocol ids.
const Version = 1

// Protocol ids of the three streams that an ordered pair of peers shares.
const (
	ProtocolControl = "/farlabs/hop/1/control"
	ProtocolDecode  = "/farlabs/hop/1/decode"
	ProtocolBulk    = "/farlabs/hop/1/bulk"
)

// Channel says which of a pair's streams a frame takes.
type Channel uint8

// The channels. Control carries messages without payload, Decode steps of few
// rows, Bulk the rest, so that a long prompt never stands before a token.
const (
	Control Channel = iota
	Decode
	Bulk
	NumChannels
)

// Protocol returns the stream protocol id of c.
func (c Channel) Protocol() string {
	return [NumChannels]string{ProtocolControl, ProtocolDecode, ProtocolBulk}[c]
}

// Limits that every receiver enforces.
const (
	MaxHeader   = 64 << 10 // bytes of a frame's header
	MaxPayload  = 64 << 20 // bytes of a frame's payload
	MaxRows     = 256      // row groups of a step
	MaxStepRows = 8192     // positions of a step, all row groups together
	MaxHops     = 128      // hops of a route
	MaxBranches = 1024     // branches of a session
	MaxString   = 1024     // bytes of any string
	MaxAddrs    = 32       // addresses of a peer
	MaxPrefix   = 1024     // prefix keys of an Open
	BulkBytes   = 32 << 10 // payloads above this take the bulk stream
)

// EdgeTimeout is how long a stage tries to reach its next hop before the edge
// runs through the client.
const EdgeTimeout = 2 * time.Second
