package farnet

import (
	"context"
	"net"
	"sync/atomic"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/network"
	quict "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/quicreuse"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	"github.com/quic-go/quic-go"
	"go.uber.org/fx"
)

// sockets opens the UDP sockets of one host, until it is closed. A dial that
// was under way when the host closed would otherwise open another, which
// libp2p then never closes.
type sockets struct{ closed atomic.Bool }

func (s *sockets) close() { s.closed.Store(true) }

func (s *sockets) listen(network string, addr *net.UDPAddr) (net.PacketConn, error) {
	if s.closed.Load() {
		return nil, net.ErrClosed
	}
	return net.ListenUDP(network, addr)
}

// transports returns TCP and QUIC on these sockets. The resource manager is
// asked before a QUIC handshake costs anything, as libp2p does by default.
func (s *sockets) transports() libp2p.Option {
	return libp2p.ChainOptions(
		libp2p.Transport(tcp.NewTCPTransport),
		libp2p.Transport(quict.NewTransport),
		libp2p.QUICReuse(func(l fx.Lifecycle, reset quic.StatelessResetKey, token quic.TokenGeneratorKey, limits network.ResourceManager) (*quicreuse.ConnManager, error) {
			m, err := quicreuse.NewConnManager(reset, token,
				quicreuse.OverrideListenUDP(s.listen),
				quicreuse.VerifySourceAddress(limits.VerifySourceAddress),
				quicreuse.ConnContext(func(ctx context.Context, c *quic.ClientInfo) (context.Context, error) {
					// Without an address the resource manager still counts it.
					addr, err := quicreuse.ToQuicMultiaddr(c.RemoteAddr, quic.Version1)
					if err != nil {
						addr = nil
					}
					scope, err := limits.OpenConnection(network.DirInbound, false, addr)
					if err != nil {
						return ctx, err
					}
					ctx = network.WithConnManagementScope(ctx, scope)
					context.AfterFunc(ctx, scope.Done)
					return ctx, nil
				}))
			if err == nil {
				l.Append(fx.StopHook(func() error {
					s.close()
					return m.Close()
				}))
			}
			return m, err
		}),
	)
}
