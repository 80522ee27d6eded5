package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/attr"
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/farlabs/inference/kernels/_asm/internal/lanes"
)

// quantizeAVX2 writes the preparation of activations of 8 bits.
func quantizeAVX2() {
	const infinity, spoiled = 0x7f80_0000, 0x7fc0_0000
	w := lanes.AVX2
	routine("quantizeAVX2", "(dst *byte, stride int, x *float32, blocks int)", "writes blocks > 0 of x to dst and every stride bytes from there.")
	dst, stride := Load(Param("dst"), GP64()), Load(Param("stride"), GP64())
	x, blocks := Load(Param("x"), GP64()), Load(Param("blocks"), GP64())
	magnitude, inf, most := w.Const(1<<31-1), w.Const(infinity), w.ConstF(127)
	order := GLOBL("packed", attr.RODATA|attr.NOPTR) // what VPACKSSDW and VPACKSSWB make of the dwords
	for i, from := range []uint32{0, 4, 1, 5, 2, 6, 3, 7} {
		DATA(4*i, U32(from))
	}
	Label("block")
	var v, a [4]reg.VecVirtual
	for i := range v {
		v[i], a[i] = YMM(), YMM()
		VMOVUPS(Mem{Base: x, Disp: 32 * i}, v[i])
		VPAND(magnitude, v[i], a[i])
	}
	// The greatest magnitude: as integers, so that NaN is above all.
	VPMAXUD(a[1], a[0], a[0])
	VPMAXUD(a[3], a[2], a[2])
	VPMAXUD(a[2], a[0], a[0])
	top, z := XMM(), XMM()
	VEXTRACTI128(U8(1), a[0], z)
	VPMAXUD(z, a[0].AsX(), top)
	for _, o := range []uint8{0x4e, 0xb1} {
		VPSHUFD(U8(o), top, z)
		VPMAXUD(z, top, top)
	}
	n := GP32()
	VMOVD(top, n)
	CMPL(n, U32(infinity))
	JAE(LabelRef("spoiled"))
	d, to, over, scale := XMM(), XMM(), XMM(), YMM()
	VDIVSS(most.AsX(), top, d)
	VDIVSS(top, most.AsX(), to)
	VPCMPEQD(inf.AsX(), to, over)
	VPANDN(to, over, to) // 0 where 127/a is infinite
	VBROADCASTSS(to, scale)
	for i := range v {
		VMULPS(scale, v[i], v[i])
		VCVTPS2DQ(v[i], v[i])
	}
	low, high, packed := YMM(), YMM(), YMM()
	VPADDD(v[1], v[0], low)
	VPADDD(v[3], v[2], high)
	VPACKSSDW(v[1], v[0], v[0])
	VPACKSSDW(v[3], v[2], v[2])
	VPACKSSWB(v[2], v[0], v[0])
	VMOVDQU(order, packed)
	VPERMD(v[0], packed, v[0])
	VMOVDQU(v[0], Mem{Base: dst})
	VPHADDD(high, low, low)
	VEXTRACTI128(U8(1), low, z)
	VPADDD(z, low.AsX(), z)
	VPHADDD(z, z, z)
	l, h, sum := GP32(), GP32(), GP32()
	VMOVD(z, l)
	VPEXTRD(U8(1), z, h)
	MOVL(l, sum)
	ADDL(h, sum)
	u := XMM()
	VCVTSI2SSL(sum, d, u)
	VMULSS(d, u, u)
	VMOVSS(d, Mem{Base: dst, Disp: int8D})
	VMOVSS(u, Mem{Base: dst, Disp: int8U})
	start := func(i int, r reg.Register) { MOVL(r, Mem{Base: dst, Disp: int8Starts + 4*i}) }
	NEGL(sum)
	SHLL(U8(3), sum)
	start(start8, sum)
	SHLL(U8(1), sum)
	start(start16, sum)
	SHLL(U8(3), sum)
	start(start128, sum)
	for i, r := range []reg.GPVirtual{l, h} {
		NEGL(r)
		SHLL(U8(5), r)
		start(start32+i, r)
	}
	MOVL(U32(0), Mem{Base: dst, Disp: int8Starts + 20})
	Label("next")
	ADDQ(U32(128), x)
	ADDQ(stride, dst)
	DECQ(blocks)
	JNZ(LabelRef("block"))
	VZEROUPPER()
	RET()

	Label("spoiled") // by a NaN or an infinity
	zero := YMM()
	VPXOR(zero, zero, zero)
	VMOVDQU(zero, Mem{Base: dst})
	VMOVDQU(zero, Mem{Base: dst, Disp: 32})
	MOVL(U32(spoiled), Mem{Base: dst, Disp: int8D})
	MOVL(U32(spoiled), Mem{Base: dst, Disp: int8U})
	JMP(LabelRef("next"))
}

// spread writes the preparation of activations that stay as they are. A sum is
// one chain: those of eight blocks are computed side by side.
func spread() {
	routine("spreadAVX2", "(dst *byte, stride int, x *float32, blocks int)", "writes blocks of x, each with its sum, to dst and every stride bytes from there.")
	dst, stride := Load(Param("dst"), GP64()), Load(Param("stride"), GP64())
	x, blocks := Load(Param("x"), GP64()), Load(Param("blocks"), GP64())
	for _, many := range []int{8, 1} {
		label := func(s string) string { return fmt.Sprintf("%s%d", s, many) }
		Label(label("blocks"))
		CMPQ(blocks, I8(int8(many)))
		JLT(LabelRef(label("fewer")))
		sums := make([]reg.VecVirtual, many)
		for i := range sums {
			sums[i] = XMM()
			VXORPS(sums[i], sums[i], sums[i])
		}
		k := GP64()
		XORQ(k, k)
		Label(label("sums"))
		for i := range 4 {
			for j, s := range sums {
				VADDSS(Mem{Base: x, Index: k, Scale: 4, Disp: 128*j + 4*i}, s, s)
			}
		}
		ADDQ(U8(4), k)
		CMPQ(k, U8(32))
		JLT(LabelRef(label("sums")))
		for j := range sums {
			for i := range 4 {
				v := YMM()
				VMOVUPS(Mem{Base: x, Disp: 128*j + 32*i}, v)
				VMOVUPS(v, Mem{Base: dst, Disp: 32 * i})
			}
			VMOVSS(sums[j], Mem{Base: dst, Disp: xSum})
			ADDQ(stride, dst)
		}
		ADDQ(U32(uint32(128*many)), x)
		SUBQ(U8(uint8(many)), blocks)
		JMP(LabelRef(label("blocks")))
		Label(label("fewer"))
	}
	VZEROUPPER()
	RET()
}
