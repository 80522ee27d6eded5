package farnet

import (
	"net/netip"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/network"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/libp2p/go-libp2p/x/rate"
)

// newLimits returns libp2p's resource manager with room for a thousand
// sessions. Its defaults stop at about 250 incoming connections, 76 streams
// of a peer, 8 connections of one address and 16 MiB of buffers of a peer,
// each of which a busy node or a cluster behind one router exceeds.
func newLimits() (network.ResourceManager, error) {
	l := rcmgr.DefaultLimits
	libp2p.SetDefaultServiceLimits(&l)
	l.SystemBaseLimit.ConnsInbound, l.SystemBaseLimit.Conns = 4096, 8192
	l.SystemBaseLimit.StreamsInbound, l.SystemBaseLimit.Streams = 16384, 32768
	l.SystemBaseLimit.Memory = 4 << 30
	l.TransientBaseLimit.ConnsInbound, l.TransientBaseLimit.Conns = 512, 1024
	l.TransientBaseLimit.StreamsInbound, l.TransientBaseLimit.Streams = 1024, 2048
	l.ProtocolBaseLimit.StreamsInbound, l.ProtocolBaseLimit.Streams = 8192, 16384
	l.ProtocolBaseLimit.Memory = 2 << 30
	l.ProtocolPeerBaseLimit.StreamsInbound, l.ProtocolPeerBaseLimit.Streams = 512, 1024
	l.ProtocolPeerBaseLimit.Memory = 256 << 20
	l.PeerBaseLimit.StreamsInbound, l.PeerBaseLimit.Streams = 1024, 2048
	l.PeerBaseLimit.Memory = 512 << 20
	return rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(l.AutoScale()),
		rcmgr.WithLimitPerSubnet(
			[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 32, ConnCount: 1024}},
			[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 56, ConnCount: 1024}, {PrefixLength: 48, ConnCount: 4096}}),
		rcmgr.WithConnRateLimiters(&rate.Limiter{
			SubnetRateLimiter: rate.SubnetLimiter{
				IPv4SubnetLimits: []rate.SubnetLimit{{PrefixLength: 32, Limit: rate.Limit{RPS: 32, Burst: 512}}},
				IPv6SubnetLimits: []rate.SubnetLimit{{PrefixLength: 56, Limit: rate.Limit{RPS: 32, Burst: 512}}},
				GracePeriod:      time.Minute,
			},
			NetworkPrefixLimits: []rate.PrefixLimit{ // the zero limit is none
				{Prefix: netip.MustParsePrefix("127.0.0.0/8")},
				{Prefix: netip.MustParsePrefix("::1/128")},
			},
		}))
}
