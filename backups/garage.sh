#!/bin/sh
# Backups on a real S3 server other than the tests': Garage (https://garagehq.deuxfleurs.fr), from PATH. Starts one in a
# temporary folder, takes backups of a server into it, in parts and as an increment, checks them, loses the data folder,
# restores it, and compares.
set -eu
cd "$(dirname "$0")/.."
. backups/start-garage.sh

cargo build --release --locked --package cloud-dragon
program=$PWD/target/release/cloud-dragon
folder=$(mktemp -d)
garage="" server=""
# shellcheck disable=SC2086 # none, one or two words
trap 'kill $garage $server 2>/dev/null || true; rm -rf "$folder"' EXIT
cd "$folder"

garage --version
start_garage "$folder"
export DRAGON_STORE=embedded:$folder/store
until "$program" backup list > /dev/null 2>&1; do sleep 0.2; done

serve() {
    "$program" serve --listen 127.0.0.1:8099 --backup-every never "$@" 2>> dragon.log &
    server=$!
    until curl -sf http://127.0.0.1:8099/health/ready > /dev/null; do sleep 0.1; done
}
put() {
    curl -sf --json "$2" "http://127.0.0.1:8099/db/$1" > /dev/null
}
export_all() {
    "$program" export --store "$DRAGON_STORE" --all --output "$1" 2> /dev/null
    # The account's revision goes on after a restore; everything else is the same.
    for file in "$1"/*; do sed -i '1d;$d' "$file"; done
}

serve
put small '{"KVSet":[{"Key":"greeting","Value":"hello"}],"Atomic":[{"Key":"n","Add":7}]}'
put small '{"LockID":"l","LockDur":300,"IdempotencyIDs":["once"]}'
for key in $(seq 1 24); do
    value=$(head -c 700000 /dev/urandom | base64 -w 0)
    printf '{"KVSet":[{"Key":"k%s","Value":"%s"}]}' "$key" "$value" > large.json
    curl -sf --json @large.json http://127.0.0.1:8099/db/large > /dev/null
done
"$program" backup now --server http://127.0.0.1:8099
put small '{"KVSet":[{"Key":"greeting","Value":"hello again"}]}'
"$program" backup now --server http://127.0.0.1:8099
kill $server
wait $server || true
server=""
export_all before
"$program" backup list
"$program" backup verify

rm -rf store
"$program" backup restore
export_all after
diff -r before after
echo "restored: the same"
