#!/bin/sh
# What requests notice of a backup: writes at a steady rate, in turns without a backup and during one of an account of 260 MB
# that can't be compressed. The S3 server is Garage, from PATH (cargo install garage --locked), on the same machine but in memory
# and with what the processors have left. Arguments are passed on, for example: loadtest/backups.sh --rate 1000
set -eu
cd "$(dirname "$0")/.."

./packages.sh cc curl
cargo build --release --locked --package cloud-dragon --package cloud-dragon-loadtest
programs=$PWD/target/release
folder=$(mktemp -d) memory=$(mktemp -d -p /dev/shm)
trap 'kill $(jobs -p) 2>/dev/null; rm -rf "$folder" "$memory"' EXIT
cd "$folder"

cat > garage.toml <<END
metadata_dir = "$memory/meta"
data_dir = "$memory/data"
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
chrt --idle 0 garage -c garage.toml server --single-node --default-bucket > garage.log 2>&1 &

export AWS_ENDPOINT_URL=http://127.0.0.1:3900 AWS_REGION=garage AWS_CONFIG_FILE=/dev/null
export AWS_ACCESS_KEY_ID=$GARAGE_DEFAULT_ACCESS_KEY AWS_SECRET_ACCESS_KEY=$GARAGE_DEFAULT_SECRET_KEY
export DRAGON_BACKUP_TO=s3://dragon/backups DRAGON_BACKUP_PATH_STYLE=true
until "$programs/cloud-dragon" backup list > /dev/null 2>&1; do sleep 0.2; done
url=http://127.0.0.1:8099
"$programs/cloud-dragon" serve --listen 127.0.0.1:8099 --store embedded:store --backup-every never 2> dragon.log &
until curl -sf $url/health/ready > /dev/null; do sleep 0.1; done
for key in $(seq 1 256); do
    { printf '{"KVSet":[{"Key":"k%s","Value":"' "$key"; head -c 780000 /dev/urandom | base64 -w 0; printf '"}]}'; } > large.json
    curl -sf --json @large.json $url/db/large > /dev/null
done

measure() {
    "$programs/cloud-dragon-loadtest" --url $url --scenario kv-write --connections 64 --accounts 8 --keys 1000 \
        --rate 3000 --seconds 10 --json figures.json "$@" > /dev/null 2>&1
    sed -n 's/^ *"\(p50\|p90\|p99\|p999\)_us": \(.*\),$/\1 \2 µs/p' figures.json | tr '\n' ' '
    echo
}
for round in 1 2 3 4 5; do
    printf 'without: '
    measure "$@"
    touch during
    (
        while [ -e during ]; do
            curl -s --json "{\"KVSet\":[{\"Key\":\"k1\",\"Value\":$round}]}" $url/db/large > /dev/null
            curl -s -X POST $url/backups > backup.json
        done
    ) &
    backing_up=$!
    printf 'during:  '
    measure "$@"
    rm during
    wait $backing_up
done
