#!/bin/sh
# Does everything that the guide tells of with the Go client that generate.sh has made, at the server that the
# environment names: DRAGON_SERVER, DRAGON_TOKEN, DRAGON_READ_TOKEN, DRAGON_ACCOUNT, DRAGON_BREAKING_SERVER.
set -eu
cd "$(dirname "$0")"

command -v go >/dev/null || {
    echo "skipped: no go" >&2
    exit 77
}
scenario=$PWD/../../target/clients/go/bin/scenario

GOWORK=off go build -buildvcs=false -o "$scenario" ./scenario
exec "$scenario"
