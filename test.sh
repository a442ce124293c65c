#!/bin/sh
# Runs all tests. What they need and the machine lacks is installed first (Debian's packages).
set -eu
cd "$(dirname "$0")"

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

missing=""
command -v strace >/dev/null || missing="$missing strace"
command -v curl >/dev/null || missing="$missing curl"
command -v cc >/dev/null || missing="$missing gcc libc6-dev"
command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing="$missing postgresql"
if [ -n "$missing" ]; then
    if ! command -v apt-get >/dev/null; then
        echo "The tests need:$missing. Install them, then run this again." >&2
        exit 1
    fi
    as_root env DEBIAN_FRONTEND=noninteractive apt-get update
    # shellcheck disable=SC2086 # one word a package
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing
fi

cargo test --workspace --locked "$@"
if [ $# = 0 ]; then
    # The contract over HTTP once more, with every request on Poem's path.
    DRAGON_FAST_PATH=false cargo test -p cloud-dragon --locked --test blackbox
fi
