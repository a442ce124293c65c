#!/bin/sh
# Shows that the proof can fail: builds each mistake of this folder into the server, one at a time and in a copy of the tree, and
# runs it under faults, judged by the checker of the tree as it is. Exits with 1 if one is not found within three minutes.
set -eu
cd "$(dirname "$0")/../.."

./packages.sh cc faketime postgresql
cargo build --release --locked --package dragon-nemesis
target=$(mkdir -p "${CARGO_TARGET_DIR:-target}/bugs" && cd "${CARGO_TARGET_DIR:-target}" && pwd)
tree=$target/bugs/tree
rm -rf "$tree" "$target/bugs/runs"
mkdir -p "$tree" "$target/bugs/runs"
git ls-files -z --cached --others --exclude-standard >"$target/bugs/files"
tar --create --file "$target/bugs/tree.tar" --null --files-from "$target/bugs/files"
tar --extract --file "$target/bugs/tree.tar" --directory "$tree"

# In the copy, which git must not take for a part of this tree.
patched() {
    (cd "$tree" && GIT_CEILING_DIRECTORIES="$target" git apply "$@")
}

failed=0
try() {
    bug=$1
    shift
    patched "$PWD/proof/bugs/$bug.patch"
    (cd "$tree" && CARGO_TARGET_DIR="$target/bugs/target" cargo build --locked --package cloud-dragon)
    patched --reverse "$PWD/proof/bugs/$bug.patch"
    log=$target/bugs/$bug.log
    # It exits with 1 where it finds something, as it should; what it says decides.
    "$target/release/dragon-nemesis" run --program "$target/bugs/target/debug/cloud-dragon" \
        --folder "$target/bugs/runs/$bug" --seconds 180 --until-problem "$@" >"$log" 2>&1 || true
    if found=$(grep -m 1 -E 'PROBLEM .*: (linearizability|locks|leases|watches|counters|idempotency) in account' "$log"); then
        echo "$bug: found: $(echo "$found" | cut -c 1-160)"
    elif grep -q -E 'PROBLEM|^Error' "$log"; then
        echo "$bug: COULD NOT BE TRIED, see $log"
        failed=1
    else
        echo "$bug: NOT FOUND, see $log"
        failed=1
    fi
}

try answer-before-sync --store embedded --disks --fault power-cut
try id-without-writes --store embedded --disks --fault frontend-killed
try lost-wakeup --store memory --fault clients-cut
try stale-lock --store postgres:3 --fault frontend-paused --fault store-delayed
try blind-retry --store postgres --fault store-answers-lost
exit "$failed"
