package gateway

import (
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
)

// ListenNames returns the names under which a server that listens on addr,
// "host:port" as net.Listen takes it, is reached besides its addresses: the
// machine's where others can reach it, and the one in addr. They belong into
// Config.Hosts.
func ListenNames(addr string) []string {
	host, _, err := net.SplitHostPort(addr)
	if err != nil || isLoopback(host) {
		return nil
	}
	var names []string
	if name, err := os.Hostname(); err == nil && checkHost(name) == nil {
		names = append(names, name)
		if !strings.Contains(name, ".") {
			names = append(names, name+".local") // by multicast DNS
		}
	}
	if _, err := netip.ParseAddr(host); err != nil && host != "" {
		names = append(names, host)
	}
	return names
}

// URL returns where a listener on addr is reached: by the address of this
// machine that others use where it listens on all of them.
func URL(addr net.Addr) string {
	at, err := netip.ParseAddrPort(addr.String())
	if err != nil {
		return "http://" + addr.String()
	}
	ip := at.Addr().Unmap()
	if ip.IsUnspecified() {
		addrs, _ := net.InterfaceAddrs() // none: loopback
		ip = outward(addrs)
	}
	return "http://" + netip.AddrPortFrom(ip, at.Port()).String()
}

// outward picks, of the addresses of a machine, the one that others most
// probably reach: IPv4 before IPv6; loopback if there is no other.
func outward(addrs []net.Addr) netip.Addr {
	best := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	var ips []netip.Addr
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().IsGlobalUnicast() {
			ips = append(ips, p.Addr().Unmap())
		}
	}
	if i := slices.IndexFunc(ips, netip.Addr.Is4); i >= 0 {
		return ips[i]
	}
	if len(ips) > 0 {
		return ips[0]
	}
	return best
}
