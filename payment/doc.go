// Package payment counts and promises: a [Purse] is the client's side, a
// [Meter] the node's. Out of the purse come vouchers, EIP-712 signed and
// cumulative over the life of (payer, node's wallet, series); out of the meter
// come receipts, signed by the node. Amounts are wei of the settlement token,
// counts are token·blocks by billing line.
//
// # How a session is paid
//
// [Purse.Open] opens a [Tab] per session and hop, a series is one purse: one
// client process. [Tab.Order], before work is sent, returns the voucher that
// has to go with it. A prompt is prepaid; after it a tranche is [TrancheTokens]
// positions, and the voucher of tranche k+1 is returned when k starts.
// [Meter.Open] verifies and persists the voucher, then gives an [Account]:
// [Account.Charge] before the rows are computed, [Account.Sent] when they have
// left, [Account.Refund] when they never will. Charge refuses what neither
// vouchers nor the credit cover. [Account.Voucher] answers a voucher with a
// receipt of what is billed so far, [Account.Close] with the final one.
//
// # Reconciliation
//
// Both sides keep a [Tally]. Billable is what was delivered: rows that a hop
// has sent on, as its Progress says, or whose output the client got. Let O be
// what the client ordered and N what the node billed, of one session, T a
// tranche:
//
//   - N ≤ O on every line: a node charges only rows that it was sent.
//   - The purse persists what it promises before a voucher leaves, so after a
//     crash it knows a bound on O that is less than T above what it wrote down.
//   - The meter persists N whenever T more are billed, with every voucher it
//     takes, and before it signs a receipt, so after a crash it has lost less
//     than T, and nothing that it signed for. What it lost it does not bill.
//   - A session that a node's crash ended stands there as OutcomeNodeFault, one
//     that a client's crash ended as OutcomeAbort; [Meter.Settle] signs its
//     final receipt whenever it is asked.
//   - On the next contact the client asks for the final receipts of
//     [Purse.Claims] and hands them to [Purse.Adopt]. It takes a figure that is
//     signed by the node, at most O on every line, priced at the agreed quote,
//     and covered by vouchers that it signed: the highest mutually signed
//     figure. From then on both sides have N, to the unit. A session that the
//     node never saw is [Purse.Lost].
//
// Vouchers never fall. What they promise beyond N carries over to the next
// sessions of the series; at its end it is less than the tranches that had
// started and one more per session in use. The settled amount of a series is
// Receipt.Cumulative.
//
// Both sides survive kill -9 and the loss of power at any point: a
// payment/journal each. The package owns keys, these files and nothing else; it
// knows nothing of tensors, streams, models' names beyond labels, or exchange
// rates (payment/pricing), and dials nobody.
package payment
