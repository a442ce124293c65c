#!/bin/sh
# Runs the scenario with the client that generate.sh has made, against the server that DRAGON_SERVER, DRAGON_TOKEN,
# DRAGON_READ_TOKEN, DRAGON_ACCOUNT and DRAGON_BREAKING_SERVER name.
set -eu
cd "$(dirname "$0")/../.."

output=target/clients/java
rm -rf "$output/scenario"
javac -Xlint:all -Werror -encoding UTF-8 -d "$output/scenario" -cp "$output/lib/*" clients/java/scenario/*.java
# In the charset of a machine without a locale: values must survive there too.
exec java -Dfile.encoding=US-ASCII -cp "$output/scenario:$output/lib/*" scenario.Scenario
