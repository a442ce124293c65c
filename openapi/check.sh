#!/bin/sh
# Checks the document: by redocly's rules (redocly.yaml), without a warning; and by oasdiff, that no client of the last release is
# broken by it (released.json is the last release's document; before the first, what that will be). Their versions are pinned in the folders of their names.
set -eu
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-$PWD/target}
tools=$target/tools
document=openapi/cloud-dragon.json

lint() {
    if ! command -v npm >/dev/null; then
        echo "skipped: no npm, by which redocly comes" >&2
        return 0
    fi
    redocly=$tools/redocly
    if ! cmp -s openapi/redocly/package-lock.json "$redocly/package-lock.json"; then
        rm -rf "$redocly"
        mkdir -p "$redocly"
        cp openapi/redocly/package.json openapi/redocly/package-lock.json "$redocly"
        npm ci --prefix "$redocly" --no-audit --no-fund --loglevel error ||
            { rm "$redocly/package-lock.json"; return 1; }
    fi
    REDOCLY_TELEMETRY=off REDOCLY_SUPPRESS_UPDATE_NOTICE=true \
        "$redocly/node_modules/.bin/redocly" lint --config openapi/redocly.yaml "$document"
}

breaking() {
    if ! command -v go >/dev/null; then
        echo "skipped: no go, by which oasdiff comes" >&2
        return 0
    fi
    oasdiff=$tools/oasdiff
    go build -C openapi/oasdiff -o "$oasdiff" github.com/oasdiff/oasdiff
    "$oasdiff" breaking --fail-on WARN openapi/released.json "$document"
    # That it can find anything: a field by another name.
    broken=$target/tools/broken.json
    sed 's/"LockDur"/"LockDuration"/' "$document" >"$broken"
    if "$oasdiff" breaking --fail-on WARN "$document" "$broken" >/dev/null; then
        echo "oasdiff does not find a field that was renamed" >&2
        return 1
    fi
}

lint
breaking
