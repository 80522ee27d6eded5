// Package canon is the arithmetic that every CPU implementation of an op
// reproduces bit for bit; its plain Go is the specification.
//
// All of it is float32, rounded to nearest even, one operation at a time:
// a product is rounded before it is added. Go may fuse x*y+z where the
// processor can (arm64 does), unless the product is converted explicitly, so
// the code says float32(x*y) + z throughout.
//
// A sum over k terms has 16 lanes: lane i adds the terms i, i+16, i+32 … in
// this order, starting from +0, and [Tree] adds the lanes. Lanes never become
// −0, so terms that are absent may as well be zero: padding changes nothing.
//
// [Exp] and [Sincos] are our own, because those of a library differ from
// processor to processor in the last place.
//
// The package keeps no state and knows nothing of ops, shapes or buffers.
package canon
