#!/usr/bin/env bash
# Three nodes and a gateway on loopback answer the official OpenAI clients: the
# Python script and the Go module of gateway/clienttest.
#
#   scripts/client-test.sh      run both, exit status 0 when both pass
#
# FARLABS_BIN holds start_node and farclient (default: bin); the model must be
# in the cache (make model). Logs are shown when something fails.
set -euo pipefail

openai=3.57.0 # of the package openai; Go's client stands in gateway/clienttest/go.mod
model=smollm2-135m-instruct
memory=40MiB # of weights and KV: 13 of the 30 blocks, so a route has three hops
patience=60  # seconds for each event

root=$(cd "$(dirname "$0")/.." && pwd)
bin=$(cd "${FARLABS_BIN:-$root/bin}" && pwd)
venv=$root/.cache/openai-$openai

say() { printf 'client-test: %s\n' "$*"; }
die() {
	printf 'client-test: %s\n' "$@" >&2
	exit 1
}

for program in start_node farclient; do
	[ -x "$bin/$program" ] || die "$bin/$program is not there; run: make build"
done

# The environment is whole once its stamp is written.
if [ ! -f "$venv/complete" ]; then
	say "installing openai $openai into .cache/"
	rm -rf -- "$venv"
	python3 -m venv "$venv" || die "python3 -m venv failed (Debian: apt install python3-venv)"
	"$venv/bin/python" -m pip install --quiet --disable-pip-version-check "openai==$openai" ||
		die "pip could not install openai $openai (its reason stands above)"
	: >"$venv/complete"
fi

work=$(mktemp -d)
pids=()

# end stops the processes, by their pids, and shows their logs after a failure.
end() {
	local status=$? pid log
	trap - EXIT
	for pid in "${pids[@]}"; do kill -TERM "$pid" 2>/dev/null || true; done
	for pid in "${pids[@]}"; do
		for _ in $(seq 60); do
			kill -0 "$pid" 2>/dev/null || break
			sleep 0.1
		done
		kill -KILL "$pid" 2>/dev/null || true
		wait "$pid" 2>/dev/null || true
	done
	if [ "$status" -ne 0 ]; then
		for log in "$work"/*.log; do
			[ -s "$log" ] && printf -- '--- %s\n' "$(basename "$log")" && tail -n 20 "$log"
		done >&2
	fi
	rm -rf -- "$work"
	exit "$status"
}
trap end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# start NAME PROGRAM ARG…: a child whose events go to NAME.events.
start() {
	local name=$1 program=$2
	shift 2
	"$bin/$program" "$@" >"$work/$name.events" 2>"$work/$name.log" &
	pids+=($!)
	eval "pid_$name=$!"
}

# event NAME EVENT FIELD: waits until NAME has printed EVENT, then prints its
# FIELD (the first element of a list).
event() {
	local pid="pid_$1"
	"$venv/bin/python" - "$work/$1.events" "$2" "$3" "${!pid}" "$patience" <<'EOP' || die "$1: no event \"$2\""
import json, os, sys, time

path, event, field, pid, patience = sys.argv[1:]
end = time.monotonic() + float(patience)
with open(path) as f:
    line = ""
    while time.monotonic() < end:
        line += f.readline()
        if not line.endswith("\n"):
            try:
                os.kill(int(pid), 0)
            except ProcessLookupError:
                sys.exit(1)
            time.sleep(0.02)
            continue
        e, line = json.loads(line), ""
        if e.get("event") == event:
            value = e[field]
            print(value[0] if isinstance(value, list) else value)
            sys.exit(0)
sys.exit(1)
EOP
}

node() {
	start "$1" start_node --json --model "$model" --name "$1" --memory "$memory" \
		--listen 127.0.0.1:0 --data-dir "$work/$1" "${@:2}"
}

node alpha
bootstrap=$(event alpha listening addrs)
node beta --bootstrap "$bootstrap"
event beta listening peer >/dev/null
node gamma --bootstrap "$bootstrap"
for name in alpha beta gamma; do
	blocks=$(event "$name" serving blocks)
	say "node $name serves blocks $blocks"
done
start gateway farclient serve --json --model "$model" --listen 127.0.0.1:0 \
	--bootstrap "$bootstrap" --data-dir "$work/client"
url=$(event gateway listening url)
say "gateway on $url"

export OPENAI_BASE_URL=$url/v1 OPENAI_API_KEY=none
unset FARLABS_TEST_MODEL OPENAI_ORG_ID OPENAI_PROJECT_ID HTTP_PROXY HTTPS_PROXY ALL_PROXY http_proxy https_proxy all_proxy

failed=0
say "openai $openai for Python"
"$venv/bin/python" "$root/gateway/clienttest/openai_test.py" || failed=1
say "openai-go"
(cd "$root/gateway/clienttest" && GOWORK=off "${GO:-go}" test -count 1 -timeout 3m ./...) || failed=1
[ "$failed" -eq 0 ] || die "a claim of an official client does not hold"
say "both clients are content"
