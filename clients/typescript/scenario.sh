#!/bin/sh
# Runs the scenario against the server that DRAGON_SERVER names, with the client that generate.sh has made.
set -eu
cd "$(dirname "$0")/../.."

package=target/clients/typescript/cloud-dragon-client
rm -rf "$package/scenario" "$package/scenario-dist"
cp -R clients/typescript/scenario "$package"
node "$package/node_modules/typescript/bin/tsc" --project "$package/scenario"
node "$package/scenario-dist/scenario.js"
