#!/bin/sh
# Fuzzes the targets named, or all, one after another, each for DRAGON_FUZZ_SECONDS (60). What libFuzzer finds on the way is kept
# in target/corpus, what fails in artifacts.
set -eu
cd "$(dirname "$0")"

command -v cargo-fuzz >/dev/null || cargo install --locked cargo-fuzz --version 0.13.2
# The versions of the workspace, and what libFuzzer needs besides.
cp ../Cargo.lock Cargo.lock
[ $# -gt 0 ] || set -- decide head import layout request
for target; do
    case "$target" in
    head) words=-dict=http.dict ;;
    request | import) words=-dict=json.dict ;;
    *) words=-use_value_profile=0 ;;
    esac
    mkdir -p "target/corpus/$target"
    # Without a sanitizer it builds with the workspace's own toolchain; with one it would need a nightly one. The product has no
    # unsafe code.
    cargo fuzz run --sanitizer none "$target" "target/corpus/$target" "corpus/$target" -- \
        -max_total_time="${DRAGON_FUZZ_SECONDS:-60}" -max_len=4096 -timeout=10 -print_final_stats=1 "$words"
done
