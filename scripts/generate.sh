#!/usr/bin/env bash
# Checks that the generated files are what their generators make, byte for byte:
# makes them again and compares. What has changed stays for a look.
set -euo pipefail
cd "$(dirname "$0")/.."
files() { grep -rlE --include='*.s' --include='*.go' '^// Code generated ' kernels internal | LC_ALL=C sort; }
sums() { files | xargs sha256sum; }
before=$(sums)
if [ "$(files | wc -l)" -lt 12 ]; then
  echo "generate: found $(files | wc -l) generated files, there are more" >&2
  exit 1
fi
"${GO:-go}" generate ./kernels/... ./internal/...
if ! diff <(echo "$before") <(sums) >/dev/null; then
  echo "generate: these are not what their generators make:" >&2
  diff <(echo "$before") <(sums) | awk '/^>/ {print "  " $3}' >&2
  exit 1
fi
