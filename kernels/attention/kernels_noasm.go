//go:build !amd64 || purego

package attention

func useAssembly() {}
