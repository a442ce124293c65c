# Run by `helm test` with URL, ACCOUNT and perhaps TOKEN; arguments are options of curl.
set -eu

dragon() {
    body=$1
    shift
    # By standard input: arguments can be seen by everyone on the machine.
    printf '%s\n' "${TOKEN:+Authorization: Bearer $TOKEN}" |
        curl --silent --show-error --fail-with-body --max-time 60 --retry 3 --retry-connrefused "$@" \
            --header @- --json "$body" "$URL/db/$ACCOUNT"
}

taken=$(dragon '{"LockID":"helm-test","LockDur":30,"LockWait":30,"LockOwner":"helm test"}' "$@") || {
    echo "not taken: $taken" >&2
    exit 1
}
echo "taken: $taken"
handle=$(printf %s "$taken" | sed -n 's/.*"Lock":\([0-9][0-9]*\).*/\1/p')
freed=$(dragon "{\"UnlockID\":\"helm-test\",\"Unlock\":$handle}" "$@") || {
    echo "not freed: $freed" >&2
    exit 1
}
echo "freed: $freed"
