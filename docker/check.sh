#!/usr/bin/env bash
# Builds the image without an engine and runs the services of compose.yaml in it: `make docker-check`.
# Needs root on Debian or Ubuntu; installs buildah, debootstrap and docker-compose where they are missing.
#
#   SNAS_CHECK_DIR  where base, image, state and logs go (about 5 GB); the base is kept for the next run
#   TORCH_INDEX     index of torch builds, as for make
set -euo pipefail

docker=$(cd "$(dirname "$0")" && pwd)
work=${SNAS_CHECK_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/snas-docker-check}
mirror=${SNAS_DEBIAN_MIRROR:-http://deb.debian.org/debian}
patience=600 # seconds, for whatever is waited for
python=/usr/bin/python3 # Debian's, with the YAML reader of docker-compose
declare -A services=()  # name -> process id of its buildah
container=

say() { printf '\n== %s\n' "$*"; }
buildah() { command buildah --storage-driver vfs --root "$work/storage" --runroot "$work/run" "$@"; }

fail() {
    printf 'docker-check: %s\n' "$*" >&2
    tail --quiet -n 20 "$work"/logs/*.log >&2 2> /dev/null || true
    exit 1
}

install_tools() {
    [ "$(id -u)" = 0 ] || { echo "docker-check: must run as root: it makes a Debian base and runs in a chroot" >&2; exit 1; }
    local tool missing=()
    for tool in buildah debootstrap docker-compose curl; do
        command -v "$tool" > /dev/null || missing+=("$tool")
    done
    [ ${#missing[@]} = 0 ] || { apt-get update && apt-get install --yes --no-install-recommends "${missing[@]}"; }
}

make_base() {
    buildah inspect --type image snas-base > /dev/null 2>&1 && return
    say "a Debian base with Python 3.11, kept in $work"
    local base=$work/base made
    rm -rf "$base"
    debootstrap --variant=minbase --include=ca-certificates,python3,python3-venv bookworm "$base" "$mirror" \
        > "$work/logs/debootstrap.log" || fail "debootstrap failed"
    made=$(buildah from scratch)
    buildah add --quiet "$made" "$base" / > /dev/null
    buildah commit --quiet "$made" snas-base > /dev/null
    buildah rm "$made" > /dev/null
    rm -rf "$base"
}

build() {
    say "the image; its log: $work/logs/build.log"
    local pip mounts
    pip=$docker/../.venv/bin/python
    [ -x "$pip" ] || pip=python3
    mkdir -p "$work/pip"
    mapfile -t mounts < <("$pip" -m pip config list | "$python" "$docker/pip_mounts.py" "$work/pip/pip.conf")
    buildah bud --isolation chroot --format docker --pull-never --file "$docker/Dockerfile" --tag snas \
        --build-arg BASE=localhost/snas-base --build-arg TORCH_INDEX="${TORCH_INDEX:-}" \
        --volume "$work/pip:/etc/xdg/pip:ro" "${mounts[@]}" "$docker/.." > "$work/logs/build.log" 2>&1 || fail "no image"
    buildah rmi --prune > /dev/null || true # the image of the last run
    container=$(buildah from --pull-never snas)
    # Mounted by --volume below; in a chroot buildah now and then puts the image's own, empty one on top of it.
    buildah config --volume /state- "$container"
}

# One field of a JSON object; of a list, one item per line.
field() { "$python" -c '
import json, sys
value = json.load(sys.stdin)
for name in sys.argv[1:]:
    value = value[name]
print(*(value if isinstance(value, list) else [value]), sep="\n")' "$@"; }

# One field of a service, of compose.yaml as docker-compose understands it.
composed() { field services "$@" < "$work/composed.json"; }

check_compose() {
    say "compose.yaml"
    docker-compose --file "$docker/compose.yaml" --profile postgres config |
        "$python" -c 'import json, sys, yaml; json.dump(yaml.safe_load(sys.stdin), sys.stdout)' \
            > "$work/composed.json" || fail "compose.yaml is not valid"
    [[ $(composed server ports) == 127.0.0.1:* ]] || fail "published beyond loopback: $(composed server ports)"
}

inside() { # COMMAND...
    buildah run --isolation chroot --volume "$work/state:/state" --volume "$work/data:/data:ro" \
        --volume "$work/first_key:$(composed server environment SNAS_FIRST_KEY_FILE):ro" \
        --env SNAS_FIRST_KEY_FILE="$(composed server environment SNAS_FIRST_KEY_FILE)" \
        --env SNAS_ALLOWED_HOSTS="$(composed server environment SNAS_ALLOWED_HOSTS)" "$container" -- "$@"
}

check_image() {
    say "the image runs without root, without compilers, and writes only its volume"
    local user
    user=$(inside id -u)
    [ "$user" != 0 ] || fail "runs as root"
    # A named volume takes over the owner from the image; a mounted folder must be given to them.
    chown "$user:$(inside id -g)" "$work/state"
    inside sh -c '! command -v cc gcc make pip' || fail "build tools are left"
    inside sh -c 'for folder in /opt/snas /data /usr /; do ! test -w $folder || exit 1; done; test -w /state' ||
        fail "something else than the volume can be written"
    inside snas --version
}

start() { # SERVICE [FURTHER ARGUMENT...]
    local service=$1 command
    mapfile -t command < <(composed "$service" command)
    # The network is the host's here, and so are process ids.
    inside sh -c 'echo $$ > "/state/$0.pid"; exec snas "$@"' "$service" "${command[@]}" "${@:2}" \
        >> "$work/logs/$service.log" 2>&1 &
    services[$service]=$!
    await "healthy_$service"
}

stop() { # SERVICE
    kill -TERM "$(cat "$work/state/$1.pid")"
    wait "${services[$1]}" || fail "the $1 did not end well"
    unset "services[$1]"
    rm "$work/state/$1.pid"
}

start_both() { start server --port "$port"; start worker; }
stop_both() { stop worker; stop server; }

finish() {
    local service
    for service in "${!services[@]}"; do # what runs inside; its buildah ends after it
        kill -KILL "$(cat "$work/state/$service.pid")" 2> /dev/null || true
        wait "${services[$service]}" || true
    done
    [ -z "$container" ] || buildah rm "$container" > /dev/null
}

await() { # COMMAND...
    local each end=$((SECONDS + patience))
    until "$@" > /dev/null 2>&1; do
        [ $SECONDS -lt $end ] || fail "waited $patience seconds for: $*"
        for each in "${!services[@]}"; do
            kill -0 "${services[$each]}" 2> /dev/null || fail "the $each ended by itself"
        done
        sleep 0.5
    done
}

api() {
    curl --silent --show-error --fail --header "Authorization: Bearer $(cat "$work/first_key")" \
        "http://127.0.0.1:$port$1" "${@:2}"
}
job() { api "/api/v1/jobs/$id" | field "$@"; }
has_begun() { [ "$(job progress trials done)" -gt 0 ]; }
has_ended() { [[ $(job state) =~ completed|failed|cancelled ]]; }

# The health checks that the image and compose.yaml declare, the server's at the port used here.
healthy_server() { inside "${server_check[@]//:8000/:$port}"; }
healthy_worker() { inside "${worker_check[@]}"; }

check_services() {
    say "server and worker on one volume"
    mapfile -t server_check < <(buildah inspect --type image snas | field Docker config Healthcheck Test)
    mapfile -t worker_check < <(composed worker healthcheck test)
    server_check=("${server_check[@]:1}") worker_check=("${worker_check[@]:1}") # without the word CMD
    [ ${#server_check[@]} -gt 0 ] && [ ${#worker_check[@]} -gt 0 ] || fail "no health checks"
    start_both
    [ "$(curl --silent --output /dev/null --write-out '%{http_code}' --header 'Host: elsewhere.example' \
        "http://127.0.0.1:$port/api/v1/jobs")" = 400 ] || fail "answers to any Host"
    [ "$(curl --silent --output /dev/null --write-out '%{http_code}' "http://127.0.0.1:$port/api/v1/jobs")" = 401 ] ||
        fail "answers without a key"
    id=$(api /api/v1/jobs --json "@$docker/check_job.json" | field id)
    say "job $id; both are restarted in its midst"
    await has_begun
    stop_both
    start_both
    await has_ended
    [ "$(job state)" = completed ] || fail "the job $(job state): $(job error)"
    api "/api/v1/jobs/$id/report" > "$work/report.json"
    say "completed; both are restarted once more"
    stop_both
    start_both
    [ "$(job state)" = completed ] || fail "the job is $(job state) after a restart"
    api "/api/v1/jobs/$id/report" | cmp --quiet - "$work/report.json" || fail "the report changed in a restart"
    stop_both
    field verdict < "$work/report.json"
}

install_tools
mkdir -p "$work"/{logs,data}
rm -rf "$work/state" "$work"/logs/*
mkdir "$work/state"
buildah rm --all > /dev/null
"$python" -c 'import secrets; print(f"snas_{secrets.token_hex(4)}_{secrets.token_hex(32)}")' > "$work/first_key"
chmod 644 "$work/first_key" # the image's user reads it
port=$("$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
awk 'BEGIN { print "x,y,label"; for (n = 0; n < 240; n++) print n % 7 "," n % 11 "," (n % 7 > n % 11) }' > "$work/data/larger.csv"
trap finish EXIT
check_compose
make_base
build
check_image
check_services
say "docker-check passed"
