# Every service, and the tool `parley`, from one build. Each target is one image with one program:
#
#   docker build --target connection -t parley-connection .
#
# Targets: connection, message, presence, push, parley. The classic builder and BuildKit build the same; nothing here
# needs more than the first. PROFILE=dev builds in less time and runs slower.

# ---- manifests: all that the dependencies are known by: Cargo's files, and for each crate a source without content.
# What comes out changes only when a Cargo file does, so the layer with the dependencies below lives on for weeks.
FROM rust:1.95.0-bookworm AS manifests
WORKDIR /source
COPY . .
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
RUN mkdir /manifests \
    && find . '(' -name Cargo.toml -o -name Cargo.lock ')' -exec cp --parents -t /manifests {} + \
    && find . -path '*/src/lib.rs' -exec install -D /dev/null '/manifests/{}' ';' \
    && echo 'fn main() {}' > /main.rs \
    && find . -path '*/src/main.rs' -exec install -D /main.rs '/manifests/{}' ';'

# ---- build: first the dependencies, then the sources.
FROM rust:1.95.0-bookworm AS build
ARG PROFILE=release
# OpenSSL comes from Debian, here and in the final image, so that its security updates come by a new base. Line tables
# would make the programs three times as large, and panics name their file and line without them.
ENV OPENSSL_NO_VENDOR=1 CARGO_INCREMENTAL=0 CARGO_PROFILE_RELEASE_DEBUG=none CARGO_PROFILE_RELEASE_STRIP=debuginfo
WORKDIR /build
COPY --from=manifests /manifests ./
RUN cargo build --locked --profile "$PROFILE" -p connection -p message -p presence -p push -p parley
COPY . .
# Cargo goes by times: the sources are older than the empty ones that were built above.
RUN find shared services tests -name '*.rs' -exec touch {} + \
    && cargo build --locked --profile "$PROFILE" -p connection -p message -p presence -p push -p parley \
    && mkdir -p /out/bin /out/data/.parley /out/data/nats \
    && for program in connection message presence push parley; do \
        cp "target/$([ "$PROFILE" = dev ] && echo debug || echo "$PROFILE")/$program" /out/bin/ || exit 1; \
    done

# ---- runtime: glibc, OpenSSL, certificates of the public authorities, time zones, a user; no shell, no package manager.
# Not static on scratch: musl's resolver and allocator behave otherwise than what every test runs with, and certificates,
# zones and OpenSSL would be ours to keep fresh.
FROM gcr.io/distroless/cc-debian12:nonroot AS runtime
# By number, so that Kubernetes can see that it is not root. Nothing is written: the root may be read-only.
USER 65532:65532

FROM runtime AS connection
COPY --from=build /out/bin/connection /usr/local/bin/
EXPOSE 8080 9090
ENTRYPOINT ["/usr/local/bin/connection"]

FROM runtime AS message
COPY --from=build /out/bin/message /usr/local/bin/
EXPOSE 9090
ENTRYPOINT ["/usr/local/bin/message"]

FROM runtime AS presence
COPY --from=build /out/bin/presence /usr/local/bin/
EXPOSE 9090
ENTRYPOINT ["/usr/local/bin/presence"]

FROM runtime AS push
COPY --from=build /out/bin/push /usr/local/bin/
EXPOSE 9090
ENTRYPOINT ["/usr/local/bin/push"]

FROM runtime AS parley
COPY --from=build /out/bin/parley /usr/local/bin/
# A new volume takes its owner from the folder that it is mounted at: /data/.parley is for what `parley` keeps, /data/nats
# for a server that runs as the same user and whose own image has no such folder.
COPY --from=build --chown=65532:65532 /out/data /data
WORKDIR /data
ENTRYPOINT ["/usr/local/bin/parley"]
