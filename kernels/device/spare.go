package device

import "sync"

// Spare keeps objects between their uses, at most maxSpare of them. Ops keep
// their arguments in such an object, with a function bound to it, so that a
// call allocates nothing; unlike sync.Pool it drops none that it has room for.
// It is safe for concurrent use.
type Spare[T any] struct {
	mu   sync.Mutex
	make func() *T
	kept []*T
}

// maxSpare is a little more than the ops that wait for a queue at a time.
const maxSpare = 4

// NewSpare returns an empty Spare; make makes objects when there are none.
func NewSpare[T any](make func() *T) *Spare[T] { return &Spare[T]{make: make} }

// Get returns an object that has no other user.
func (s *Spare[T]) Get() *T {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.kept)
	if n == 0 {
		return s.make()
	}
	x := s.kept[n-1]
	s.kept[n-1] = nil
	s.kept = s.kept[:n-1]
	return x
}

// Put takes x back, without what it referred to.
func (s *Spare[T]) Put(x *T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.kept) < maxSpare {
		s.kept = append(s.kept, x)
	}
}
