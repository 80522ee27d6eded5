package cli

import (
	"errors"
	"strconv"

	"github.com/farlabs/inference/payment/pricing"
)

// USD is a flag value of a price in USD, at least 0. Its zero value is a price
// that nobody gave, which is not the price 0.
type USD struct {
	amount float64
	given  bool
}

// Get returns the price and whether it was given.
func (u *USD) Get() (amount float64, given bool) { return u.amount, u.given }

// String implements pflag.Value; "" is a price that was not given.
func (u *USD) String() string {
	if !u.given {
		return ""
	}
	return strconv.FormatFloat(u.amount, 'g', -1, 64)
}

// Type implements pflag.Value.
func (u *USD) Type() string { return "usd" }

// Set implements pflag.Value.
func (u *USD) Set(v string) error {
	f, err := strconv.ParseFloat(v, 64)
	if err != nil {
		return errors.New("want a price in USD such as 0.20")
	}
	if _, err := pricing.FromUSD(f); err != nil {
		return err
	}
	u.amount, u.given = f, true
	return nil
}
