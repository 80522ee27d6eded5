package farnet

import (
	"context"
	"slices"
	"strings"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/discovery/mdns"
	"github.com/libp2p/zeroconf/v2"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// mdnsService is the DNS-SD service of FarNet nodes.
const mdnsService = "_farlabs._udp"

// mdnsWanted decides Config.MDNS.
func (n *Node) mdnsWanted() bool {
	switch {
	case n.cfg.MDNS != Auto:
		return n.cfg.MDNS == On
	case n.cfg.transport != nil:
		return false
	case len(n.cfg.Listen) > 0:
		listen, err := addrList(n.cfg.Listen)
		return err == nil && !allLoopback(listen)
	}
	// A client that is told of nodes on this machine only needs no others.
	far := func(i peer.AddrInfo) bool {
		return slices.ContainsFunc(i.Addrs, func(a ma.Multiaddr) bool { return !manet.IsIPLoopback(a) })
	}
	return len(n.joining.boot) == 0 || slices.ContainsFunc(n.joining.boot, far)
}

// startMDNS finds, and where it listens advertises to, peers on the local
// network. Machines without a multicast interface do without.
func (n *Node) startMDNS() {
	if !n.mdnsWanted() {
		return
	}
	if len(n.cfg.Listen) == 0 {
		n.goRun(n.browse)
		return
	}
	s := mdns.NewMdnsService(n.host, mdnsService, mdnsFound{n})
	if err := s.Start(); err != nil {
		n.log.Warn("no discovery on the local network", "err", err)
		return
	}
	n.goRun(func(ctx context.Context) {
		<-ctx.Done()
		_ = s.Close()
	})
}

// mdnsFound is told of each peer that answers on the local network.
type mdnsFound struct{ n *Node }

func (f mdnsFound) HandlePeerFound(info peer.AddrInfo) {
	f.n.goRun(func(ctx context.Context) { f.n.joining.dial(ctx, []peer.AddrInfo{info}) })
}

// browse listens for nodes without advertising anything: a client has no
// address to advertise.
func (n *Node) browse(ctx context.Context) {
	entries := make(chan *zeroconf.ServiceEntry, 64)
	over := make(chan struct{})
	defer close(over)
	n.goRun(func(ctx context.Context) {
		for {
			select {
			case <-over:
				return
			case e, ok := <-entries:
				if !ok {
					return
				}
				n.joining.dial(ctx, textAddrs(e.Text))
			}
		}
	})
	if err := zeroconf.Browse(ctx, mdnsService, "local", entries); err != nil && ctx.Err() == nil {
		n.log.Warn("no discovery on the local network", "err", err)
	}
}

// textAddrs reads the addresses that libp2p puts into TXT records.
func textAddrs(txt []string) []peer.AddrInfo {
	var infos []peer.AddrInfo
	for _, t := range txt[:min(len(txt), 32)] {
		if s, ok := strings.CutPrefix(t, "dnsaddr="); ok {
			if info, err := parsePeerAddr(s); err == nil {
				infos = append(infos, *info)
			}
		}
	}
	return infos
}
