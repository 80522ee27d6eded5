#!/usr/bin/env bash
# The tests under the race detector, without those that start real processes.
#
# Go 1.26's detector can crash in testing/synctest ("ThreadSanitizer: CHECK
# failed", golang/go#78156). Packages that fell to exactly that are run once
# more; any other failure stands.
set -uo pipefail
export CGO_ENABLED=1
log=$(mktemp)
trap 'rm -f "$log"' EXIT
go test -race -short -timeout 40m "${@:-./...}" 2>&1 | tee "$log"
status=${PIPESTATUS[0]}
[ "$status" -eq 0 ] && exit 0
mapfile -t failed < <(awk '$1 == "FAIL" && NF >= 2 { print $2 }' "$log" | sort -u)
if [ "${#failed[@]}" -eq 0 ] || ! grep -q 'ThreadSanitizer: CHECK failed' "$log" || grep -q -e '--- FAIL' -e 'DATA RACE' "$log"; then
  exit "$status"
fi
echo "race: the detector itself crashed; once more: ${failed[*]}"
go test -race -short -timeout 40m "${failed[@]}"
