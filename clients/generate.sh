#!/bin/sh
# Makes the clients of all languages, or of those named, into target/clients. A language whose tools are missing is skipped.
set -eu
cd "$(dirname "$0")"

[ $# -gt 0 ] || set -- */
for language; do
    language=${language%/}
    [ -e "$language/generate.sh" ] || continue
    echo "generating: $language"
    "$language/generate.sh" || [ $? = 77 ]
done
