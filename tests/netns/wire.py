"""What capture.py and compose.py look at a wire with: a packet socket, and nftables counters.

Two witnesses that share nothing but the kernel: the socket sees every frame of an interface, the
counters see what arrives at its far end. `nft` may be missing; then there is one witness.
"""

import json
import os
import selectors
import shutil
import socket
import struct
import subprocess
import sys
import threading

sys.dont_write_bytecode = True
from probe import NAME_SERVER, WIRE  # noqa: E402

CONTROL_V4 = "192.0.2.77"  # TEST-NET-1
CONTROL_V6 = "2001:db8::77"  # documentation
CONTROL_PORT = 9
# What must not be seen is what is left when the controls and the kernel's own are taken away.
REST = "anything else"
ETH_P_ALL = 3
PACKET_OUTGOING = 4


def ip(*args):
    subprocess.run(["ip", *args], check=True)


def sysctl(key, value):
    with open(f"/proc/sys/{key.replace('.', '/')}", "w", encoding="ascii") as f:
        f.write(str(value))


def up(interface):
    """Without a packet of the kernel's own: no duplicate address detection, no router solicitation."""
    for key, value in (("accept_dad", 0), ("router_solicitations", 0), ("addr_gen_mode", 1)):
        with open(f"/proc/sys/net/ipv6/conf/{interface}/{key}", "w", encoding="ascii") as f:
            f.write(str(value))
    ip("link", "set", interface, "up")


def name_server_is(address, folder):
    """The system's resolver asks there, and nobody for long. The mount namespace must be our own."""
    path = os.path.join(folder, "resolv.conf")
    with open(path, "w", encoding="ascii") as f:
        f.write(f"nameserver {address}\noptions timeout:1 attempts:1\n")
    subprocess.run(["mount", "--no-mtab", "--bind", path, "/etc/resolv.conf"], check=True)


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


def is_control(seen):
    return seen.get("to") in (CONTROL_V4, CONTROL_V6) and seen.get("port") == CONTROL_PORT


def is_kernels(seen):
    """Multicast memberships (MLD), reported when an interface comes up."""
    return seen.get("to") == "ff02::16" and seen.get("protocol") == 0


class Capture(threading.Thread):
    """Every frame of the interfaces of this namespace that `wanted(name, frame is outgoing)`."""

    def __init__(self, wanted):
        super().__init__(daemon=True)
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self.socket.setblocking(False)
        self.wanted = wanted
        self.seen = []
        self.stop = threading.Event()

    def run(self):
        selector = selectors.DefaultSelector()
        selector.register(self.socket, selectors.EVENT_READ)
        while True:
            if not selector.select(0.1):
                if self.stop.is_set():
                    return
                continue
            frame, address = self.socket.recvfrom(65535)
            if self.wanted(address[0], address[2] == PACKET_OUTGOING):
                self.seen.append((address[0], describe(frame)))

    def end(self):
        self.stop.set()
        self.join(10)
        return self.seen


def send_controls():
    """One packet each by UDP, UDP over IPv6 and TCP; a retransmitted SYN is one control."""
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


class Counters:
    """Packets that arrive at `interface`, by attempt of probe.py, and the rest."""

    def __init__(self, interface):
        path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
        self.nft = shutil.which("nft", path=path)
        if self.nft is None:
            return
        self.names = [name for name, match in WIRE.items() if match]
        counters = "".join(f" counter c{n} {{ }}\n" for n in range(len(self.names) + 2))
        rules = [
            f"ip daddr {CONTROL_V4} counter name c{len(self.names)} accept",
            f"ip6 daddr {CONTROL_V6} counter name c{len(self.names)} accept",
            "ip6 daddr ff02::16 accept",
        ]
        rules += [f"{WIRE[name]} counter name c{n} accept" for n, name in enumerate(self.names)]
        rules.append(f"counter name c{len(self.names) + 1}")
        chain = "".join(f"  {rule}\n" for rule in rules)
        table = (
            f"table netdev leak {{\n{counters} chain arrives {{\n"
            f"  type filter hook ingress device \"{interface}\" priority 0; policy accept;\n{chain} }}\n}}\n"
        )
        subprocess.run([self.nft, "-f", "-"], input=table, text=True, check=True)
        self.names += ["the controls", REST]

    def read(self):
        """{attempt: packets}, or None without nft."""
        if self.nft is None:
            return None
        listed = subprocess.run(
            [self.nft, "-j", "list", "counters"], check=True, capture_output=True, text=True
        )
        found = {}
        for item in json.loads(listed.stdout)["nftables"]:
            counter = item.get("counter")
            if counter:
                found[self.names[int(counter["name"][1:])]] = counter["packets"]
        return found


def report(out, seen, sent, counters, **more):
    controls = [(s["to"], s["protocol"]) for _, s in seen if is_control(s)]
    leaked = [
        {"interface": i, "summary": s} for i, s in seen if not (is_control(s) or is_kernels(s))
    ]
    with open(out, "w", encoding="utf-8") as f:
        json.dump(
            {
                "controls_sent": sent,
                "controls_seen": len(controls),
                "control_kinds": sorted({f"{to}/{proto}" for to, proto in controls}),
                "leaked": leaked,
                "counters": counters,
                **more,
            },
            f,
        )
