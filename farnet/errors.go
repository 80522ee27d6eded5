package farnet

import "errors"

// What callers decide by.
var (
	// ErrIdentityInUse: another running process has the identity file.
	ErrIdentityInUse = errors.New("identity in use")
	// ErrPortInUse: a listen address is taken.
	ErrPortInUse = errors.New("port in use")
	// ErrClosed: the node has been closed.
	ErrClosed = errors.New("node closed")
	// ErrUnknownPeer: no address of the peer is known.
	ErrUnknownPeer = errors.New("no address known for peer")
	// ErrForged: a record is not signed by the peer that it names.
	ErrForged = errors.New("forged record")
	// ErrStale: a record is not newer than the one that is known.
	ErrStale = errors.New("stale record")
	// ErrMalformed: bytes of a peer do not follow the protocol.
	ErrMalformed = errors.New("malformed message")
	// ErrTooLarge: a record, snapshot or message is over its limit.
	ErrTooLarge = errors.New("over its size limit")
)
