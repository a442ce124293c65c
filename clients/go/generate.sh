#!/bin/sh
# Makes the Go client, a module of its own, in target/clients/go/dragon from the OpenAPI document, or from
# DRAGON_DOCUMENT (seen from the repository's root).
set -eu
cd "$(dirname "$0")/../.."

command -v go >/dev/null || {
    echo "skipped: no go" >&2
    exit 77
}
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
