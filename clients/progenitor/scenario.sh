#!/bin/sh
# Tries the generated client, which generate.sh has built, on the server that the environment names.
set -eu
cd "$(dirname "$0")/../.."

exec target/clients/progenitor/debug/examples/scenario
