#!/bin/sh
# Runs the scenario, with the client that generate.sh has made, against the server that DRAGON_* name.
set -eu
cd "$(dirname "$0")/../.."

out=$PWD/target/clients/python
# Its steps assert.
PYTHONOPTIMIZE="" PYTHONPATH=$out/package PYTHONPYCACHEPREFIX=$out/pycache exec \
    "$out/venv/bin/python" clients/python/scenario.py
