package farnet

import (
	"fmt"
	"time"

	"github.com/farlabs/inference"
	ma "github.com/multiformats/go-multiaddr"
)

// learnedFor is how long an address that somebody else told is tried.
const learnedFor = 10 * time.Minute

// Learn keeps addresses of a peer, multiaddrs with or without /p2p, for dials
// of the next minutes. What does not parse is left out: it comes from others.
func (n *Node) Learn(p inference.PeerID, addrs []string) {
	id, err := peerID(p)
	if err != nil || id == n.self {
		return
	}
	var parsed []ma.Multiaddr
	for _, a := range addrs {
		if m, err := ma.NewMultiaddr(a); err == nil {
			parsed = append(parsed, m)
		}
	}
	n.host.Peerstore().AddAddrs(id, parsed, learnedFor)
}

// ParseSwitch reads "auto" (or nothing), "on" or "off".
func ParseSwitch(s string) (Switch, error) {
	switch s {
	case "auto", "":
		return Auto, nil
	case "on":
		return On, nil
	case "off":
		return Off, nil
	}
	return Auto, fmt.Errorf("%q: want on, off or auto", s)
}
