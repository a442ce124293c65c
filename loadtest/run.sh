#!/bin/sh
# Measures Cloud Dragon beside Redis, etcd and Postgres on this machine, and leaves target/loadtest.html and
# target/loadtest.json. What they need and the machine lacks is installed first (Debian's packages).
# Arguments are passed on, for example: loadtest/run.sh --suite quick
set -eu
cd "$(dirname "$0")/.."

./packages.sh cc etcd postgresql protoc redis
cargo build --release --locked --package cloud-dragon --package cloud-dragon-loadtest \
    --features cloud-dragon-loadtest/peers
exec target/release/cloud-dragon-loadtest --with-peers \
    --json target/loadtest.json --html target/loadtest.html "$@"
