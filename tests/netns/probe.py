"""Tries every way out that a program has, and the ways that must work.

An attempt has to be refused by this machine's own kernel: a packet on the wire, a connection, and
also a timeout (something was sent, and nobody answered) are failures. Destinations are documentation
addresses (RFC 5737, RFC 3849), which nobody answers on; each attempt has one of its own, so that a
packet counter can tell which of them got out.

    python3 probe.py [--skip ATTEMPT]... [--host-port PORT] [--reach ADDRESS:PORT] [--unix PATH]
                     [--abstract NAME] [--absent PATH]...
    python3 probe.py --wire

--host-port, --reach, --unix, --abstract: servers outside that must not be reachable; --absent: a file
that must not be visible. Positive controls go through HTTP_PROXY (and BACKEND_BASE_URL, if set): a
stand-in answers 200, an unlisted host gets a typed 403.

Prints {"ok", "refused": {attempt: why}, "escaped": {attempt: what}, "unknown": [attempt], "controls":
{name: result}}; exit code 0 when nothing escaped and the controls pass. `unknown` are those whose
protocol this kernel does not have. --wire prints what each attempt looks like on the wire instead, as
an nftables match: {attempt: match or null}. Standard library only.
"""

import argparse
import ctypes
import errno
import json
import os
import socket
import ssl
import struct
import sys
import urllib.error
import urllib.request

# The name server of the namespaces that the tests build (capture.py, compose.py).
NAME_SERVER = "192.0.2.53"
VENDOR = "comfyui-copilot-server.onrender.com"
UNKNOWN = {errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT}
# What a kernel says by itself, at once. A refused connection is one too: only loopback says it here.
LOCAL = UNKNOWN | {
    errno.ENETUNREACH,
    errno.EHOSTUNREACH,
    errno.ENETDOWN,
    errno.EPERM,
    errno.EACCES,
    errno.ECONNREFUSED,
    errno.EADDRNOTAVAIL,
    errno.EPROTOTYPE,
    errno.ENOENT,
    errno.ENODEV,
    errno.ENXIO,
    errno.EINVAL,
}
QUESTION = struct.pack("!HHHHHH", 7, 0x100, 1, 0, 0, 0) + b"\4leak\7example\3com\0\0\1\0\1"
# A QUIC version 1 Initial: long header, connection identifiers, padded to 1200 bytes.
QUIC = (b"\xc3\0\0\0\1\x08airlock1\x08airlock2\0\x44\x9e" + b"\0" * 1200)[:1200]
ICMP_ECHO = b"\x08\0\xf7\xff\0\0\0\0"
ICMP6_ECHO = b"\x80\0\0\0\0\0\0\0"
RAW, DGRAM, STREAM = socket.SOCK_RAW, socket.SOCK_DGRAM, socket.SOCK_STREAM
I4, I6 = socket.AF_INET, socket.AF_INET6
MSG_FASTOPEN = 0x20000000
ATTEMPTS = {}
# What the attempt looks like outside; None where nothing of it would be a packet.
WIRE = {}


def add(name, wire, function, *arguments):
    ATTEMPTS[name] = lambda: function(*arguments)
    WIRE[name] = wire


def attempt(name, wire=None):
    def register(function):
        add(name, wire, function)
        return function

    return register


def v4(n):
    return f"203.0.113.{n}"


def v6(n):
    return f"2001:db8::{n:x}"


def connect(family, address, kind=STREAM, protocol=0):
    with socket.socket(family, kind, protocol) as s:
        s.connect(address)
        return "connected"


def send(family, address, data, kind=DGRAM, protocol=0, options=(), flags=0):
    with socket.socket(family, kind, protocol) as s:
        for level, option, value in options:
            s.setsockopt(level, option, value)
        return f"{s.sendto(data, flags, address)} bytes sent"


def tcp(name, family, address, port):
    ip = "ip6" if ":" in address and not address.startswith("::ffff:") else "ip"
    to = address.removeprefix("::ffff:")
    add(name, f"{ip} daddr {to} tcp dport {port}", connect, family, (address, port))


def udp(name, family, address, port, data, options=()):
    ip = "ip6" if family == I6 else "ip"
    wire = f"{ip} daddr {address} udp dport {port}"
    add(name, wire, send, family, (address, port), data, DGRAM, 0, options)


tcp("TCP to an IPv4 address", I4, v4(1), 443)
tcp("TCP to an IPv6 address", I6, v6(1), 443)
tcp("TCP to an IPv4 address written as an IPv6 one", I6, f"::ffff:{v4(2)}", 443)
tcp("TCP to the cloud's metadata service", I4, "169.254.169.254", 80)
tcp("TCP to the router of a home", I4, "192.168.1.1", 80)
tcp("TCP to the default gateway", I4, "198.51.100.1", 80)
tcp("DNS over TCP", I4, v4(3), 53)
tcp("DNS over TCP and IPv6", I6, v6(3), 53)
add(
    "TCP Fast Open, data in the first packet",
    f"ip daddr {v4(4)} tcp dport 443",
    *(send, I4, (v4(4), 443), b"leak", STREAM, 0, (), MSG_FASTOPEN),
)
udp("UDP to an IPv4 address", I4, v4(10), 9, b"leak")
udp("UDP to an IPv6 address", I6, v6(10), 9, b"leak")
udp("QUIC", I4, v4(11), 443, QUIC)
udp("QUIC over IPv6", I6, v6(11), 443, QUIC)
udp("DNS over UDP", I4, v4(12), 53, QUESTION)
udp("DNS over UDP and IPv6", I6, v6(12), 53, QUESTION)
udp("DNS over QUIC", I4, v4(13), 853, QUIC)
udp("NTP", I4, v4(14), 123, b"\x23" + b"\0" * 47)
udp("multicast DNS", I4, "224.0.0.251", 5353, QUESTION)
udp("SSDP, which opens ports of routers", I4, "239.255.255.250", 1900, b"M-SEARCH * HTTP/1.1\r\n\r\n")
BROADCAST = ((socket.SOL_SOCKET, socket.SO_BROADCAST, 1),)
udp("a broadcast", I4, "255.255.255.255", 9, b"leak", BROADCAST)

ICMP, ICMP6 = socket.IPPROTO_ICMP, socket.IPPROTO_ICMPV6
for name, wire, *arguments in (
    ("ping without privileges", f"ip daddr {v4(20)} ip protocol icmp", I4, (v4(20), 0), ICMP_ECHO, DGRAM, ICMP),
    ("ping without privileges over IPv6", f"ip6 daddr {v6(20)}", I6, (v6(20), 0), ICMP6_ECHO, DGRAM, ICMP6),
    ("ICMP by a raw socket", f"ip daddr {v4(21)} ip protocol icmp", I4, (v4(21), 0), ICMP_ECHO, RAW, ICMP),
    ("ICMPv6 by a raw socket", f"ip6 daddr {v6(21)}", I6, (v6(21), 0), ICMP6_ECHO, RAW, ICMP6),
    ("a raw packet of a protocol of its own", f"ip daddr {v4(22)} ip protocol 253", I4, (v4(22), 0), b"leak", RAW, 253),
    ("the same over IPv6", f"ip6 daddr {v6(22)} ip6 nexthdr 253", I6, (v6(22), 0), b"leak", RAW, 253),
    (
        "UDP below the socket layer",
        f"ip daddr {v4(23)} ip protocol udp",
        *(I4, (v4(23), 0), struct.pack("!HHHH", 9, 9, 8, 0), RAW, 17),
    ),
):
    add(name, wire, send, *arguments)
add("SCTP", f"ip daddr {v4(30)} ip protocol 132", connect, I4, (v4(30), 443), STREAM, 132)
add("Multipath TCP", f"ip daddr {v4(31)} tcp dport 443", connect, I4, (v4(31), 443), STREAM, 262)


@attempt("a raw packet with a forged source address", f"ip daddr {v4(24)} ip protocol 253")
def forged():
    to, source = socket.inet_aton(v4(24)), socket.inet_aton("192.0.2.99")
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 24, 0, 0, 64, 253, 0, source, to)
    return send(I4, (v4(24), 0), head + b"leak", RAW, socket.IPPROTO_RAW)


@attempt("multicast DNS over IPv6", "ip6 daddr ff02::fb udp dport 5353")
def multicast_v6():
    others = [index for index, name in socket.if_nameindex() if name != "lo"]
    said, refused = [], None
    # Without an interface to name, the kernel has to find a route.
    for index in others or [0]:
        try:
            said.append(send(I6, ("ff02::fb", 5353, 0, index), QUESTION))
        except OSError as e:
            refused = e
    if not said:
        raise refused
    return ", ".join(said)


@attempt("joining a multicast group", "ip protocol igmp")
def join():
    with socket.socket(I4, DGRAM) as s:
        group = socket.inet_aton("239.1.2.3") + socket.inet_aton("0.0.0.0")
        s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
    return "joined"


@attempt("a frame by AF_PACKET on every interface", "ether type 0x88b5")
def packet():
    sent = []
    frame = b"\xff" * 12 + b"\x88\xb5" + b"leak" * 12
    with socket.socket(socket.AF_PACKET, RAW, 0) as s:
        for index, name in socket.if_nameindex():
            if name != "lo":
                s.bind((name, 0))
                sent.append(f"{s.send(frame)} bytes on {name}")
    if not sent:
        raise OSError(errno.ENODEV, "no interface but lo")
    return ", ".join(sent)


def asks(name):
    """The system's resolver asking for `name`: header, name with two length bytes, type, class."""
    return f"ip daddr {NAME_SERVER} udp dport 53 udp length {8 + 12 + len(name) + 2 + 4}"


def ignoring():
    """Opens URLs without a look at the proxy variables, as aiohttp does by default."""
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))


@attempt("DNS over TLS", f"ip daddr {v4(40)} tcp dport 853")
def dns_over_tls():
    with socket.create_connection((v4(40), 853)) as s:
        ssl.create_default_context().wrap_socket(s, server_hostname="dns.example.com")
    return "connected"


@attempt("DNS over HTTPS, proxy variables ignored", f"ip daddr {v4(41)} tcp dport 443")
def dns_over_https():
    return ignoring().open(f"https://{v4(41)}/dns-query?dns=AAABAAAB").status


@attempt("HTTP, proxy variables ignored", f"ip daddr {v4(42)} tcp dport 80")
def http_ignoring():
    return ignoring().open(f"http://{v4(42)}/").status


@attempt("HTTP with NO_PROXY=*", f"ip daddr {v4(43)} tcp dport 80")
def no_proxy():
    names = ("NO_PROXY", "no_proxy")
    before = {name: os.environ.get(name) for name in names}
    try:
        os.environ.update(dict.fromkeys(names, "*"))
        opener = urllib.request.build_opener()
        return opener.open(f"http://{v4(43)}/").status
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


@attempt("HTTPS by name, proxy variables ignored", asks("by-name.leak.example.com"))
def https_by_name():
    return ignoring().open("https://by-name.leak.example.com/").status


@attempt("the system's resolver", asks("leak.example.com"))
def resolver():
    return socket.getaddrinfo("leak.example.com", 443)


@attempt("undoing a mount")
def unmount():
    libc = ctypes.CDLL(None, use_errno=True)
    # MNT_DETACH
    if libc.umount2(b"/run", 2) != 0:
        raise OSError(ctypes.get_errno(), "umount2")
    return "unmounted"


@attempt("a new interface")
def tun():
    import fcntl

    with open("/dev/net/tun", "r+b", buffering=0) as f:
        # TUNSETIFF, IFF_TAP | IFF_NO_PI
        fcntl.ioctl(f, 0x400454CA, struct.pack("16sH22s", b"leak0", 0x1002, b""))
    return "made"


def run(function):
    """(refused, words, cause)"""
    try:
        return False, str(function()), None
    except urllib.error.HTTPError as e:
        return False, f"HTTP {e.code}", None
    except urllib.error.URLError as e:
        cause = e.reason if isinstance(e.reason, OSError) else e
    except OSError as e:
        cause = e
    words = f"{type(cause).__name__}: {cause}"
    if isinstance(cause, socket.gaierror):
        # "No such name" is an answer: someone was asked.
        return cause.errno == socket.EAI_AGAIN, words, None
    number = getattr(cause, "errno", None)
    return number in LOCAL, words, number


def answered(url, body=None):
    """True for 200; the status or the failure's words otherwise."""
    headers = {"Content-Type": "application/json"}
    try:
        request = urllib.request.Request(url, data=body, headers=headers)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status == 200 or answer.status
    except OSError as e:
        return str(e)


def controls():
    body = json.dumps({"event_type": "probe"}).encode()
    event = "/api/chat/track_event"
    results = {
        "a stand-in by http": answered(f"http://{VENDOR}{event}", body),
        "a stand-in by https": answered(f"https://{VENDOR}{event}", body),
    }
    base = os.environ.get("BACKEND_BASE_URL")
    if base:
        results["a stand-in by base URL"] = answered(base.rstrip("/") + event, body)
    name = "an unlisted host is refused by policy"
    try:
        with urllib.request.urlopen("http://leak.example.com/", timeout=10) as answer:
            results[name] = answer.status
    except urllib.error.HTTPError as e:
        typed = e.code == 403 and e.headers.get("x-airlock-decision") is not None
        results[name] = typed or f"HTTP {e.code}"
    except OSError as e:
        results[name] = str(e)
    return results


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--patience", type=float, default=3.0, help="seconds per attempt")
    parser.add_argument("--wire", action="store_true", help="print what to count, and nothing else")
    parser.add_argument("--host-port", type=int)
    parser.add_argument("--reach", help="ADDRESS:PORT")
    parser.add_argument("--unix")
    parser.add_argument("--abstract")
    parser.add_argument("--absent", action="append", default=[])
    parser.add_argument("--skip", action="append", default=[], help="an attempt that does not apply")
    return parser.parse_args()


def seen(path):
    os.stat(path)
    return "visible"


def main():
    args = arguments()
    socket.setdefaulttimeout(args.patience)
    if args.wire:
        print(json.dumps(WIRE))
        return
    if args.host_port:
        name = "a server of the host's loopback"
        add(name, None, connect, I4, ("127.0.0.1", args.host_port))
        add(f"{name}, by IPv6", None, connect, I6, ("::1", args.host_port))
    if args.reach:
        address, port = args.reach.rsplit(":", 1)
        name = "a server of the host that listens on all addresses"
        add(name, None, connect, I4, (address, int(port)))
    if args.unix:
        add("a Unix socket of the host", None, connect, socket.AF_UNIX, args.unix)
    if args.abstract:
        name = "an abstract socket of the host"
        add(name, None, connect, socket.AF_UNIX, "\0" + args.abstract)
    for path in args.absent:
        add(f"a file that must be hidden: {os.path.basename(path)}", None, seen, path)
    refused, escaped, unknown = {}, {}, []
    for name, function in ATTEMPTS.items():
        if name in args.skip:
            continue
        was_refused, words, number = run(function)
        (refused if was_refused else escaped)[name] = words
        if number in UNKNOWN:
            unknown.append(name)
    results = controls()
    ok = not escaped and all(result is True for result in results.values())
    report = {
        "ok": ok,
        "refused": refused,
        "escaped": escaped,
        "unknown": unknown,
        "controls": results,
    }
    print(json.dumps(report, indent=1))
    sys.exit(0 if ok else 1)


if __name__ == "__main__":
    main()
