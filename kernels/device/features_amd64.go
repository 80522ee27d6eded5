//go:build amd64 && !purego

package device

//go:generate go -C ../_asm run ./vector -out ../device/pause_amd64.s -stubs ../device/pause_amd64.go -pkg device

import "golang.org/x/sys/cpu"

// features reports what the processor has and the operating system saves.
func features() (avx2, avx512 bool) {
	x := &cpu.X86
	avx2 = x.HasAVX2 && x.HasFMA && x.HasF16C
	avx512 = x.HasAVX512F && x.HasAVX512BW && x.HasAVX512DQ && x.HasAVX512VL && x.HasAVX512VNNI
	return avx2, avx512
}
