package cli

import "testing"

func TestUSDKnowsWhetherItWasGiven(t *testing.T) {
	var u USD
	if f, given := u.Get(); f != 0 || given || u.String() != "" {
		t.Errorf("zero value: %v, %v, %q", f, given, u.String())
	}
	for text, want := range map[string]float64{"0": 0, "0.2": 0.2, "1e3": 1000} {
		var u USD
		if err := u.Set(text); err != nil {
			t.Errorf("%q: %v", text, err)
		}
		if f, given := u.Get(); f != want || !given {
			t.Errorf("%q: %v, %v", text, f, given)
		}
	}
	for _, text := range []string{"-3", "-0.01", "NaN", "Inf", "-Inf", "1e99", "", "free", "0.2 USD"} {
		var u USD
		if err := u.Set(text); err == nil {
			t.Errorf("%q was taken as %s", text, u.String())
		}
		if _, given := u.Get(); given {
			t.Errorf("%q: refused, but given", text)
		}
	}
}
