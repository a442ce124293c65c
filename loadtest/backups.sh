#!/bin/sh
# What requests notice of a backup: writes at a steady rate, in turns without a backup and during one of an account of 260 MB
# that can't be compressed. The S3 server is Garage (see backups/start-garage.sh), on the same machine but in memory
# and with what the processors have left. Arguments are passed on, for example: loadtest/backups.sh --rate 1000
set -eu
cd "$(dirname "$0")/.."
. backups/start-garage.sh

./packages.sh cc curl
cargo build --release --locked --package cloud-dragon --package cloud-dragon-loadtest
programs=$PWD/target/release
folder=$(mktemp -d) memory=$(mktemp -d -p /dev/shm)
garage="" server=""
# shellcheck disable=SC2086 # none, one or two words
trap 'kill $garage $server 2>/dev/null || true; rm -rf "$folder" "$memory"' EXIT
cd "$folder"

start_garage "$memory" chrt --idle 0
until "$programs/cloud-dragon" backup list > /dev/null 2>&1; do sleep 0.2; done
url=http://127.0.0.1:8099
"$programs/cloud-dragon" serve --listen 127.0.0.1:8099 --store embedded:store --backup-every never 2> dragon.log &
server=$!
until curl -sf $url/health/ready > /dev/null; do sleep 0.1; done
for key in $(seq 1 256); do
    { printf '{"KVSet":[{"Key":"k%s","Value":"' "$key"; head -c 780000 /dev/urandom | base64 -w 0; printf '"}]}'; } > large.json
    curl -sf --json @large.json $url/db/large > /dev/null
done
# Not to be measured: the disk at work on that.
sync

measure() {
    "$programs/cloud-dragon-loadtest" --url $url --scenario kv-write --connections 64 --accounts 8 --keys 1000 \
        --rate 3000 --seconds 10 --json figures.json "$@" > /dev/null 2>&1
    sed -n 's/^ *"\(p50\|p90\|p99\|p999\)_us": \(.*\),$/\1 \2 µs/p' figures.json | head -n 4 | tr '\n' ' '
    echo
}
for round in 1 2 3 4 5; do
    printf 'without: '
    measure "$@"
    touch during
    (
        while [ -e during ]; do
            curl -s --json "{\"KVSet\":[{\"Key\":\"k1\",\"Value\":$round}]}" $url/db/large > /dev/null
            curl -s -X POST $url/backups > backup.json
        done
    ) &
    backing_up=$!
    printf 'during:  '
    measure "$@"
    rm during
    wait $backing_up
done
