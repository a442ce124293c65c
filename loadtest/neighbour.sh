#!/bin/sh
# What an account notices of another one that asks for ten times its quota: writes at a steady rate to eight accounts, in turns
# without the other one and beside it. Arguments are passed on, for example: loadtest/neighbour.sh --rate 400
set -eu
cd "$(dirname "$0")/.."

./packages.sh cc curl wrk
cargo build --release --locked --package cloud-dragon --package cloud-dragon-loadtest
programs=$PWD/target/release
folder=$(mktemp -d)
server="" flood=""
# shellcheck disable=SC2086 # none, one or two words
trap 'kill $flood $server 2>/dev/null || true; rm -rf "$folder"' EXIT
cd "$folder"

url=http://127.0.0.1:8098
"$programs/cloud-dragon" serve --listen 127.0.0.1:8098 --store embedded:store --quota-requests 100 2> dragon.log &
server=$!
until curl -sf $url/health/ready > /dev/null; do kill -0 $server; sleep 0.1; done
# 10 connections with a request each 10 ms.
cat > flood.lua <<'LUA'
wrk.method = "POST"
wrk.body = '{"KVSet":[{"Key":"k","Value":1}]}'
function delay() return 10 end
LUA

measure() {
    "$programs/cloud-dragon-loadtest" --url $url --scenario kv-write --connections 16 --accounts 8 --keys 1000 \
        --rate 400 --seconds 15 --json figures.json "$@" > loadtest.log 2>&1
    sed -n 's/^ *"\(p50\|p90\|p99\|p999\)_us": \(.*\),$/\1 \2 µs/p' figures.json | head -n 4 | tr '\n' ' '
    echo
}
for round in 1 2 3 4 5; do
    printf 'round %s, alone:  ' $round
    measure "$@"
    wrk --threads 1 --connections 10 --duration 60s --script flood.lua $url/db/flood > flood.txt &
    flood=$!
    printf 'round %s, beside: ' $round
    measure "$@"
    # It reports when it is interrupted.
    kill -INT $flood
    wait $flood || true
    flood=""
    grep -E 'Requests/sec|Non-2xx' flood.txt
done
