#!/bin/sh
# Measures Cloud Dragon beside Redis, etcd and Postgres on this machine, and leaves target/loadtest.html and
# target/loadtest.json. What they need and the machine lacks is installed first (Debian's packages).
# Arguments are passed on, for example: loadtest/run.sh --suite quick
set -eu
cd "$(dirname "$0")/.."

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

missing=""
command -v cc >/dev/null || missing="$missing gcc libc6-dev"
# Debian keeps what every .proto file may import apart from the compiler.
case "$(command -v protoc)" in
"") missing="$missing protobuf-compiler libprotobuf-dev" ;;
/usr/bin/protoc) [ -e /usr/include/google/protobuf/descriptor.proto ] || missing="$missing libprotobuf-dev" ;;
esac
command -v redis-server >/dev/null || missing="$missing redis-server"
command -v etcd >/dev/null || missing="$missing etcd-server"
command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing="$missing postgresql"
if [ -n "$missing" ]; then
    if ! command -v apt-get >/dev/null; then
        echo "The load test needs:$missing. Install them, then run this again." >&2
        exit 1
    fi
    as_root env DEBIAN_FRONTEND=noninteractive apt-get update
    # shellcheck disable=SC2086 # one word a package
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing
fi

cargo build --release --locked --package cloud-dragon --package cloud-dragon-loadtest \
    --features cloud-dragon-loadtest/peers
exec target/release/cloud-dragon-loadtest --with-peers \
    --json target/loadtest.json --html target/loadtest.html "$@"
