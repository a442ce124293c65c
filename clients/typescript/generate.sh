#!/bin/sh
# Makes the TypeScript client from the OpenAPI document (DRAGON_DOCUMENT, or the repository's): a package in
# target/clients/typescript, as the folder cloud-dragon-client/ and as a file for npm install.
set -eu
cd "$(dirname "$0")/../.."

document=${DRAGON_DOCUMENT:-openapi/cloud-dragon.json}
sources=clients/typescript
out=target/clients/typescript
package=$out/cloud-dragon-client

skip() {
    echo "skipped: no $1" >&2
    exit 77
}
command -v node >/dev/null || skip node
command -v npm >/dev/null || skip npm
node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' || skip "node 20 or newer"

mkdir -p "$package"
rm -rf "$package/src" "$package/dist"
cp -R "$sources/package.json" "$sources/package-lock.json" "$sources/tsconfig.json" "$sources/make-types.js" \
    "$sources/src" "$package"
if ! cmp -s "$package/package-lock.json" "$package/node_modules/installed"; then
    npm ci --prefix "$package" --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null
    cp "$package/package-lock.json" "$package/node_modules/installed"
fi
node "$package/make-types.js" "$document" "$package"
node "$package/node_modules/typescript/bin/tsc" --project "$package"

rm -f "$out"/cloud-dragon-client-*.tgz
npm pack --silent --pack-destination "$out" "./$package" >/dev/null
