package farnet

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

// peerIDLength is that of an Ed25519 peer id as people read it: base58 of 38
// bytes that all begin alike.
const peerIDLength = 52

// exampleAddr shows the form of a node's address in errors.
var exampleAddr = fmt.Sprintf("/ip4/192.0.2.7/tcp/%d/p2p/12D3KooW… (%d characters from 12D3KooW on), as start_node prints it", DefaultPort, peerIDLength)

// CheckListen reports what is wrong with an address to listen on or to announce.
func CheckListen(addr string) error {
	addrs, err := parseAddr(addr)
	if err != nil {
		return err
	}
	if !reachable(addrs) {
		return fmt.Errorf("address %q: no port is named: want host:port or a multiaddr such as /ip4/0.0.0.0/tcp/%d", addr, DefaultPort)
	}
	return nil
}

// CheckBootstrap reports what is wrong with a node's full address.
func CheckBootstrap(addr string) error {
	info, err := parsePeerAddr(addr)
	if err != nil {
		return err
	}
	if !reachable(info.Addrs) {
		return fmt.Errorf("address %q: no port is named: want one like %s", addr, exampleAddr)
	}
	return nil
}

// reachable reports whether one of addrs names a transport.
func reachable(addrs []ma.Multiaddr) bool {
	for _, a := range addrs {
		for _, p := range []int{ma.P_TCP, ma.P_QUIC_V1, ma.P_CIRCUIT} {
			if _, err := a.ValueForProtocol(p); err == nil {
				return true
			}
		}
	}
	return false
}

// parseAddr reads a multiaddr without a peer id, or host:port, which stands
// for that port on TCP and on QUIC.
func parseAddr(s string) ([]ma.Multiaddr, error) {
	if strings.HasPrefix(s, "/") {
		a, err := ma.NewMultiaddr(s)
		if err != nil {
			return nil, fmt.Errorf("address %q: want host:port or a multiaddr such as /ip4/0.0.0.0/tcp/%d: %s", s, DefaultPort, reason(err))
		}
		if _, err := a.ValueForProtocol(ma.P_P2P); err == nil {
			return nil, fmt.Errorf("address %q: must not name a peer id", s)
		}
		return []ma.Multiaddr{a}, nil
	}
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return nil, fmt.Errorf("address %q: want host:port or a multiaddr such as /ip4/0.0.0.0/tcp/%d", s, DefaultPort)
	}
	host, port := strings.Trim(s[:i], "[]"), s[i+1:]
	if p, err := strconv.ParseUint(port, 10, 16); err != nil || strconv.FormatUint(p, 10) != port {
		return nil, fmt.Errorf("address %q: port %q is not a number from 0 to 65535", s, port)
	}
	if host == "" {
		host = "0.0.0.0"
	}
	kind := "/dns/"
	if host == "localhost" {
		host = "127.0.0.1"
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		kind = "/ip4/"
		if ip.Is6() {
			kind = "/ip6/"
		}
		host = ip.WithZone("").Unmap().String()
	}
	var out []ma.Multiaddr
	for _, t := range []string{"/udp/" + port + "/quic-v1", "/tcp/" + port} {
		a, err := ma.NewMultiaddr(kind + host + t)
		if err != nil {
			return nil, fmt.Errorf("address %q: %q is no name of a host", s, host)
		}
		out = append(out, a)
	}
	return out, nil
}

// parsePeerAddr reads a full multiaddr that ends in /p2p/<peer id>. The id has
// to hold an Ed25519 key, as that of every node does: one that was cut short
// can be a well-formed id of nothing.
func parsePeerAddr(s string) (*peer.AddrInfo, error) {
	at := strings.LastIndex(s, "/p2p/")
	if at < 0 {
		return nil, fmt.Errorf("address %q: no peer id is named: want one like %s", s, exampleAddr)
	}
	id := s[at+len("/p2p/"):]
	if err := checkPeerID(id); err != nil {
		return nil, fmt.Errorf("address %q: %w: want one like %s", s, err, exampleAddr)
	}
	info, err := peer.AddrInfoFromString(s)
	if err != nil {
		return nil, fmt.Errorf("address %q: want one like %s: %s", s, exampleAddr, reason(err))
	}
	return info, nil
}

func checkPeerID(s string) error {
	id, err := peer.Decode(s)
	if err == nil {
		var key crypto.PubKey
		if key, err = id.ExtractPublicKey(); err == nil && key.Type() == crypto.Ed25519 {
			return nil
		}
	}
	switch n := len(s); {
	case n < peerIDLength:
		return fmt.Errorf("the peer id %q is cut short, it has %d characters", s, n)
	case n > peerIDLength:
		return errors.New("the peer id is too long, or followed by something else")
	}
	return fmt.Errorf("the peer id %q is mistyped", s)
}

// reason returns what the multiaddr library has to say about an address
// without the address, which the caller names, and the layers below.
func reason(err error) string {
	text := err.Error()
	if _, rest, ok := strings.Cut(text, "\": "); ok && strings.HasPrefix(text, "failed to parse multiaddr") {
		text = rest
	}
	text, _, _ = strings.Cut(text, ": ")
	return text
}
