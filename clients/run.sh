#!/bin/sh
# Walks the guides and runs the scenarios of all languages, or of the one named, against servers of their own.
set -eu
cd "$(dirname "$0")/.."

exec cargo test --workspace --locked --test clients -- "$@"
