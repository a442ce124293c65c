# To be sourced: start_garage FOLDER [COMMAND…] starts a Garage of one node (https://garagehq.deuxfleurs.fr), from PATH, which
# keeps its files in the folder, under the command if one is given, and exports what the program needs to back up to it.
# Its process is $garage.
# Garage is installed by: cargo install garage --locked
start_garage() {
    garage_folder=$1
    shift
    cat > "$garage_folder/garage.toml" <<END
metadata_dir = "$garage_folder/meta"
data_dir = "$garage_folder/data"
db_engine = "sqlite"
replication_factor = 1
rpc_bind_addr = "127.0.0.1:3901"
rpc_public_addr = "127.0.0.1:3901"
rpc_secret = "$(random_hex 32)"
[s3_api]
s3_region = "garage"
api_bind_addr = "127.0.0.1:3900"
END
    export GARAGE_DEFAULT_ACCESS_KEY="GK$(random_hex 12)" GARAGE_DEFAULT_SECRET_KEY="$(random_hex 32)"
    export GARAGE_DEFAULT_BUCKET=dragon
    "$@" garage -c "$garage_folder/garage.toml" server --single-node --default-bucket \
        > "$garage_folder/garage.log" 2>&1 &
    garage=$!

    export AWS_ENDPOINT_URL=http://127.0.0.1:3900 AWS_REGION=garage AWS_CONFIG_FILE=/dev/null
    export AWS_ACCESS_KEY_ID=$GARAGE_DEFAULT_ACCESS_KEY AWS_SECRET_ACCESS_KEY=$GARAGE_DEFAULT_SECRET_KEY
    export DRAGON_BACKUP_TO=s3://dragon/backups DRAGON_BACKUP_PATH_STYLE=true
}

random_hex() {
    od -An -N"$1" -tx1 /dev/urandom | tr -d ' \n'
}
