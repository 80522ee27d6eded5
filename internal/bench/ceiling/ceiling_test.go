package ceiling

import "testing"

func TestEveryWayToReadReadsEverything(t *testing.T) {
	m := NewMemory(1 << 20)
	want := uint64(0)
	for _, w := range m.words {
		want += w
	}
	for i, read := range reads {
		if got := read(m.words); got != want {
			t.Errorf("way %d sums to %d, want %d", i, got, want)
		}
	}
}

func TestCeilingsArePositive(t *testing.T) {
	m := NewMemory(1 << 20)
	for threads := 1; threads <= 3; threads++ {
		if s := m.Stream(threads, 1); !(s > 0) {
			t.Errorf("%d threads read %g bytes/s", threads, s)
		}
		if n, name := Integer(threads, 1); integer.run != nil && !(n > 0) {
			t.Errorf("%d threads: %g operations/s of %s", threads, n, name)
		}
	}
}

func BenchmarkStream(b *testing.B) {
	m := NewMemory(256 << 20)
	for i, read := range reads {
		b.Run([]string{"go", "one", "ahead", "four"}[i], func(b *testing.B) {
			b.SetBytes(int64(8 * len(m.words)))
			for b.Loop() {
				sink.Add(read(m.words))
			}
		})
	}
}
