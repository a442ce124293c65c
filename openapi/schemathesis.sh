#!/bin/sh
# Asks running servers what their own document says that they take, and what it says that they don't, with all checks on:
# one without tokens on memory, one with tokens on the embedded store. Any failure is one of this script's.
#
# DRAGON_EXAMPLES says how many requests are made up for each operation, DRAGON_SEED which.
set -eu
cd "$(dirname "$0")/.."

root=$PWD
target=${CARGO_TARGET_DIR:-target}
case "$target" in
/*) ;;
*) target=$root/$target ;;
esac
venv=$target/tools/schemathesis
requirements=openapi/schemathesis-requirements.txt
if ! cmp -s "$requirements" "$venv/installed"; then
    ./packages.sh python3
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$requirements"
    cp "$requirements" "$venv/installed"
fi
# As the tests build it: without their features all would be built once more.
cargo test --workspace --locked --no-run
program=${DRAGON_TEST_PROGRAM:-$target/debug/cloud-dragon}

scratch=$(mktemp -d)
server=""
stop() {
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    [ -z "$server" ] || wait "$server" || true
    server=""
}
trap 'stop; rm -rf "$scratch"' EXIT
trap 'exit 1' INT TERM

# Starts a server with these settings, and sets address.
start() {
    : >"$scratch/log"
    "$program" serve --listen 127.0.0.1:0 --drain-delay 0 "$@" >"$scratch/log" 2>&1 &
    server=$!
    address=""
    for _ in $(seq 100); do
        address=$(sed -n 's/.*\(http:\/\/127\.0\.0\.1:[0-9]*\).*/\1/p' "$scratch/log" | head -n 1)
        [ -z "$address" ] || return 0
        sleep 0.1
    done
    cat "$scratch/log" >&2
    exit 1
}

# Asks it.
ask() {
    # There, since it leaves files where it runs.
    cd "$scratch"
    SCHEMATHESIS_HOOKS=schemathesis_hooks PYTHONPATH=$root/openapi PYTHONDONTWRITEBYTECODE=1 \
        "$venv/bin/schemathesis" run "$address/openapi.json" --checks all --continue-on-failure \
        --max-examples "${DRAGON_EXAMPLES:-100}" --seed "${DRAGON_SEED:-1}" --request-timeout 10 \
        --no-color "$@" || failed=1
    cd "$root"
    # A server that has died in between is a failure too, whatever was seen of it.
    kill -0 "$server" || failed=1
}

failed=0
unset DRAGON_TOKEN
start --store memory:
ask
stop

DRAGON_TOKEN=$("$program" token new all --tokens "$scratch/tokens.toml" --account '*' --right admin)
export DRAGON_TOKEN
start --store "embedded:$scratch/data" --tokens "$scratch/tokens.toml"
ask --header "Authorization: Bearer $DRAGON_TOKEN"
exit "$failed"
