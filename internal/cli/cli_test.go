package cli

import "testing"

func TestSizeReadsWhatPeopleWrite(t *testing.T) {
	for text, want := range map[string]int64{
		"2GiB": 2 << 30, "512MiB": 512 << 20, "40MB": 40e6, "1048576": 1 << 20, "1.5G": 3 << 29, "0": 0, "10 MiB": 10 << 20,
	} {
		var s Size
		if err := s.Set(text); err != nil || int64(s) != want {
			t.Errorf("%q: %d, %v; want %d", text, s, err, want)
		}
	}
	for _, text := range []string{"", "x", "-1", "5 parsecs", "1e30GiB"} {
		var s Size
		if err := s.Set(text); err == nil {
			t.Errorf("%q was taken as %d", text, s)
		}
	}
}
