// Package transport joins a network node to the links of a pipeline: streams
// that the links ask for are opened through the node, streams that peers open
// are handed to the links. Client and server use it alike.
//
// It owns nothing and knows no message.
package transport

import (
	"context"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/farnet"
	"github.com/farlabs/inference/pipeline/link"
	"github.com/farlabs/inference/pipeline/wire"
)

// Dialer returns the node as the links' dialler.
func Dialer(n *farnet.Node) link.Dialer { return dialer{n} }

type dialer struct{ node *farnet.Node }

func (d dialer) OpenStream(ctx context.Context, peer inference.PeerID, protocol string) (link.Stream, error) {
	return d.node.OpenStream(ctx, peer, protocol)
}

// Serve hands the streams that peers open to the links.
func Serve(n *farnet.Node, m *link.Mux) {
	for ch := wire.Control; ch < wire.NumChannels; ch++ {
		n.Handle(ch.Protocol(), func(peer inference.PeerID, s farnet.Stream) { m.Accept(peer, ch, s) })
	}
}
