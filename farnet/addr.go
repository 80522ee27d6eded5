package farnet

import (
	"cmp"
	"slices"

	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// How far away an address can be used from.
const (
	everywhere = iota
	byRelay
	localNetwork
	hereOnly
)

func nearness(a ma.Multiaddr) int {
	if _, err := a.ValueForProtocol(ma.P_CIRCUIT); err == nil {
		return byRelay
	}
	switch {
	case manet.IsIPLoopback(a):
		return hereOnly
	case manet.IsPrivateAddr(a):
		return localNetwork
	}
	return everywhere
}

func isTCP(a ma.Multiaddr) bool {
	_, err := a.ValueForProtocol(ma.P_TCP)
	return err == nil
}

// sortAddrs orders a copy of addrs: those first that can be used from farthest
// away, among equals the transport that is dialled first there.
func sortAddrs(addrs []ma.Multiaddr) []ma.Multiaddr {
	out := slices.Clone(addrs)
	key := func(a ma.Multiaddr) int {
		k := 2 * nearness(a)
		if isTCP(a) != (k >= 2*localNetwork) {
			k++
		}
		return k
	}
	slices.SortStableFunc(out, func(a, b ma.Multiaddr) int { return cmp.Compare(key(a), key(b)) })
	return out
}
