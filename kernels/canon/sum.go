package canon

import "unsafe"

// Lanes is the number of partial sums of every reduction.
const Lanes = 16

// Tree adds the lanes of a sum, pairwise over distances 8, 4, 2 and 1.
func Tree(s *[Lanes]float32) float32 {
	a0, a1, a2, a3 := s[0]+s[8], s[1]+s[9], s[2]+s[10], s[3]+s[11]
	a4, a5, a6, a7 := s[4]+s[12], s[5]+s[13], s[6]+s[14], s[7]+s[15]
	a0, a1, a2, a3 = a0+a4, a1+a5, a2+a6, a3+a7
	a0, a1 = a0+a2, a1+a3
	return a0 + a1
}

// Rows returns x as whole groups of 16, one element per lane, and the rest. It
// shares memory with x.
func Rows(x []float32) (whole [][Lanes]float32, rest []float32) {
	n := len(x) / Lanes
	if n == 0 {
		return nil, x
	}
	return unsafe.Slice((*[Lanes]float32)(unsafe.Pointer(unsafe.SliceData(x))), n), x[n*Lanes:]
}

// Dot returns the sum of a[i]·b[i] over the len(a) elements of a; b has at
// least as many.
func Dot(a, b []float32) float32 {
	b = b[:len(a)]
	ra, resta := Rows(a)
	rb, restb := Rows(b)
	var s [Lanes]float32
	dotRows(&s, ra, rb)
	for i, v := range resta {
		s[i] += float32(v * restb[i])
	}
	return Tree(&s)
}

// dotRows adds to the lanes of s, four at a time: as many sums and products as
// the registers of amd64 hold.
func dotRows(s *[Lanes]float32, a, b [][Lanes]float32) {
	b = b[:len(a)]
	for h := 0; h < Lanes; h += 4 {
		s0, s1, s2, s3 := s[h], s[h+1], s[h+2], s[h+3]
		for i := range a {
			x, y := (*[4]float32)(a[i][h:]), (*[4]float32)(b[i][h:])
			s0 += float32(x[0] * y[0])
			s1 += float32(x[1] * y[1])
			s2 += float32(x[2] * y[2])
			s3 += float32(x[3] * y[3])
		}
		s[h], s[h+1], s[h+2], s[h+3] = s0, s1, s2, s3
	}
}

// SumSquares returns the sum of x[i]².
func SumSquares(x []float32) float32 { return Dot(x, x) }
