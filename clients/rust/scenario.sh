#!/bin/sh
# Tries the client, which generate.sh has built, on the server that the environment names.
set -eu
cd "$(dirname "$0")/../.."

exec "${CARGO_TARGET_DIR:-target}/debug/examples/scenario"
