package device

import "testing"

func TestSpareKeepsSoManyAndNoMore(t *testing.T) {
	made := 0
	s := NewSpare(func() *int { made++; return new(int) })
	var out []*int
	seen := map[*int]bool{}
	for range maxSpare + 3 {
		x := s.Get()
		if seen[x] {
			t.Fatal("handed out twice")
		}
		seen[x] = true
		out = append(out, x)
	}
	for _, x := range out {
		s.Put(x)
	}
	if made != maxSpare+3 || len(s.kept) != maxSpare {
		t.Errorf("made %d, kept %d", made, len(s.kept))
	}
	if n := testing.AllocsPerRun(100, func() { s.Put(s.Get()) }); n != 0 || made != maxSpare+3 {
		t.Errorf("%v allocations, %d made", n, made)
	}
}
