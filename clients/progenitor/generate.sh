#!/bin/sh
# Generates the client from the OpenAPI document, and builds it with its scenario, into target/clients/progenitor.
#
# DRAGON_DOCUMENT names another document.
set -eu
cd "$(dirname "$0")/../.."

if ! command -v cargo >/dev/null; then
    echo "skipped: no cargo" >&2
    exit 77
fi
export CARGO_TARGET_DIR="$PWD/target/clients/progenitor"
cargo build --quiet --locked --lib --examples --manifest-path clients/progenitor/Cargo.toml
