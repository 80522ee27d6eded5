//go:build amd64 && !purego

package ceiling

import "golang.org/x/sys/cpu"

//go:generate go -C ../../../kernels/_asm run ./bench -out ../../internal/bench/ceiling/ceiling_amd64.s -stubs ../../internal/bench/ceiling/asm_amd64.go -pkg ceiling

func init() {
	reads = append(reads,
		func(w []uint64) uint64 { return readOne(first(w), 8*len(w)) },
		func(w []uint64) uint64 { return readAhead(first(w), 8*len(w)) },
		func(w []uint64) uint64 { return readFour(first(w), 8*len(w)) })
	if cpu.X86.HasAVX512F && cpu.X86.HasAVX512VNNI {
		integer.name, integer.run = "VPDPBUSD zmm", multiply512
		integer.operations = 12 * 64 * 2
	}
}
