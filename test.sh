#!/bin/sh
# Runs all tests. What they need and the machine lacks is installed first (Debian's packages).
set -eu
cd "$(dirname "$0")"

./packages.sh cc curl faketime openssl pgbouncer postgresql prometheus python3 strace
cargo test --workspace --locked "$@"
if [ $# = 0 ]; then
    # The contract over HTTP once more, with every request on Poem's path. Of the workspace, as before: a package by itself
    # has other features of its dependencies, and would be built anew with all of them.
    # Without what never takes the fast path, or whose requests are not what it is about.
    DRAGON_TEST_FAST_PATH=false cargo test --workspace --locked --test blackbox -- --skip backups:: --skip commands:: \
        --skip durability:: --skip formats:: --skip observability:: --skip tls:: --skip transfer::
    # And over Postgres: one process, then three that share the database and get every third connection.
    for frontends in 1 3; do
        DRAGON_TEST_STORE=postgres DRAGON_TEST_FRONTENDS=$frontends \
            cargo test --workspace --locked --test blackbox
    done
    # And over FoundationDB, where its client library is: it can be had from nowhere but its own releases.
    if [ -n "${FDB_CLIENT_LIB_PATH:-}" ] || ldconfig -p | grep -q libfdb_c; then
        cargo test --package dragon-foundationdb --features client --locked
        cargo build --package cloud-dragon --features foundationdb --locked
        if command -v "${DRAGON_FDBSERVER:-fdbserver}" >/dev/null; then
            export DRAGON_TEST_STORE=foundationdb
            for frontends in 1 2; do
                DRAGON_TEST_FRONTENDS=$frontends \
                    cargo test --package cloud-dragon --features foundationdb --locked --test blackbox
            done
            cargo test --package cloud-dragon --features foundationdb --locked --test frontends
        else
            echo "skipped: no fdbserver"
        fi
    else
        echo "skipped: no client library of FoundationDB (libfdb_c)"
    fi
fi
