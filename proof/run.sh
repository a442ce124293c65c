#!/bin/sh
# The proof under faults in one command: the simulation, then real processes of every store that is here under every fault,
# with a table at the end. Exits with 1 if anything was found. About a quarter of an hour, beside building.
#
# DRAGON_PROOF_MINUTES changes how long the real processes run (12); arguments go to `dragon-nemesis matrix`.
set -eu
cd "$(dirname "$0")/.."

./packages.sh cc faketime postgresql
features=""
if [ -n "${FDB_CLIENT_LIB_PATH:-}" ] || ldconfig -p | grep -q libfdb_c; then
    features="--features foundationdb"
fi
# shellcheck disable=SC2086 # none or two words
cargo build --release --locked --package cloud-dragon $features
cargo build --release --locked --package dragon-simulation --package dragon-nemesis
programs=${CARGO_TARGET_DIR:-target}/release
found=0
"$programs/dragon-simulation" --minutes 1 --first "$(date +%s)" --histories "$programs" || found=1
"$programs/dragon-nemesis" matrix --minutes "${DRAGON_PROOF_MINUTES:-12}" --program "$programs/cloud-dragon" "$@" || found=1
exit "$found"
