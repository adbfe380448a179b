"""Runs a command in a network namespace of its own and watches every packet that is not loopback.

The namespace has `lo` and one interface with a default route for IPv4 and IPv6, so a packet
that tries to leave does leave the stack and is seen. Before and after the command, controls are
sent to documentation addresses: a capture that does not see them proves nothing, and fails.

    unshare --user --map-root-user --net --mount python3 capture.py OUT.json CMD...

OUT.json: {"controls_sent", "controls_seen", "leaked": [{"interface", "summary"}], "counters":
{attempt: packets} or null without nft, "exit_code"}. Must run inside fresh namespaces; it configures
the interfaces it finds. Standard library only.
"""

import os
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
from wire import (  # noqa: E402
    NAME_SERVER,
    Capture,
    Counters,
    ip,
    name_server_is,
    report,
    send_controls,
    sysctl,
    up,
)


def prepare(folder):
    ip("link", "set", "lo", "up")
    # A pair whose far end nobody answers on: what goes out of out0 has left the machine.
    ip("link", "add", "out0", "type", "veth", "peer", "name", "out1")
    ip("addr", "add", "198.51.100.2/24", "dev", "out0")
    up("out0")
    up("out1")
    ip("-6", "addr", "add", "2001:db8:1::2/64", "dev", "out0", "nodad")
    # Multicast by IPv6 needs an address of the link.
    ip("-6", "addr", "add", "fe80::2/64", "dev", "out0", "nodad")
    ip("route", "add", "default", "via", "198.51.100.1", "dev", "out0")
    ip("neigh", "add", "198.51.100.1", "lladdr", "02:00:00:00:00:01", "dev", "out0")
    ip("-6", "route", "add", "default", "via", "2001:db8:1::1", "dev", "out0")
    ip("-6", "neigh", "add", "2001:db8:1::1", "lladdr", "02:00:00:00:00:01", "dev", "out0")
    # As most systems have it: ping needs no privilege.
    sysctl("net.ipv4.ping_group_range", "0 0")
    name_server_is(NAME_SERVER, folder)


def main():
    out, command = sys.argv[1], sys.argv[2:]
    with tempfile.TemporaryDirectory() as folder:
        prepare(folder)
        # The far end shows the same packet again.
        capture = Capture(lambda interface, _: interface not in ("lo", "out1"))
        counters = Counters("out1")
        capture.start()
        sent = send_controls()
        code = subprocess.run(command, check=False).returncode
        sent += send_controls()
        seen = capture.end()
        report(out, seen, sent, counters.read(), exit_code=code)
    # Nothing may wait for the capture's thread.
    os._exit(0)


main()
