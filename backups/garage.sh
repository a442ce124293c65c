#!/bin/sh
# Backups on a real S3 server other than the tests': Garage (https://garagehq.deuxfleurs.fr), from PATH. Starts one in a
# temporary folder, takes backups of a server into it, in parts and as an increment, checks them, loses the data folder,
# restores it, and compares. Garage is installed by: cargo install garage --locked
set -eu
cd "$(dirname "$0")/.."

cargo build --release --locked --package cloud-dragon
program=$PWD/target/release/cloud-dragon
folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null; rm -rf "$folder"' EXIT
cd "$folder"

cat > garage.toml <<END
metadata_dir = "$folder/meta"
data_dir = "$folder/data"
db_engine = "sqlite"
replication_factor = 1
rpc_bind_addr = "127.0.0.1:3901"
rpc_public_addr = "127.0.0.1:3901"
rpc_secret = "$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')"
[s3_api]
s3_region = "garage"
api_bind_addr = "127.0.0.1:3900"
END
export GARAGE_DEFAULT_ACCESS_KEY="GK$(od -An -N12 -tx1 /dev/urandom | tr -d ' \n')"
export GARAGE_DEFAULT_SECRET_KEY="$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')"
export GARAGE_DEFAULT_BUCKET=dragon
garage --version
garage -c garage.toml server --single-node --default-bucket > garage.log 2>&1 &

export AWS_ENDPOINT_URL=http://127.0.0.1:3900 AWS_REGION=garage AWS_CONFIG_FILE=/dev/null
export AWS_ACCESS_KEY_ID=$GARAGE_DEFAULT_ACCESS_KEY AWS_SECRET_ACCESS_KEY=$GARAGE_DEFAULT_SECRET_KEY
export DRAGON_BACKUP_TO=s3://dragon/backups DRAGON_BACKUP_PATH_STYLE=true DRAGON_STORE=embedded:$folder/store
until "$program" backup list > /dev/null 2>&1; do sleep 0.2; done

serve() {
    "$program" serve --listen 127.0.0.1:8099 --backup-every never "$@" 2>> dragon.log &
    server=$!
    until curl -sf http://127.0.0.1:8099/health/ready > /dev/null; do sleep 0.1; done
}
put() {
    curl -sf --json "$2" "http://127.0.0.1:8099/db/$1" > /dev/null
}
export_all() {
    "$program" export --store "$DRAGON_STORE" --all --output "$1" 2> /dev/null
    # The account's revision goes on after a restore; everything else is the same.
    for file in "$1"/*; do sed -i '1d;$d' "$file"; done
}

serve
put small '{"KVSet":[{"Key":"greeting","Value":"hello"}],"Atomic":[{"Key":"n","Add":7}]}'
put small '{"LockID":"l","LockDur":300,"IdempotencyIDs":["once"]}'
for key in $(seq 1 24); do
    value=$(head -c 700000 /dev/urandom | base64 -w 0)
    printf '{"KVSet":[{"Key":"k%s","Value":"%s"}]}' "$key" "$value" > large.json
    curl -sf --json @large.json http://127.0.0.1:8099/db/large > /dev/null
done
"$program" backup now --server http://127.0.0.1:8099
put small '{"KVSet":[{"Key":"greeting","Value":"hello again"}]}'
"$program" backup now --server http://127.0.0.1:8099
kill $server
wait $server || true
export_all before
"$program" backup list
"$program" backup verify

rm -rf store
"$program" backup restore
export_all after
diff -r before after
echo "restored: the same"
