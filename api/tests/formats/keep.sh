#!/bin/sh
# Keeps what a version of the program stores, for the tests of all later ones: ./keep.sh NAME PROGRAM POSTGRES_URL
# writes NAME/embedded.tar.gz (the folder of a server that was killed), NAME/postgres.sql (a dump of its schema), an export
# of each (NAME/*.ndjson) and when that was (NAME/kept-at). Run it once for each release, with the program as released. From before
# the first one there are the two formats of rows that there have been.
set -eu
name=$1 program=$(realpath "$2") postgres=$3
cd "$(dirname "$0")"
work=$(mktemp -d)
server=""
trap '[ -z "$server" ] || kill -9 "$server" 2>/dev/null || true; rm -rf "$work"' EXIT
mkdir -p "$name"

start() {
    "$program" serve --listen 127.0.0.1:0 --store "$1" --log-file-bytes 65536 2>"$work/log" &
    server=$!
    until [ -s "$work/log" ] && url=$(sed -n 's/.*listening on \(http:[0-9.:/]*\).*/\1/p' "$work/log") && [ -n "$url" ] &&
        curl -sf "$url/health/ready" >"$work/ready"; do
        kill -0 "$server"
        sleep 0.1
    done
}

db() { # account, body
    curl -sf --json "$2" "$url/db/$1" >"$work/answer"
}

# The tests know this content.
fill() { # file for an export
    db main '{"KVSet":[{"Key":"greeting","Value":"hello"},{"Key":"gone","Value":1},{"Key":"key \u00e9","Value":2}]}'
    db main '{"KVSet":[{"Key":"exact","Value":{"n":12345678901234567890,"b":[1.50,"\u00e9"],"a":null}}]}'
    db main '{"KVSet":[{"Key":"gone","Delete":true},{"Key":"century","Value":3,"TTL":3153600000}]}'
    db main '{"Atomic":[{"Key":"up","Add":42},{"Key":"down","Set":-9223372036854775808}]}'
    db main '{"LockID":"job","LockDur":86400,"LockOwner":"worker-7","IdempotencyIDs":["once","twice"],"IdempotencyTTL":2592000}'
    db main "{\"KVSet\":[{\"Key\":\"large\",\"Value\":\"$(head -c 40000 /dev/zero | tr '\0' x)\"}]}"
    curl -sf "$url/export/main" >"$1"
    curl -sf --data-binary "@$1" -H 'Content-Type: application/x-ndjson' "$url/import/imported" >"$work/answer"
    db deleted '{"KVSet":[{"Key":"k","Value":1}]}'
    db deleted '{"KVSet":[{"Key":"k","Value":2}]}'
    curl -sf -X DELETE "$url/accounts/deleted" >"$work/answer"
}

date -u '+%F %T' >"$name/kept-at"
start "embedded:$work/data"
fill "$name/embedded.ndjson"
kill -9 "$server"
wait "$server" 2>/dev/null || true
tar -C "$work" --sort=name --owner=0 --group=0 --numeric-owner -czSf "$name/embedded.tar.gz" data

separator='?'
case "$postgres" in *\?*) separator='&' ;; esac
start "$postgres${separator}schema=kept"
fill "$name/postgres.ndjson"
kill -9 "$server"
wait "$server" 2>/dev/null || true
# As plain statements, without what only psql understands.
pg_dump --schema=kept --no-owner --inserts "$postgres" | sed '/^\\/d' >"$name/postgres.sql"
psql -q "$postgres" -c 'DROP SCHEMA kept CASCADE' 2>/dev/null
