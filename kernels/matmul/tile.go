package matmul

import "github.com/farlabs/inference/kernels/canon"

// For larger batches both sides are laid out by lane, and a tile of four rows
// of x shares each weight that is loaded:
//
//	x tile   [16 lanes][k][4 rows]    element 16k+lane of each row
//	weights  [16 lanes][k]
//
// with k = ⌈in/16⌉, zeros after the last element.

// tileRows is the number of rows of x in a tile: four sums, four products and
// one weight at a time fit the registers of amd64.
const tileRows = 4

// packTile lays out four rows of x, in apart.
func packTile(tile [][tileRows]float32, x []float32, in int) {
	k := len(tile) / canon.Lanes
	a, b, c, d := x[:in], x[in:2*in], x[2*in:3*in], x[3*in:4*in]
	for l := range canon.Lanes {
		t := tile[l*k : (l+1)*k]
		for i, e := 0, l; i < len(t); i, e = i+1, e+canon.Lanes {
			if e < in {
				t[i] = [tileRows]float32{a[e], b[e], c[e], d[e]}
			} else {
				t[i] = [tileRows]float32{}
			}
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
		var s0, s1, s2, s3 float32
		for i, v := range wl {
			x := &tl[i]
			s0 += float32(v * x[0])
			s1 += float32(v * x[1])
			s2 += float32(v * x[2])
			s3 += float32(v * x[3])
		}
		s[l] = [tileRows]float32{s0, s1, s2, s3}
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
