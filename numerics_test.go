package inference

import "testing"

func TestClassTellsItsKVDType(t *testing.T) {
	for kv := KVF16; kv <= KVQ8; kv++ {
		for a := ActivationsInt8; a <= ActivationsF32; a++ {
			if c := (Numerics{Activations: a, KV: kv}).Class(); c.KV() != kv {
				t.Errorf("%s: %s", c, c.KV())
			}
		}
	}
	if kv := NumericsClass("cuda-bf16-v1").KV(); kv != 0 {
		t.Errorf("a class of another form: %s", kv)
	}
}
