package payment

import (
	"errors"
	"fmt"

	"github.com/farlabs/inference"
)

// What Meter.Open and Account.Voucher refuse a voucher for. A wrong signature
// is ErrSignature.
var (
	ErrNoVoucher     = errors.New("no voucher: the node serves nobody without one")
	ErrForeignNode   = errors.New("voucher is for another node")
	ErrStaleVoucher  = errors.New("voucher was seen before or is not higher than an earlier one: sign a new one")
	ErrForeignSeries = errors.New("series belongs to another payer or peer")
	ErrQuote         = errors.New("agreed price is below the node's: read its record again")
)

// Other errors of Meter and Purse.
var (
	ErrCreditExhausted = errors.New("credit exhausted") // *CreditError
	ErrReceipt         = errors.New("receipt refused")  // *ReceiptError
	ErrAccountClosed   = errors.New("session's account is closed")
	ErrUnknownSession  = errors.New("session has no account here")
	ErrFull            = errors.New("too many accounts are open")
	ErrClosed          = errors.New("payment store is closed")
)

// CreditError says that work was refused until a higher voucher comes. It is
// an ErrCreditExhausted.
type CreditError struct {
	Missing inference.Wei // by which the voucher has to rise for this work
	Credit  inference.Wei // that the node grants beyond the voucher
	Tokens  uint64        // Credit as decoded positions
}

// Error implements error.
func (e *CreditError) Error() string {
	return fmt.Sprintf("credit exhausted: the voucher must rise by %s wei; this node lends %s wei (%d tokens) beyond it",
		e.Missing, e.Credit, e.Tokens)
}

// Is makes errors.Is(err, ErrCreditExhausted) true.
func (e *CreditError) Is(target error) bool { return target == ErrCreditExhausted }

// ReceiptError says why a purse did not adopt a receipt: the node claims what
// was not ordered, or something else than what was agreed. It is an ErrReceipt.
type ReceiptError struct {
	Session inference.SessionID
	Node    inference.Address
	Reason  error
}

// Error implements error.
func (e *ReceiptError) Error() string {
	return fmt.Sprintf("receipt of node %s for session %s refused: %v", e.Node, e.Session, e.Reason)
}

// Is makes errors.Is(err, ErrReceipt) true.
func (e *ReceiptError) Is(target error) bool { return target == ErrReceipt }

// Unwrap returns the reason.
func (e *ReceiptError) Unwrap() error { return e.Reason }
