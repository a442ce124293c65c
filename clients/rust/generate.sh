#!/bin/sh
# Nothing is generated, as this client is written by hand: it is built, with its scenario.
set -eu
cd "$(dirname "$0")/../.."

if ! command -v cargo >/dev/null; then
    echo "skipped: no cargo" >&2
    exit 77
fi
# Cargo tells a test which package it is of. To the build of ring that would be news: it would be built anew, with all that
# stands on it.
for name in $(env | sed -n -e 's/^\(CARGO_PKG_[A-Z_]*\)=.*/\1/p' -e 's/^\(CARGO_MANIFEST_[A-Z_]*\)=.*/\1/p'); do
    unset "$name"
done
# Of the workspace, as the tests are: a package by itself has other features of its dependencies, which would be built anew.
cargo build --quiet --workspace --locked --example scenario
