#!/bin/sh
# Checks the chart: lint, what it renders to (tests/golden), the rendered objects by Kubernetes' schemas, the variables by
# the program's settings, what has to be refused (tests/refused), and the requests of `helm test` and of the notes at a
# server, if one is built. `check.sh --update` writes tests/golden anew.
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

# What is missing is installed, for this only.
target=${CARGO_TARGET_DIR:-target}
case "$target" in /*) ;; *) target=../$target ;; esac
mkdir -p "$target/tools"
tools=$(cd "$target/tools" && pwd)
PATH=$PATH:$tools/bin:$tools/venv/bin
command -v helm >/dev/null || GOBIN=$tools/bin nice go install "helm.sh/helm/v3/cmd/helm@$helm_version"
if ! command -v kubernetes-validate >/dev/null; then
    python3 -m venv "$tools/venv"
    "$tools/venv/bin/pip" install --quiet "kubernetes-validate==$validate_version"
fi

out=$(mktemp -d)
server=""
trap '[ -z "$server" ] || kill "$server"; rm -rf "$out"' EXIT
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
    while [ -z "$url" ] && kill -0 "$server"; do
        sleep 0.1
        url=$(sed -n 's/.*listening on //p' "$out/log")
    done
    URL=$url ACCOUNT=helm-test sh cloud-dragon/files/take-and-free-a-lock.sh || fail "helm test"
    request=$(sed -n "s|^  curl \\(.*\\)http://127.0.0.1:8080/|curl --silent \\1$url/|p" tests/golden/embedded-open.txt)
    answer=$(sh -c "$request") || fail "the notes' request"
    grep -qF "The first answer is $answer;" tests/golden/embedded-open.txt || fail "the notes' request is answered $answer"
else
    echo "not tried: the requests of helm test and the notes, since there is no $program"
fi

if [ "$failures" != 0 ]; then
    echo "$failures failures" >&2
    exit 1
fi
echo "The chart is in order."
