package attention

// mix writes Σ w[k]·v[k] over the positions k of one block of 256 to lanes[:d],
// v[k] being the d values at kv in the pages. lanes has 16·d floats: lane t
// adds positions t, t+16, …; then the lanes are added pairwise over distances
// 8, 4, 2 and 1, for all d values at once.
func mix(lanes, w []float32, pages []Page, kv, d int) {
	clear(lanes)
	for t := range min(PageSize, len(w)) {
		sum, at := lanes[t*d:(t+1)*d], kv+t*d
		k, p := t, 0
		for ; k+3*PageSize < len(w); k, p = k+4*PageSize, p+4 {
			add4(sum, [4]float32{w[k], w[k+PageSize], w[k+2*PageSize], w[k+3*PageSize]},
				pages[p].V[at:], pages[p+1].V[at:], pages[p+2].V[at:], pages[p+3].V[at:])
		}
		for ; k < len(w); k, p = k+PageSize, p+1 {
			add1(sum, w[k], pages[p].V[at:])
		}
	}
	for n := PageSize / 2 * d; n >= d; n /= 2 {
		add1(lanes[:n], 1, lanes[n:])
	}
}

// add1 adds w·v to sum, over the length of sum.
func add1(sum []float32, w float32, v []float32) {
	v = v[:len(sum)]
	for len(sum) >= 8 {
		a, b := (*[8]float32)(sum), (*[8]float32)(v)
		a[0] += float32(w * b[0])
		a[1] += float32(w * b[1])
		a[2] += float32(w * b[2])
		a[3] += float32(w * b[3])
		a[4] += float32(w * b[4])
		a[5] += float32(w * b[5])
		a[6] += float32(w * b[6])
		a[7] += float32(w * b[7])
		sum, v = sum[8:], v[8:]
	}
	for x := range sum {
		sum[x] += float32(w * v[x])
	}
}

// add4 adds w[0]·v0, then w[1]·v1, w[2]·v2 and w[3]·v3 to sum, over its length:
// one pass over the sums instead of four.
func add4(sum []float32, w [4]float32, v0, v1, v2, v3 []float32) {
	n := len(sum)
	v0, v1, v2, v3 = v0[:n], v1[:n], v2[:n], v3[:n]
	w0, w1, w2, w3 := w[0], w[1], w[2], w[3]
	for x, s := range sum {
		s += float32(w0 * v0[x])
		s += float32(w1 * v1[x])
		s += float32(w2 * v2[x])
		s += float32(w3 * v3[x])
		sum[x] = s
	}
}
