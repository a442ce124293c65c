#!/bin/sh
# Installs what is missing of the programs named, from Debian's packages: cc curl etcd faketime openssl
# pgbouncer postgresql prometheus protoc python3 redis strace wrk.
set -eu

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

has() {
    command -v "$1" >/dev/null
}

missing=""
for program; do
    case "$program" in
    cc) has cc || missing="$missing gcc libc6-dev" ;;
    curl | openssl | prometheus | strace | wrk) has "$program" || missing="$missing $program" ;;
    # The library is what is used, not the program.
    faketime)
        ls /usr/lib/*/faketime/libfaketimeMT.so.1 >/dev/null 2>&1 || missing="$missing libfaketime"
        ;;
    etcd) has etcd || missing="$missing etcd-server" ;;
    postgresql) has initdb || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing="$missing postgresql" ;;
    pgbouncer) [ -x /usr/sbin/pgbouncer ] || has pgbouncer || missing="$missing pgbouncer" ;;
    # Debian keeps what every .proto file may import apart from the compiler.
    protoc)
        case "$(command -v protoc)" in
        "") missing="$missing protobuf-compiler libprotobuf-dev" ;;
        /usr/bin/protoc)
            [ -e /usr/include/google/protobuf/descriptor.proto ] || missing="$missing libprotobuf-dev"
            ;;
        esac
        ;;
    # Debian keeps what makes virtual environments apart.
    python3) python3 -c 'import ensurepip' 2>/dev/null || missing="$missing python3 python3-venv" ;;
    redis) has redis-server || missing="$missing redis-server" ;;
    *)
        echo "packages.sh knows no $program" >&2
        exit 2
        ;;
    esac
done
[ -n "$missing" ] || exit 0
if ! has apt-get; then
    echo "Needed, and not here:$missing. Install them, then run this again." >&2
    exit 1
fi
as_root env DEBIAN_FRONTEND=noninteractive apt-get update
# shellcheck disable=SC2086 # one word a package
as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing
