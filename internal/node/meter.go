package node

import (
	"github.com/farlabs/inference"
	"github.com/farlabs/inference/payment"
	"github.com/farlabs/inference/pipeline/stage"
)

// meter adapts a payment.Meter to what a stage needs.
type meter struct {
	*payment.Meter
	model inference.ModelID
	ask   inference.Quote
}

func (m meter) Open(t stage.Terms, v *inference.Voucher) (stage.Account, error) {
	a, err := m.Meter.Open(payment.OpenInfo{
		Terms: payment.Terms{
			Session: t.Session, Epoch: t.Epoch, Model: m.model, Digest: t.Digest,
			Blocks: t.Blocks, Class: t.Class, Quote: t.Quote,
		},
		Peer: t.Client, Ask: m.ask,
	}, v)
	if err != nil {
		return nil, err // not a nil *Account in an interface
	}
	return a, nil
}
