package config

import "testing"

func TestNearestIsWhatWasMeant(t *testing.T) {
	known := []string{"kv", "kv_cache", "max_sessions", "max_tokens", "model", "model_id", "price", "temperature"}
	for name, want := range map[string]string{
		"kvcache": "kv_cache", "KV-CACHE": "kv_cache", // but for dashes and capitals
		"prce": "price", "max_token": "max_tokens", // a letter away
		"modle": "model", "temp": "temperature", // begins alike
		"": "", "zz": "", "foo": "", "kx": "", // nobody knows
	} {
		if got := Nearest(name, known); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}
