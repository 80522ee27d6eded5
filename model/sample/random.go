package sample

import "math/bits"

// uniform returns the random number in [0, 1) of a position of a branch: the
// first 64 bits of Philox4x32-10 with the seed as its key and (position low,
// position high, branch, 0) as its counter, of which the upper 53 count.
func uniform(seed uint64, branch uint32, position uint64) float64 {
	r := philox([4]uint32{uint32(position), uint32(position >> 32), branch, 0}, [2]uint32{uint32(seed), uint32(seed >> 32)})
	return float64((uint64(r[1])<<32|uint64(r[0]))>>11) / (1 << 53)
}

// philox is Philox4x32-10: J. Salmon et al., Parallel random numbers: as easy
// as 1, 2, 3 (SC 2011). It maps a counter to four random words under a key.
func philox(c [4]uint32, key [2]uint32) [4]uint32 {
	for range 10 {
		hi0, lo0 := bits.Mul32(0xD2511F53, c[0])
		hi1, lo1 := bits.Mul32(0xCD9E8D57, c[2])
		c = [4]uint32{hi1 ^ c[1] ^ key[0], lo1, hi0 ^ c[3] ^ key[1], lo0}
		key[0] += 0x9E3779B9 // golden ratio
		key[1] += 0xBB67AE85 // √3 − 1
	}
	return c
}
