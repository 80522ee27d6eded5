package matmul

import "github.com/farlabs/inference/kernels/canon"

// For larger batches both sides are laid out by lane, and a tile of seven
// rows of x shares each weight that is loaded:
//
//	x tile   [16 lanes][k][7 rows]    element 16k+lane of each row
//	weights  [16 lanes][k]
//
// with k = ⌈in/16⌉, zeros after the last element.

// tileRows is the number of rows of x in a tile: seven sums, seven products and
// one weight at a time fill the 15 registers that Go has for floats on amd64.
const tileRows = 7

// packTile lays out n ≤ tileRows rows of x, in apart, and zeros for the others.
func packTile(tile [][tileRows]float32, x []float32, in, n int) {
	k := len(tile) / canon.Lanes
	if n < tileRows || in%canon.Lanes != 0 {
		clear(tile)
	}
	for r := range n {
		whole, rest := canon.Rows(x[r*in : (r+1)*in])
		for l := range canon.Lanes {
			t := tile[l*k : (l+1)*k][:len(whole)]
			for i := range whole {
				t[i][r] = whole[i][l]
			}
		}
		for l, v := range rest {
			tile[l*k+k-1][r] = v
		}
	}
}

// packRow lays out a row of weights.
func packRow(dst, row []float32) {
	k := len(dst) / canon.Lanes
	whole, rest := canon.Rows(row)
	for l := range canon.Lanes {
		d := dst[l*k : (l+1)*k]
		for i := range whole {
			d[i] = whole[i][l]
		}
		if len(whole) < k {
			d[k-1] = 0
			if l < len(rest) {
				d[k-1] = rest[l]
			}
		}
	}
}

// dotTile computes the lane sums of the tile's rows with one row of weights.
func dotTile(s *[canon.Lanes][tileRows]float32, w []float32, tile [][tileRows]float32) {
	k := len(w) / canon.Lanes
	for l := range s {
		wl := w[l*k : (l+1)*k]
		tl := tile[l*k:][:len(wl)]
		var s0, s1, s2, s3, s4, s5, s6 float32
		for i, v := range wl {
			x := &tl[i]
			s0 += float32(v * x[0])
			s1 += float32(v * x[1])
			s2 += float32(v * x[2])
			s3 += float32(v * x[3])
			s4 += float32(v * x[4])
			s5 += float32(v * x[5])
			s6 += float32(v * x[6])
		}
		s[l] = [tileRows]float32{s0, s1, s2, s3, s4, s5, s6}
	}
}

// treeTile adds the lanes of row r of the tile, as canon.Tree does.
func treeTile(s *[canon.Lanes][tileRows]float32, r int) float32 {
	var t [canon.Lanes]float32
	for l := range t {
		t[l] = s[l][r]
	}
	return canon.Tree(&t)
}
