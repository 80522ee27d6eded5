#!/usr/bin/env bash
# Lists the licence of every module that start_node and farclient are linked
# from, on Linux, macOS and Windows, as the table in LICENSE_ATTRIBUTION.md.
#
#   scripts/licenses.sh               print the table
#   scripts/licenses.sh --write       put it into LICENSE_ATTRIBUTION.md
#   scripts/licenses.sh --check       fail if the table there is another one
#   scripts/licenses.sh --texts FILE  write all licence and notice texts to FILE,
#                                     which has to go with the binaries
#
# A licence is recognised by sentences of its text; one that is not fails.
set -euo pipefail
cd "$(dirname "$0")/.."
export LC_ALL=C

doc=LICENSE_ATTRIBUTION.md
begin='<!-- modules: made by scripts/licenses.sh -->'
end='<!-- end of modules -->'

# modules: "path version folder" of each.
modules() {
	for os in linux darwin windows; do
		GOOS=$os GOARCH=amd64 go list -deps \
			-f '{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}} {{.Dir}}{{end}}{{end}}' ./cmd/...
	done | sed '/^$/d' | sort -u
}

# texts_of FOLDER: the module's licence and notice files.
texts_of() {
	find "$1" -maxdepth 1 -type f \( -iname 'licen[sc]e*' -o -iname 'copying*' -o -iname 'notice*' \) | sort
}

# licence_of FOLDER: SPDX identifiers of what its licence files say.
licence_of() {
	local all name found=''
	all=$(texts_of "$1" | grep -vi '/notice' | while read -r f; do cat -- "$f"; done | tr -s '[:space:]' ' ')
	add() { found="${found:+$found, }$1"; }
	has() { grep -qiF -- "$1" <<<"$all"; }
	if has 'Mozilla Public License'; then add MPL-2.0; fi
	if has 'Apache License' || has 'Apache-2.0' || has 'Apache License, Version 2.0'; then add Apache-2.0; fi
	if has 'Permission is hereby granted, free of charge'; then add MIT; fi
	if has 'Redistribution and use in source and binary forms'; then
		if has 'Neither the name' || has 'names of its contributors may be used to endorse'; then add BSD-3-Clause; else add BSD-2-Clause; fi
	fi
	if has 'Permission to use, copy, modify, and/or distribute this software for any purpose' ||
		has 'Permission to use, copy, modify, and distribute this software for any purpose'; then add ISC; fi
	if has 'This is free and unencumbered software'; then add Unlicense; fi
	[ -n "$found" ] || return 1
	printf '%s\n' "$found"
}

table() {
	printf '| module | version | licence |\n|---|---|---|\n'
	modules | while read -r path version dir; do
		licence=$(licence_of "$dir") || {
			echo "licenses: no known licence in $path $version: look at its files and teach this script" >&2
			exit 1
		}
		case $licence in *MPL*) licence="**$licence**" ;; esac
		printf '| %s | %s | %s |\n' "$path" "$version" "$licence"
	done
}

# in_doc: what stands between the marks.
in_doc() { awk -v b="$begin" -v e="$end" '$0 == e { on = 0 } on; $0 == b { on = 1 }' "$doc"; }

case "${1:-}" in
'') table ;;
--write)
	new=$(mktemp)
	trap 'rm -f -- "$new"' EXIT
	table >"$new"
	{
		awk -v b="$begin" '1; $0 == b { exit }' "$doc"
		cat -- "$new"
		awk -v e="$end" '$0 == e { on = 1 } on' "$doc"
	} >"$new.doc"
	mv -- "$new.doc" "$doc"
	;;
--check)
	diff <(in_doc) <(table) || {
		echo "licenses: $doc is out of date; run scripts/licenses.sh --write" >&2
		exit 1
	}
	;;
--texts)
	out=${2:?usage: scripts/licenses.sh --texts FILE}
	{
		printf '=== the Go standard library\n\n'
		cat -- "$(go env GOROOT)/LICENSE"
		modules | while read -r path version dir; do
			texts_of "$dir" | while read -r f; do
				printf '\n=== %s %s, %s\n\n' "$path" "$version" "$(basename "$f")"
				cat -- "$f"
			done
		done
	} >"$out"
	;;
*)
	echo "licenses: unknown argument $1; see the head of $0" >&2
	exit 2
	;;
esac
