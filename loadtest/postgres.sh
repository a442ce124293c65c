#!/bin/sh
# Measures the store on Postgres, with one frontend and with two, beside a transaction for each request, and
# leaves target/loadtest-postgres.html and target/loadtest-postgres.json. Postgres is installed first where it
# is missing (Debian's package). Arguments are passed on, for example: loadtest/postgres.sh --server-cpus 0,1
set -eu
cd "$(dirname "$0")/.."

./packages.sh cc postgresql
cargo build --release --locked --package cloud-dragon --package dragon-one-by-one --package cloud-dragon-loadtest
exec target/release/cloud-dragon-loadtest --suite database \
    --json target/loadtest-postgres.json --html target/loadtest-postgres.html "$@"
