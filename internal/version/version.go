// Package version holds the version that the binaries print and announce.
//
// It is set by the linker (-X …version.Version=v0.1.0); a plain go build leaves
// what the build recorded of the module, or "dev". It knows nothing else.
package version

import "runtime/debug"

// Version is set by the linker.
var Version = ""

// String returns the version, never empty.
func String() string {
	if Version != "" {
		return Version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "dev"
}
