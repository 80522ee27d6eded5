package node

import (
	"github.com/farlabs/inference"
	"github.com/farlabs/inference/kernels/tensor"
	"github.com/farlabs/inference/pipeline/wire"
)

// handler hands what arrives on the links to the stage, which is made after
// the links because it sends by them.
type handler struct{ n *Node }

func (h handler) Reserve(from inference.PeerID, m wire.Message, size int) (tensor.Buffer, error) {
	return h.n.stage.Reserve(from, m, size)
}

func (h handler) Frame(from inference.PeerID, f *wire.Frame) { h.n.stage.Frame(from, f) }

func (h handler) Down(peer inference.PeerID, err error) { h.n.stage.Down(peer, err) }
