#!/bin/sh
# Makes the Java client of the OpenAPI document: target/clients/java/cloud-dragon-client-0.1.0.jar, and in lib/ beside it
# all that a class path needs. Nothing is done when nothing has changed since the last time.
#
# DRAGON_DOCUMENT is another document, from the repository's root.
set -eu
cd "$(dirname "$0")/../.."

skip() {
    echo "skipped: no $1" >&2
    exit 77
}

command -v javac >/dev/null || skip javac
command -v mvn >/dev/null || skip mvn
javac --release 17 -version >/dev/null 2>&1 || skip "javac of Java 17 or newer"

document=${DRAGON_DOCUMENT:-openapi/cloud-dragon.json}
case "$document" in
/*) ;;
*) document=$PWD/$document ;;
esac
output=$PWD/target/clients/java
made=$output/made-of
if cat "$document" clients/java/pom.xml | cmp -s - "$made"; then
    exit 0
fi
maven=$(mvn --batch-mode --version | sed -n 's/.*Apache Maven \([0-9]*\)\.\([0-9]*\).*/\1 * 100 + \2/p')
[ $((${maven:-0})) -ge 308 ] || skip "Maven 3.8 or newer"

mkdir -p "$output"
rm -f "$made"
if ! mvn --batch-mode --no-transfer-progress --strict-checksums --file clients/java/pom.xml \
    -Ddragon.document="$document" package >"$output/maven.log" 2>&1; then
    cat "$output/maven.log" >&2
    exit 1
fi
cat "$document" clients/java/pom.xml >"$made"
