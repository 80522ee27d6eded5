// Package kernels is the catalogue of the operations that a model is computed
// with; the code lies in one folder per family.
//
//	op                    in → out                              order of additions
//	matmul.Linear         x [n,in], W [out,in] → [n,out]         in: blocks of 32, one chain
//	norm.RMS              x [n,d], w [d] → [n,d]                 d: 16 lanes
//	rope.Apply            x [n,heads·dim], positions [n] → x     none
//	rope.Angles           positions [n] → sines, cosines         none
//	rope.Rotate           x, sines and cosines → x               none
//	attention.Store       k, v [n,kv·dim] → pages                none
//	attention.Causal      q [n,heads·dim], pages → [n,heads·dim] positions: blocks of 256, 16 lanes each; dim: 16 lanes
//	elementwise.Add       dst + x → dst                          none
//	elementwise.GateSiLU  silu(gate)·up → dst                    none
//	elementwise.RoundBF16 x → bf16(x)                            none
//	logits.Weights        logits [V] → weights, sums of 256      256: 16 lanes of float64
//	quant.Dequantize      raw blocks → f32                       none
//
// Activations, keys and values are float32; weights may have any
// [tensor.DType] and are dequantised on the fly.
//
// # Same bits
//
// A result depends on the values of its own row (and, in attention, on the
// earlier positions of its own branch) and on nothing else: not on how many
// rows share the call, where the row stands among them, how a prompt was cut
// into calls, or how many workers ran. Package canon defines the arithmetic
// that makes this so; every implementation of an op, on every processor, gives
// the same bits. Package kerneltest runs one test on each of them.
//
// # Queues
//
// Each op takes a device.Queue first and, on the CPU, has finished when it
// returns. Ops borrow their buffers and keep none of them. Shapes that do not
// fit together are the caller's mistake and panic; nothing a peer sends
// reaches an op unchecked.
package kernels
