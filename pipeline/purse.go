package pipeline

import (
	"github.com/farlabs/inference/payment"
)

// purse adapts a payment.Purse to what sessions need.
type purse struct{ *payment.Purse }

func (p purse) Account(o AccountInfo) (Account, error) {
	tab, err := p.Open(payment.HopTerms{
		Terms: payment.Terms{
			Session: o.Session, Epoch: o.Epoch, Model: o.Model, Digest: o.Record.Digest,
			Blocks: o.Blocks, Class: o.Record.Class, Quote: o.Record.Quote,
		},
		Wallet: o.Record.Wallet, Signer: o.Record.Signer,
	})
	if err != nil {
		return nil, err // not a nil *Tab in an interface
	}
	return tab, nil
}
