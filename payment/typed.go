package payment

import (
	"encoding/binary"
	"fmt"

	"github.com/farlabs/inference"
)

// Domain is the EIP-712 domain that vouchers and receipts are signed for: one
// contract on one chain. The name is "Far Labs Inference", the version "1".
type Domain struct {
	ChainID  uint64
	Contract inference.Address
}

// DevelopmentDomain is in use until there is a contract on a chain. The chain
// id 31337 is the one that local development chains take; the contract is an
// address to which nothing can be deployed by accident. What is signed for it
// can never be claimed on a real chain.
var DevelopmentDomain = Domain{
	ChainID:  31337,
	Contract: inference.Address{0: 0xfa, 1: 0x41, 2: 0xab, 19: 0x01},
}

// The EIP-712 type strings. Field order is part of what is signed.
const (
	domainType  = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
	voucherType = "Voucher(address payer,address node,uint64 series,uint128 cumulative)"
	receiptType = "Receipt(address payer,address node,uint64 series,bytes16 session,uint32 epoch," +
		"bytes32 digest,uint16 firstBlock,uint16 endBlock,string numericsClass," +
		"uint64 prefill,uint64 decode,uint64 draft,uint64 cached,uint64 recovery," +
		"uint128 amount,uint128 cumulative,uint8 outcome)"
)

var (
	domainTypeHash  = keccak([]byte(domainType))
	voucherTypeHash = keccak([]byte(voucherType))
	receiptTypeHash = keccak([]byte(receiptType))
	domainName      = keccak([]byte("Far Labs Inference"))
	domainVersion   = keccak([]byte("1"))
)

// Separator returns the domain separator.
func (d Domain) Separator() [32]byte {
	return keccak(domainTypeHash[:], domainName[:], domainVersion[:], uintWord(d.ChainID), addressWord(d.Contract))
}

// VoucherDigest returns the hash that the payer of v signs.
func (d Domain) VoucherDigest(v *inference.Voucher) [32]byte {
	return d.digest(keccak(voucherTypeHash[:], addressWord(v.Payer), addressWord(v.Node), uintWord(v.Series), weiWord(v.Cumulative)))
}

// ReceiptDigest returns the hash that the node of r signs.
func (d Domain) ReceiptDigest(r *inference.Receipt) [32]byte {
	var session [32]byte // bytesN is padded on the right
	copy(session[:], r.Session[:])
	class := keccak([]byte(r.Class))
	return d.digest(keccak(receiptTypeHash[:],
		addressWord(r.Payer), addressWord(r.Node), uintWord(r.Series), session[:], uintWord(uint64(r.Epoch)),
		r.Digest[:], uintWord(uint64(uint16(r.Blocks.Start))), uintWord(uint64(uint16(r.Blocks.End))), class[:],
		uintWord(r.Units[inference.LinePrefill]), uintWord(r.Units[inference.LineDecode]), uintWord(r.Units[inference.LineDraft]),
		uintWord(r.Units[inference.LineCached]), uintWord(r.Units[inference.LineRecovery]),
		weiWord(r.Amount), weiWord(r.Cumulative), uintWord(uint64(r.Outcome))))
}

func (d Domain) digest(structHash [32]byte) [32]byte {
	separator := d.Separator()
	return keccak([]byte{0x19, 0x01}, separator[:], structHash[:])
}

// SignVoucher sets v.Payer to the key's account and signs.
func (d Domain) SignVoucher(k *Key, v *inference.Voucher) {
	v.Payer = k.address
	v.Signature = k.sign(d.VoucherDigest(v))
}

// VerifyVoucher reports whether v.Payer signed v.
func (d Domain) VerifyVoucher(v *inference.Voucher) error {
	a, err := recoverAddress(d.VoucherDigest(v), v.Signature)
	if err == nil && (a != v.Payer || a.IsZero()) {
		err = fmt.Errorf("%w: not made by payer %s for chain %d, contract %s", ErrSignature, v.Payer, d.ChainID, d.Contract)
	}
	if err != nil {
		return fmt.Errorf("voucher: %w", err)
	}
	return nil
}

// SignReceipt signs r for the node whose signer k is.
func (d Domain) SignReceipt(k *Key, r *inference.Receipt) { r.Signature = k.sign(d.ReceiptDigest(r)) }

// VerifyReceipt reports whether signer signed r. Blocks outside the bounds of
// inference.BlockRange are refused: they would not be what was signed.
func (d Domain) VerifyReceipt(r *inference.Receipt, signer inference.Address) error {
	if err := r.Blocks.Validate(); err != nil {
		return fmt.Errorf("receipt: %w", err)
	}
	a, err := recoverAddress(d.ReceiptDigest(r), r.Signature)
	if err == nil && (a != signer || a.IsZero()) {
		err = fmt.Errorf("%w: not made by signer %s", ErrSignature, signer)
	}
	if err != nil {
		return fmt.Errorf("receipt: %w", err)
	}
	return nil
}

func uintWord(n uint64) []byte { return binary.BigEndian.AppendUint64(make([]byte, 24, 32), n) }

func addressWord(a inference.Address) []byte { return append(make([]byte, 12, 32), a[:]...) }

func weiWord(w inference.Wei) []byte {
	b := make([]byte, 32)
	w.Put(b[16:])
	return b
}
