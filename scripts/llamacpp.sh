#!/usr/bin/env bash
# Builds llama.cpp, which `make bench-peer` measures beside us, from the source
# inside the source package llama-cpp-python. Does nothing when it is built.
#
#   scripts/llamacpp.sh          build if absent (minutes)
#   scripts/llamacpp.sh --path   print the folder of the programs
#
# JOBS sets the compilers at once (default: one a core). The folder's file
# VERSION tells what was built and how.
set -euo pipefail

package=llama-cpp-python
version=0.3.36 # llama.cpp 0.5.0-dev, ggml 0.25.3
sha256=832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e
cmake=4.4.5 # of the package cmake, where the machine has none
ninja=1.13.2
need_kib=1500000
programs="llama-bench llama-server llama-perplexity llama-quantize ggml-rpc-server"

root=$(cd "$(dirname "$0")/.." && pwd)
home=$root/.cache/llamacpp-$version
source=$home/source
build=$home/build
bin=$home/bin
helper=$root/internal/bench/testdata/logits.cpp

say() { printf 'llama.cpp: %s\n' "$*"; }
die() {
	printf 'llama.cpp: %s\n' "$@" >&2
	exit 1
}

case "${1:-}" in
'') ;;
--path)
	printf '%s\n' "$bin"
	exit 0
	;;
*) die "unknown argument $1; usage: scripts/llamacpp.sh [--path]" ;;
esac

# stamp: what the programs were made from; they are whole once it is written.
stamp="$version $(cksum <"$helper" | cut -d ' ' -f 1) $(cksum <"$0" | cut -d ' ' -f 1) $(uname -m)"
if [ "$(cat "$bin/stamp" 2>/dev/null)" = "$stamp" ]; then
	say "built in $bin"
	exit 0
fi

cxx=${CXX:-g++}
cc=${CC:-gcc}
command -v "$cxx" >/dev/null && command -v "$cc" >/dev/null ||
	die "a C and a C++ compiler are needed and $cc or $cxx was not found" \
		"install them (Debian: apt install g++), or set CC and CXX"
command -v python3 >/dev/null || die "python3 is needed to fetch the source and was not found"
python3 -m pip --version >/dev/null 2>&1 || die "python3 has no pip, which fetches the source (Debian: apt install python3-pip)"
mkdir -p -- "$home" || die "cannot create $home"
free_kib=$(df -Pk -- "$home" | awk 'NR == 2 { print $4 }')
[ "$free_kib" -ge "$need_kib" ] || die "$((free_kib / 1024)) MiB are free at $home and $((need_kib / 1024)) are needed"

if ! command -v cmake >/dev/null || ! command -v ninja >/dev/null; then
	if [ ! -f "$home/tools/complete" ]; then
		say "installing cmake $cmake and ninja $ninja into .cache/"
		rm -rf -- "$home/tools"
		python3 -m venv "$home/tools" || die "python3 -m venv failed (Debian: apt install python3-venv)"
		"$home/tools/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary :all: \
			"cmake==$cmake" "ninja==$ninja" || die "pip could not install cmake and ninja (its reason stands above)"
		: >"$home/tools/complete"
	fi
	PATH=$home/tools/bin:$PATH
fi

if [ "$(cat "$source/complete" 2>/dev/null)" != "$sha256" ]; then
	work=$(mktemp -d "$home/fetch.XXXXXX")
	trap 'rm -rf -- "$work"' EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM
	say "fetching $package $version (73 MiB)"
	python3 -m pip download --quiet --disable-pip-version-check --no-deps --no-binary "$package" \
		--dest "$work" "$package==$version" || die "pip could not download the source (its reason stands above)"
	sdist=$(find "$work" -name '*.tar.gz' -print | head -n 1)
	[ -n "$sdist" ] || die "pip downloaded no source package of $package $version"
	got=$(python3 -c 'import hashlib, sys; print(hashlib.sha256(open(sys.argv[1], "rb").read()).hexdigest())' "$sdist")
	[ "$got" = "$sha256" ] || die "the source package has the wrong contents" "  want SHA-256 $sha256" "  got  SHA-256 $got"
	rm -rf -- "$source"
	mkdir -p -- "$source"
	tar -xzf "$sdist" -C "$source" --strip-components=1
	printf '%s\n' "$sha256" >"$source/complete"
	rm -rf -- "$work"
fi

# Its build asks git for a commit and would find ours.
GIT_CEILING_DIRECTORIES=$(cd "$home" && pwd -P)
export GIT_CEILING_DIRECTORIES
say "building (Release, native instructions)"
cmake -G Ninja -S "$source/vendor/llama.cpp" -B "$build" \
	-DCMAKE_BUILD_TYPE=Release -DCMAKE_C_COMPILER="$cc" -DCMAKE_CXX_COMPILER="$cxx" \
	-DGGML_NATIVE=ON -DGGML_RPC=ON -DBUILD_SHARED_LIBS=OFF \
	-DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_APP=OFF \
	-DLLAMA_BUILD_UI=OFF -DLLAMA_USE_PREBUILT_UI=OFF -DLLAMA_OPENSSL=OFF \
	>"$home/configure.log" 2>&1 || { tail -n 20 "$home/configure.log" >&2 && die "cmake failed; see $home/configure.log"; }
# shellcheck disable=SC2086 # a list of targets
ninja -C "$build" ${JOBS:+-j "$JOBS"} $programs || die "the build failed (its reason stands above)"

rm -rf -- "$bin"
mkdir -p -- "$bin"
for program in $programs; do cp -- "$build/bin/$program" "$bin/"; done

# Our program asks the library for logits: no tool of theirs prints them.
llama=$source/vendor/llama.cpp
libraries=$(find "$build" -name 'libllama.a' -o -name 'libggml*.a')
# shellcheck disable=SC2086 # a list of files
"$cxx" -O2 -std=c++17 -I"$llama/include" -I"$llama/ggml/include" "$helper" -o "$bin/logits" \
	-Wl,--start-group $libraries -Wl,--end-group -fopenmp -lpthread -ldl -lm || die "logits.cpp does not compile"

{
	printf 'llama.cpp %s (%s %s), ggml %s\n' \
		"$(sed -n 's/^-- llama.cpp version: //p' "$home/configure.log" | head -n 1)" "$package" "$version" \
		"$(sed -n 's/^set(GGML_VERSION_\(MAJOR\|MINOR\|PATCH\) \([0-9]*\))/\2/p' "$llama/ggml/CMakeLists.txt" | paste -sd .)"
	printf '%s, Release, GGML_NATIVE=ON\n' "$("$cxx" --version | head -n 1)"
} >"$bin/VERSION"
printf '%s\n' "$stamp" >"$bin/stamp"
say "built in $bin"
