#!/bin/sh
# Makes the Go client, a module of its own, in target/clients/go/dragon from the OpenAPI document, or from
# DRAGON_DOCUMENT (seen from the repository's root).
set -eu
cd "$(dirname "$0")/../.."

skip() {
    echo "skipped: no $1" >&2
    exit 77
}
command -v go >/dev/null || skip go
# The one that go.mod gets, where a Go takes the newer one that it asks for. One that does not tell its version is too old.
version=$(cd clients/go && GOWORK=off go env GOVERSION 2>/dev/null | sed -n 's/.*go1\.\([0-9]*\).*/\1/p')
[ "${version:-0}" -ge 26 ] || skip "go 1.26 or newer"

document=${DRAGON_DOCUMENT:-openapi/cloud-dragon.json}
case "$document" in
/*) ;;
*) document=$PWD/$document ;;
esac
client=$PWD/target/clients/go/dragon

mkdir -p "$client"
cp clients/go/dragon/go.mod clients/go/dragon/go.sum "$client"
cd clients/go
GOWORK=off go tool oapi-codegen -config oapi-codegen.yaml -o "$client/dragon.gen.go" "$document"
