#!/usr/bin/env bash
# Proves on your own engine that ComfyUI's container has no way out but Airlock.
#
#   ./leak-probe.sh [OPTIONS OF docker compose]      as in: ./leak-probe.sh -f docker-compose.yaml -f docker-compose.isolated.yaml
#
# Runs tests/netns/probe.py, the program of the isolation tests, in the running `comfyui` container: it
# tries TCP, UDP, QUIC, DNS in every form, IPv6, ICMP and raw sockets towards documentation addresses,
# and the two things that must work. As root and with tcpdump it also watches every interface of the
# host meanwhile. Exit code 0: nothing escaped, nothing was seen, the controls passed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

die() { printf 'error: %s\n' "$*" >&2; exit 1; }
command -v docker >/dev/null || die "docker is missing; for a program without containers use 'airlock exec --isolate'"
docker compose version >/dev/null 2>&1 || die "the compose plugin of docker is missing"
probe=../../tests/netns/probe.py
[ -r "$probe" ] || die "$probe is missing: run this from a clone of the repository"
docker compose "$@" exec -T comfyui true ||
    die "the comfyui container does not run: 'docker compose up -d' first"

seen=$(mktemp)
watcher=""
cleanup() {
    [ -z "$watcher" ] || kill "$watcher" 2>/dev/null || true
    rm -f "$seen"
}
trap cleanup EXIT

# Nobody else on this machine talks to these networks (RFC 5737, RFC 3849), or asks for that name.
filter='net 192.0.2.0/24 or net 198.51.100.0/24 or net 203.0.113.0/24 or net 2001:db8::/32 or port 53'
if [ "$(id -u)" = 0 ] && command -v tcpdump >/dev/null; then
    tcpdump -lnni any "$filter" >"$seen" 2>/dev/null &
    watcher=$!
    sleep 2
    kill -0 "$watcher" 2>/dev/null || die "tcpdump does not run: try 'tcpdump -ni any' by itself"
    # A capture that does not see this one proves nothing.
    python3 -c 'import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"control", ("192.0.2.77", 9))' || true
else
    printf 'no capture (that needs root and tcpdump): what follows is the view from inside only\n' >&2
fi

status=0
docker compose "$@" exec -T comfyui python3 - <"$probe" || status=$?

if [ -n "$watcher" ]; then
    sleep 2
    grep -q '192\.0\.2\.77\.9' "$seen" || die "the capture is blind: it did not see the control packet"
    marks='192\.0\.2\.|198\.51\.100\.|203\.0\.113\.|2001:db8:|leak\.example\.com'
    if leaked=$(grep -E "$marks" "$seen" | grep -v '192\.0\.2\.77\.9'); then
        printf '%s\n' "$leaked" >&2
        die "the packets above left the container"
    fi
    printf 'capture: the control was seen, and nothing of the container\n' >&2
fi
exit "$status"
