package farnet

import (
	"strings"
	"testing"

	ma "github.com/multiformats/go-multiaddr"
)

const relayAddr = "/ip4/203.0.113.9/udp/4744/quic-v1/p2p/12D3KooWDEyBDMj6bLvxVmNCHxXoY5T5JNEfRrxeotVJ4mFwoaMo/p2p-circuit"

func TestAddressesAreSortedByReachThenTransport(t *testing.T) {
	in := []string{
		"/ip4/127.0.0.1/udp/1/quic-v1", "/ip4/127.0.0.1/tcp/1", "/ip4/192.168.1.2/udp/1/quic-v1", relayAddr,
		"/ip4/192.168.1.2/tcp/1", "/ip4/8.8.8.8/tcp/1", "/ip4/8.8.8.8/udp/1/quic-v1",
	}
	want := []string{in[6], in[5], in[3], in[4], in[2], in[1], in[0]}
	var got []string
	for _, a := range sortAddrs(multiaddrs(in)) {
		got = append(got, a.String())
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("%q, want %q", got, want)
	}
}

// Nearby TCP goes first, across the internet QUIC; a relay only when a direct
// dial has had its chance.
func TestDialsGoTCPNearbyAndQUICFar(t *testing.T) {
	order := func(in ...string) (out []string) {
		for _, d := range rankDials(multiaddrs(in)) {
			out = append(out, d.Addr.String())
		}
		return out
	}
	if got := order("/ip4/10.0.0.1/udp/1/quic-v1", "/ip4/10.0.0.1/tcp/1"); !strings.Contains(got[0], "tcp") {
		t.Errorf("local network: %v", got)
	}
	if got := order("/ip4/8.8.8.8/tcp/1", "/ip4/8.8.8.8/udp/1/quic-v1"); !strings.Contains(got[0], "quic") {
		t.Errorf("internet: %v", got)
	}
	if got := order(relayAddr, "/ip4/8.8.8.8/tcp/1"); got[0] == relayAddr {
		t.Errorf("relay: %v", got)
	}
	if d := rankDials([]ma.Multiaddr{ma.StringCast(relayAddr)}); d[0].Delay != 0 {
		t.Errorf("a relay without alternative waits %v", d[0].Delay)
	}
	if d := rankDials(multiaddrs([]string{"/ip4/127.0.0.1/udp/1/quic-v1"})); d[0].Delay != 0 {
		t.Errorf("QUIC without alternative waits %v", d[0].Delay)
	}
}
