#!/bin/sh
# Runs all tests. What they need and the machine lacks is installed first (Debian's packages).
set -eu
cd "$(dirname "$0")"

./packages.sh cc curl postgresql strace
cargo test --workspace --locked "$@"
if [ $# = 0 ]; then
    # The contract over HTTP once more, with every request on Poem's path.
    DRAGON_TEST_FAST_PATH=false cargo test --package cloud-dragon --locked --test blackbox
fi
