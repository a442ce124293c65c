#!/bin/sh
# Runs all tests. What they need and the machine lacks is installed first (Debian's packages).
set -eu
cd "$(dirname "$0")"

./packages.sh cc curl faketime openssl pgbouncer postgresql strace
cargo test --workspace --locked "$@"
if [ $# = 0 ]; then
    # The contract over HTTP once more, with every request on Poem's path.
    DRAGON_TEST_FAST_PATH=false cargo test --package cloud-dragon --locked --test blackbox
    # And over Postgres: one process, then three that share the database and get every third connection.
    for frontends in 1 3; do
        DRAGON_TEST_STORE=postgres DRAGON_TEST_FRONTENDS=$frontends \
            cargo test --package cloud-dragon --locked --test blackbox
    done
fi
