#!/bin/sh
# Makes the Python client from the OpenAPI document (DRAGON_DOCUMENT, or the repository's): in target/clients/python,
# the package in package/, its wheel in dist/, and an environment to run it with in venv/.
#
# PYTHON names another interpreter than python3.
set -eu
cd "$(dirname "$0")/../.."

sources=clients/python
out=target/clients/python
document=${DRAGON_DOCUMENT:-openapi/cloud-dragon.json}
python=${PYTHON:-python3}

skip() {
    echo "skipped: no $1" >&2
    exit 77
}
command -v "$python" >/dev/null || skip "$python"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || skip "Python 3.10 or newer"
# Debian keeps what makes virtual environments apart.
"$python" -c 'import ensurepip, venv' 2>/dev/null || skip python3-venv

mkdir -p "$out"
{
    "$python" --version
    cat "$sources/requirements.txt"
} >"$out/wanted"
if ! cmp -s "$out/wanted" "$out/venv/installed"; then
    rm -rf "$out/venv"
    "$python" -m venv "$out/venv"
    "$out/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --no-compile --only-binary :all: \
        --require-hashes --requirement "$sources/requirements.txt"
    cp "$out/wanted" "$out/venv/installed"
fi
# The generator calls its formatter by name.
PATH=$PWD/$out/venv/bin:$PATH

rm -rf "$out/package" "$out/dist"
python "$sources/adapt.py" "$document" "$out/document.json"
openapi-python-client generate --path "$out/document.json" --config "$sources/config.yaml" --meta poetry \
    --output-path "$out/package" --fail-on-warning
mkdir "$out/dist"
(cd "$out/package" && python -c 'from poetry.core.masonry.api import build_wheel; build_wheel("../dist")')
