package farnet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"slices"
	"syscall"
	"time"

	"github.com/farlabs/inference"
	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/control"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/net/connmgr"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	ltls "github.com/libp2p/go-libp2p/p2p/security/tls"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

type hostOption = libp2p.Option

// newHost makes a host that listens, or an error that says which port is
// taken. ctx bounds the checks only.
func newHost(ctx context.Context, cfg *Config, id *identity) (host.Host, error) {
	key, err := id.libp2p()
	if err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	listen, err := addrList(cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	announce, err := addrList(cfg.Announce)
	if err != nil {
		return nil, fmt.Errorf("announce: %w", err)
	}
	if cfg.transport == nil {
		if listen, err = freeAddrs(ctx, listen); err != nil {
			return nil, err
		}
	}
	limits, err := newLimits()
	if err != nil {
		return nil, fmt.Errorf("resource limits: %w", err)
	}
	// Far above the sessions that one machine serves: trimming is for crawlers.
	// Peers with open streams are protected besides.
	conns, err := connmgr.NewConnManager(512, 768, connmgr.WithGracePeriod(30*time.Second))
	if err != nil {
		return nil, err
	}
	opts := []libp2p.Option{
		libp2p.Identity(key),
		libp2p.UserAgent(cfg.Agent),
		libp2p.ProtocolVersion("farlabs/1"),
		libp2p.Security(ltls.ID, ltls.New),
		libp2p.Muxer(yamux.ID, yamux.DefaultTransport),
		libp2p.ResourceManager(limits),
		libp2p.ConnectionManager(conns),
		libp2p.WithDialTimeout(cfg.DialTimeout),
		libp2p.SwarmOpts(swarm.WithDialRanker(rankDials)),
		libp2p.DisableMetrics(),
		libp2p.AddrsFactory(func(seen []ma.Multiaddr) []ma.Multiaddr {
			return append(slices.Clone(announce), seen...)
		}),
	}
	if len(listen) == 0 {
		opts = append(opts, libp2p.NoListenAddrs)
	} else {
		opts = append(opts, libp2p.ListenAddrs(listen...))
	}
	switch {
	case cfg.transport != nil:
		opts = append(opts, cfg.transport...)
	case len(listen) == 0:
		// Nobody can dial, also not after a hole was punched.
		opts = append(opts, new(sockets).transports(), libp2p.EnableRelay(), libp2p.DisableIdentifyAddressDiscovery())
	case allLoopback(listen):
		// Nobody outside can dial: nothing to find out about routers.
		opts = append(opts, new(sockets).transports(), libp2p.DisableRelay(), libp2p.DisableIdentifyAddressDiscovery())
	default:
		opts = append(opts, new(sockets).transports(), libp2p.EnableRelay(), libp2p.EnableHolePunching(), libp2p.EnableAutoNATv2())
		if cfg.PortMap != Off {
			opts = append(opts, libp2p.NATPortMap())
		}
	}
	if cfg.Allow != nil {
		opts = append(opts, libp2p.ConnectionGater(gater{cfg.Allow}))
	}
	h, err := libp2p.New(opts...)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	// libp2p is content when one address of several works; a node that its
	// operator cannot reach where he said is not.
	if cfg.transport == nil {
		for _, a := range listen {
			if port(a) != 0 && !slices.ContainsFunc(h.Network().ListenAddresses(), a.Equal) {
				h.Close()
				return nil, fmt.Errorf("listen on %s: failed", a)
			}
		}
	}
	return h, nil
}

func addrList(list []string) ([]ma.Multiaddr, error) {
	var out []ma.Multiaddr
	for _, s := range list {
		a, err := parseAddr(s)
		if err != nil {
			return nil, err
		}
		out = append(out, a...)
	}
	return out, nil
}

// freeAddrs tries each port by itself, since libp2p shares TCP ports with
// other processes without a word (SO_REUSEPORT). Addresses of a family that
// this machine lacks are left out.
func freeAddrs(ctx context.Context, addrs []ma.Multiaddr) ([]ma.Multiaddr, error) {
	var out []ma.Multiaddr
	for _, a := range addrs {
		family, host := "4", ""
		if h, err := a.ValueForProtocol(ma.P_IP4); err == nil {
			host = h
		} else if h, err := a.ValueForProtocol(ma.P_IP6); err == nil {
			family, host = "6", h
		} else {
			out = append(out, a) // a name; libp2p says what it thinks of it
			continue
		}
		var err error
		var lc net.ListenConfig
		kind := "tcp"
		if p, e := a.ValueForProtocol(ma.P_UDP); e == nil {
			kind = "udp"
			var c net.PacketConn
			if c, err = lc.ListenPacket(ctx, "udp"+family, net.JoinHostPort(host, p)); err == nil {
				c.Close()
			}
		} else if p, e := a.ValueForProtocol(ma.P_TCP); e == nil {
			var l net.Listener
			if l, err = lc.Listen(ctx, "tcp"+family, net.JoinHostPort(host, p)); err == nil {
				l.Close()
			}
		}
		switch {
		case err == nil:
			out = append(out, a)
		case inUse(err):
			return nil, fmt.Errorf("%w: %s port %d on %s is taken, perhaps by another node; stop that program, or listen elsewhere, for example on %s",
				ErrPortInUse, kind, port(a), host, net.JoinHostPort(host, fmt.Sprint(port(a)+1)))
		case family == "6" && net.ParseIP(host).IsUnspecified():
			// No IPv6 here: the default addresses must work all the same.
		default:
			return nil, fmt.Errorf("listen on %s: %w", a, err)
		}
	}
	if len(out) == 0 && len(addrs) > 0 {
		return nil, errors.New("listen: this machine has none of the addresses")
	}
	return out, nil
}

func inUse(err error) bool {
	var no syscall.Errno
	return errors.Is(err, syscall.EADDRINUSE) ||
		runtime.GOOS == "windows" && errors.As(err, &no) && no == 10048 // WSAEADDRINUSE
}

// port returns the TCP or UDP port of a, 0 for any.
func port(a ma.Multiaddr) int {
	for _, p := range []int{ma.P_TCP, ma.P_UDP} {
		if s, err := a.ValueForProtocol(p); err == nil {
			n := 0
			fmt.Sscan(s, &n)
			return n
		}
	}
	return 0
}

func allLoopback(addrs []ma.Multiaddr) bool {
	for _, a := range addrs {
		if !manet.IsIPLoopback(a) {
			return false
		}
	}
	return true
}

// rankDials orders the addresses of one peer: on the same machine or local
// network TCP comes first, which there costs a quarter of what QUIC costs;
// across the internet QUIC does, which needs fewer round trips and gets
// through more routers. Direct addresses come before relays.
func rankDials(addrs []ma.Multiaddr) []network.AddrDelay {
	var near, far, relay []ma.Multiaddr
	for _, a := range sortAddrs(addrs) {
		switch nearness(a) {
		case byRelay:
			relay = append(relay, a)
		case everywhere:
			far = append(far, a)
		default:
			near = append(near, a)
		}
	}
	var out []network.AddrDelay
	var delay time.Duration
	for _, tcp := range []bool{true, false} {
		for _, a := range near {
			if isTCP(a) == tcp {
				out = append(out, network.AddrDelay{Addr: a, Delay: delay})
				delay += 10 * time.Millisecond
			}
		}
		if delay > 0 {
			delay += 50 * time.Millisecond
		}
	}
	out = append(out, swarm.DefaultDialRanker(far)...)
	var wait time.Duration
	if len(out) > 0 {
		wait = swarm.RelayDelay
	}
	for _, d := range swarm.DefaultDialRanker(relay) {
		out = append(out, network.AddrDelay{Addr: d.Addr, Delay: d.Delay + wait})
	}
	slices.SortStableFunc(out, func(a, b network.AddrDelay) int { return int(a.Delay - b.Delay) })
	return out
}

// gater asks Config.Allow about every peer, as soon as its id is proven.
type gater struct{ allow func(inference.PeerID) bool }

func (g gater) allowed(p peer.ID) bool { return g.allow(inference.PeerID(p.String())) }

func (g gater) InterceptPeerDial(p peer.ID) bool                                { return g.allowed(p) }
func (g gater) InterceptAddrDial(peer.ID, ma.Multiaddr) bool                    { return true }
func (g gater) InterceptAccept(network.ConnMultiaddrs) bool                     { return true }
func (g gater) InterceptUpgraded(network.Conn) (bool, control.DisconnectReason) { return true, 0 }
func (g gater) InterceptSecured(_ network.Direction, p peer.ID, _ network.ConnMultiaddrs) bool {
	return g.allowed(p)
}
