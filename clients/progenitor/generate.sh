#!/bin/sh
# Generates the client from the OpenAPI document, and builds it with its scenario, into target/clients/progenitor.
#
# DRAGON_DOCUMENT names another document.
set -eu
cd "$(dirname "$0")/../.."

# A cargo that is too old counts as missing.
wanted=$(sed -n 's/^rust-version = "1\.\([0-9]*\)"$/\1/p' clients/progenitor/Cargo.toml)
found=$(cargo --version 2>/dev/null | sed -n 's/^cargo 1\.\([0-9]*\).*/\1/p')
if [ "${found:-0}" -lt "$wanted" ]; then
    echo "skipped: no cargo 1.$wanted or newer" >&2
    exit 77
fi
export CARGO_TARGET_DIR="$PWD/target/clients/progenitor"
cargo build --quiet --locked --lib --examples --manifest-path clients/progenitor/Cargo.toml
