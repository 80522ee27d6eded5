#!/usr/bin/env bash
# Runs every fuzz target of the module for the given time each.
set -euo pipefail
time=${1:-30s}
found=0
while IFS=: read -r file name; do
  found=$((found + 1))
  dir=$(dirname "$file")
  echo "fuzz $dir $name $time"
  go test -run '^$' -fuzz "^${name}\$" -fuzztime "$time" -fuzzminimizetime 20x "$dir"
done < <(grep -rhoEH --include='*_test.go' '^func Fuzz[A-Za-z0-9_]+' . | sed 's/:func /:/' | sort)
if [ "$found" -lt 8 ]; then
  echo "fuzz: found $found targets, there are more" >&2
  exit 1
fi
echo "fuzz: $found targets, none failed"
