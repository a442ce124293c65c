#!/bin/sh
# Checks the chart: lint, what it renders to (tests/golden), the rendered objects by Kubernetes' schemas, the variables by
# the program's settings, what has to be refused (tests/refused), and the requests of `helm test`, of the notes and of the
# probes' command at a server, if one is built. `check.sh --update` writes tests/golden anew.
set -eu
cd "$(dirname "$0")"

helm_version=v3.22.0
validate_version=1.37.0
# The oldest that the chart admits, and a new one.
oldest=1.27
newest=1.37

update=""
case "${1:-}" in
"") ;;
--update) update=yes ;;
*)
    echo "usage: $0 [--update]" >&2
    exit 2
    ;;
esac

# What is missing is installed, for this only. Of these versions, whatever else the machine has: messages are compared.
target=${CARGO_TARGET_DIR:-target}
case "$target" in /*) ;; *) target=../$target ;; esac
mkdir -p "$target/tools"
tools=$(cd "$target/tools" && pwd)
PATH=$tools/bin:$tools/venv/bin:$PATH
if [ ! -x "$tools/bin/helm" ]; then
    if ! command -v go >/dev/null; then
        echo "skipped: the chart, since neither helm nor Go is here"
        exit 0
    fi
    GOBIN=$tools/bin nice go install "helm.sh/helm/v3/cmd/helm@$helm_version"
fi
if [ ! -x "$tools/venv/bin/kubernetes-validate" ]; then
    python3 -m venv "$tools/venv"
    "$tools/venv/bin/pip" install --quiet "kubernetes-validate==$validate_version"
fi

out=$(mktemp -d)
server=""
# A server that has ended by itself must not keep the folder from being removed.
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$out"' EXIT
failures=0
fail() {
    echo "FAILED: $*" >&2
    failures=$((failures + 1))
}

# Each object by its own: the validator gives up at kinds that it does not know.
objects() {
    awk -v out="$2/" '/^---$/ { n++; next } { print > (out sprintf("%02d", n) ".yaml") }' "$1"
}

# Helm shows the notes after an installation only, so here they are an object of the chart.
cp -R cloud-dragon "$out/chart"
cat >"$out/chart/templates/notes.yaml" <<'TEMPLATE'
notes: |
  {{- include (print .Template.BasePath "/NOTES.txt") . | nindent 2 }}
TEMPLATE

for values in tests/values/*.yaml; do
    name=$(basename "$values" .yaml)
    rendered=$out/$name.yaml
    helm lint --strict --quiet --kube-version "$newest" --values "$values" cloud-dragon || fail "lint: $name"
    if ! helm template dragon cloud-dragon --kube-version "$newest" --values "$values" >"$rendered"; then
        fail "template: $name"
        continue
    fi
    helm template dragon "$out/chart" --kube-version "$newest" --values "$values" --show-only templates/notes.yaml |
        sed -e '1,/^notes:/d' -e 's/^  //' >"$out/$name.txt"
    for file in "$name.yaml" "$name.txt"; do
        if [ -n "$update" ]; then cp "$out/$file" "tests/golden/$file"; fi
        diff -u "tests/golden/$file" "$out/$file" || fail "$file is not as in tests/golden; if it should be, $0 --update"
    done

    mkdir "$out/$name"
    objects "$rendered" "$out/$name"
    for object in "$out/$name"/*; do
        kind=$(sed -n 's/^kind: //p' "$object")
        case "$kind" in
        # Not Kubernetes' own: there are no schemas of them here.
        BackendTLSPolicy | HTTPRoute | ServiceMonitor) echo "not validated: $kind of $name" ;;
        *)
            kubernetes-validate --strict --quiet -k "$oldest" -k "$newest" "$object" || fail "schema: $kind of $name"
            ;;
        esac
    done
done
for golden in tests/golden/*; do
    [ -e "$out/$(basename "$golden")" ] || fail "$golden belongs to no values"
done

for variable in $(cat "$out"/*.yaml | grep -o 'DRAGON_[A-Z0-9_]*$' | sort -u); do
    grep -rqF "env = \"$variable\"" ../api/src || fail "$variable is no setting of the program"
done
# Those of the libraries are not in the program's source, but its operators are told of them.
for variable in $(cat "$out"/*.yaml | grep -oE '(AWS|FDB|PG)[A-Z0-9_]*$' | sort -u); do
    grep -qF "\`$variable\`" ../docs/operators.md || fail "$variable is unknown to docs/operators.md"
done

for values in tests/refused/*.yaml; do
    message=$(sed -n '1s/^# refused: //p' "$values")
    if answer=$(helm template dragon cloud-dragon --kube-version "$newest" --values "$values" 2>&1); then
        fail "not refused: $values"
    else
        case "$answer" in
        *"$message"*) ;;
        *) fail "$values is refused otherwise: $answer" ;;
        esac
    fi
done

program=$target/debug/cloud-dragon
if [ -x "$program" ]; then
    "$program" serve --store memory: --listen 127.0.0.1:0 2>"$out/log" &
    server=$!
    url=""
    tries=0
    while [ -z "$url" ] && [ "$tries" -lt 100 ] && kill -0 "$server" 2>/dev/null; do
        sleep 0.1
        tries=$((tries + 1))
        url=$(sed -n 's/.*listening on //p' "$out/log")
    done
    if [ -z "$url" ]; then
        fail "$program does not serve: $(cat "$out/log")"
    else
        URL=$url ACCOUNT=helm-test sh cloud-dragon/files/take-and-free-a-lock.sh || fail "helm test"
        notes=tests/golden/embedded-open.txt
        request=$(sed -n "s|^  curl \\(.*\\)http://127.0.0.1:8080/|curl --silent --max-time 60 \\1$url/|p" "$notes")
        answer=$(sh -c "$request") || fail "the notes' request"
        grep -qF "The first answer is $answer;" "$notes" || fail "the notes' request is answered $answer"
        # What the probes run where clients need certificates, at this server, and where there is none.
        sed -n 's|.*command: \[/usr/local/bin/cloud-dragon, \(.*\)\] }|\1|p' \
            tests/golden/embedded-client-certificates.yaml | tr -d , >"$out/probes"
        [ "$(wc -l <"$out/probes")" = 3 ] || fail "the probes' commands are not where they are looked for"
        while read -r arguments; do
            here=$(echo "$arguments" | sed "s|http://127.0.0.1:9090|$url|")
            nowhere=$(echo "$arguments" | sed "s|http://127.0.0.1:9090|http://127.0.0.1:1|")
            # Unquoted: words.
            "$program" $here || fail "a probe: $here"
            if "$program" $nowhere 2>/dev/null; then fail "a probe of no server: $nowhere"; fi
        done <"$out/probes"
    fi
else
    echo "not tried: the requests of helm test, the notes and the probes, since there is no $program"
fi

if [ "$failures" != 0 ]; then
    echo "$failures failures" >&2
    exit 1
fi
echo "The chart is in order."
