#!/bin/sh
# Nothing is generated, as this client is written by hand: it is built, with its scenario. It is built where the whole
# workspace is, in `target` or CARGO_TARGET_DIR, and not in target/clients/rust.
set -eu
cd "$(dirname "$0")/../.."

# A cargo that is too old counts as missing.
wanted=$(sed -n 's/^rust-version = "1\.\([0-9]*\)"$/\1/p' Cargo.toml)
found=$(cargo --version 2>/dev/null | sed -n 's/^cargo 1\.\([0-9]*\).*/\1/p')
if [ "${found:-0}" -lt "$wanted" ]; then
    echo "skipped: no cargo 1.$wanted or newer" >&2
    exit 77
fi
# Cargo tells a test which package it is of. To the build of ring that would be news: it would be built anew, with all that
# stands on it.
for name in $(env | sed -n -e 's/^\(CARGO_PKG_[A-Z_]*\)=.*/\1/p' -e 's/^\(CARGO_MANIFEST_[A-Z_]*\)=.*/\1/p'); do
    unset "$name"
done
# Of the workspace, as the tests are: a package by itself has other features of its dependencies, which would be built anew.
cargo build --quiet --workspace --locked --example scenario
