"""Runs a command in a network namespace of its own and captures every packet that is not loopback.

The namespace has `lo` and one interface with a default route for IPv4 and IPv6, so a packet
that tries to leave does leave the stack and is seen. Before and after the command, controls are
sent to documentation addresses: a capture that does not see them proves nothing, and fails.

    unshare --user --map-root-user --net python3 capture.py OUT.json CMD...

OUT.json: {"controls_sent", "controls_seen", "leaked": [{"interface", "summary"}], "exit_code"}.
Standard library only. Must run inside a fresh namespace; it configures the interfaces it finds.
"""

import json
import os
import selectors
import socket
import struct
import subprocess
import sys
import threading

CONTROL_V4 = "192.0.2.77"  # TEST-NET-1
CONTROL_V6 = "2001:db8::77"  # documentation
CONTROL_PORT = 9
ETH_P_ALL = 3


def ip(*args):
    subprocess.run(["ip", *args], check=True)


def prepare():
    ip("link", "set", "lo", "up")
    # A pair whose far end nobody answers on: what goes out of out0 has left the machine.
    ip("link", "add", "out0", "type", "veth", "peer", "name", "out1")
    ip("addr", "add", "198.51.100.2/24", "dev", "out0")
    # No duplicate address detection: it would be a packet of the kernel's own.
    for interface in ("out0", "out1"):
        for key, value in (("accept_dad", 0), ("router_solicitations", 0), ("addr_gen_mode", 1)):
            with open(f"/proc/sys/net/ipv6/conf/{interface}/{key}", "w", encoding="ascii") as f:
                f.write(str(value))
        ip("link", "set", interface, "up")
    ip("-6", "addr", "add", "2001:db8:1::2/64", "dev", "out0", "nodad")
    ip("route", "add", "default", "via", "198.51.100.1", "dev", "out0")
    ip("neigh", "add", "198.51.100.1", "lladdr", "02:00:00:00:00:01", "dev", "out0")
    ip("-6", "route", "add", "default", "via", "2001:db8:1::1", "dev", "out0")
    ip("-6", "neigh", "add", "2001:db8:1::1", "lladdr", "02:00:00:00:00:01", "dev", "out0")


def describe(frame):
    """IP version, protocol, destination and port of an Ethernet frame."""
    kind = struct.unpack("!H", frame[12:14])[0]
    body = frame[14:]
    if kind == 0x0800 and len(body) >= 20:
        size = (body[0] & 15) * 4
        to = socket.inet_ntop(socket.AF_INET, body[16:20])
        proto, rest = body[9], body[size:]
    elif kind == 0x86DD and len(body) >= 40:
        to = socket.inet_ntop(socket.AF_INET6, body[24:40])
        proto, rest = body[6], body[40:]
    else:
        return {"ethertype": hex(kind)}
    port = struct.unpack("!H", rest[2:4])[0] if proto in (6, 17) and len(rest) >= 4 else None
    return {"to": to, "protocol": proto, "port": port}


class Capture(threading.Thread):
    def __init__(self):
        super().__init__(daemon=True)
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self.socket.setblocking(False)
        self.seen = []
        self.stop = threading.Event()

    def run(self):
        selector = selectors.DefaultSelector()
        selector.register(self.socket, selectors.EVENT_READ)
        while True:
            ready = selector.select(0.1)
            if not ready:
                if self.stop.is_set():
                    return
                continue
            frame, address = self.socket.recvfrom(65535)
            # The far end shows the same packet again.
            if address[0] not in ("lo", "out1"):
                self.seen.append((address[0], describe(frame)))


def send_controls():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.sendto(b"control", (CONTROL_V4, CONTROL_PORT))
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as s:
        s.sendto(b"control", (CONTROL_V6, CONTROL_PORT))
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as s:
        s.setblocking(False)
        try:
            s.connect((CONTROL_V4, CONTROL_PORT))
        except BlockingIOError:
            pass
    return 3


def main():
    out, command = sys.argv[1], sys.argv[2:]
    prepare()
    capture = Capture()
    capture.start()
    sent = send_controls()
    code = subprocess.run(command, check=False).returncode
    sent += send_controls()
    capture.stop.set()
    capture.join(10)
    # The kernel reports its own multicast memberships (MLD) when the interface comes up.
    is_kernel = lambda s: s.get("to") == "ff02::16" and s.get("protocol") == 0
    is_control = lambda s: s.get("to") in (CONTROL_V4, CONTROL_V6) and s.get("port") == CONTROL_PORT
    # Destination and protocol tell the three controls apart; a retransmitted SYN is one control.
    controls = [(s["to"], s["protocol"]) for _, s in capture.seen if is_control(s)]
    leaked = [
        {"interface": i, "summary": s}
        for i, s in capture.seen
        if not (is_control(s) or is_kernel(s))
    ]
    with open(out, "w", encoding="utf-8") as f:
        json.dump(
            {
                "controls_sent": sent,
                "controls_seen": len(controls),
                "control_kinds": sorted({f"{to}/{proto}" for to, proto in controls}),
                "leaked": leaked,
                "exit_code": code,
            },
            f,
        )
    os._exit(0)


main()
