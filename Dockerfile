# The server as an image: docker build --tag cloud-dragon .
# With the store on FoundationDB: docker build --build-arg FOUNDATIONDB=with --tag cloud-dragon:foundationdb .
# docs/operators.md says how to run it. container/check.sh checks this file.

# `with` or `without`.
ARG FOUNDATIONDB=without
# That of rust-toolchain.toml.
ARG RUST_VERSION=1.95.0
# The client library has to be as new as the cluster, or newer.
ARG FOUNDATIONDB_VERSION=7.3.69

FROM rust:${RUST_VERSION}-slim-bookworm AS source
ARG RUST_VERSION
WORKDIR /src
# The one that is there, whatever further components rust-toolchain.toml names.
ENV RUSTUP_TOOLCHAIN=${RUST_VERSION}
COPY . .

FROM source AS build-without
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --release --locked --package cloud-dragon \
    && install -D --strip target/release/cloud-dragon /image/usr/local/bin/cloud-dragon

FROM foundationdb/foundationdb:${FOUNDATIONDB_VERSION} AS foundationdb

FROM source AS build-with
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libclang-dev \
    && rm -rf /var/lib/apt/lists/*
COPY --from=foundationdb /usr/lib/libfdb_c.so /usr/lib/libfdb_c.so
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --release --locked --package cloud-dragon --features foundationdb \
    && install -D --strip target/release/cloud-dragon /image/usr/local/bin/cloud-dragon \
    && install -D --mode 644 /usr/lib/libfdb_c.so /image/usr/lib/libfdb_c.so

# hadolint ignore=DL3006
FROM build-${FOUNDATIONDB} AS build
# The embedded store's, if no volume is there.
RUN install --directory --owner 10001 --group 10001 --mode 700 /image/data

# glibc, authorities, and nothing to run: no shell, no package manager.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /image /
# As numbers, so that Kubernetes can tell that it is not root.
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8080
# Others than this container reach it only with --tokens or --insecure-no-auth.
ENV DRAGON_LISTEN=0.0.0.0:8080 DRAGON_STORE=embedded:/data/store
ENTRYPOINT ["/usr/local/bin/cloud-dragon"]
CMD ["serve"]
