"""Tries every way out that a program has, and the two ways that must work.

An attempt has to be refused by this machine's own kernel: a packet on the wire, a connection, and
also a timeout (something was sent, and nobody answered) are failures. Destinations are documentation
addresses (RFC 5737, RFC 3849), which nobody answers on.

    python3 probe.py [--skip ATTEMPT]... [--host-port PORT] [--unix PATH] [--abstract NAME] [--absent PATH]...

--host-port, --unix, --abstract: servers outside that must not be reachable; --absent: a file that
must not be visible. Positive controls go through HTTP_PROXY: a stand-in answers 200, an unlisted
host gets a typed 403.

Prints {"ok", "refused": {attempt: why}, "escaped": {attempt: what}, "controls": {name: result}};
exit code 0 when nothing escaped and the controls pass. Standard library only.
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

V4, V6 = "203.0.113.9", "2001:db8::9"
RESOLVER4, RESOLVER6 = "192.0.2.53", "2001:db8::53"
VENDOR = "comfyui-copilot-server.onrender.com"
# What a kernel says by itself, at once. A refused connection is one too: only loopback says it here.
LOCAL = {
    errno.ENETUNREACH,
    errno.EHOSTUNREACH,
    errno.ENETDOWN,
    errno.EPERM,
    errno.EACCES,
    errno.ECONNREFUSED,
    errno.EADDRNOTAVAIL,
    errno.EAFNOSUPPORT,
    errno.EPROTONOSUPPORT,
    errno.ESOCKTNOSUPPORT,
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
ATTEMPTS = {}


def attempt(name):
    def register(function):
        ATTEMPTS[name] = function
        return function

    return register


def connect(family, address, kind=socket.SOCK_STREAM, protocol=0):
    with socket.socket(family, kind, protocol) as s:
        s.connect(address)
        return "connected"


def send(family, address, data, kind=socket.SOCK_DGRAM, protocol=0, options=()):
    with socket.socket(family, kind, protocol) as s:
        for level, option, value in options:
            s.setsockopt(level, option, value)
        return f"{s.sendto(data, address)} bytes sent"


def each(name, function, *rows):
    for label, *arguments in rows:
        ATTEMPTS[f"{name} {label}".strip()] = lambda a=arguments: function(*a)


I4, I6 = socket.AF_INET, socket.AF_INET6
each(
    "tcp",
    connect,
    ("ipv4", I4, (V4, 443)),
    ("ipv6", I6, (V6, 443)),
    ("ipv4 mapped into ipv6", I6, (f"::ffff:{V4}", 443)),
    ("dns", I4, (RESOLVER4, 53)),
    ("dns ipv6", I6, (RESOLVER6, 53)),
    ("metadata service", I4, ("169.254.169.254", 80)),
    ("the house's router", I4, ("192.168.1.1", 80)),
    ("the default gateway", I4, ("198.51.100.1", 80)),
)
each(
    "udp",
    send,
    ("ipv4", I4, (V4, 9), b"leak"),
    ("ipv6", I6, (V6, 9), b"leak"),
    ("quic", I4, (V4, 443), QUIC),
    ("quic ipv6", I6, (V6, 443), QUIC),
    ("dns", I4, (RESOLVER4, 53), QUESTION),
    ("dns ipv6", I6, (RESOLVER6, 53), QUESTION),
    ("mdns", I4, ("224.0.0.251", 5353), QUESTION),
    ("mdns ipv6", I6, ("ff02::fb", 5353), QUESTION),
    ("ntp", I4, (V4, 123), b"\x23" + b"\0" * 47),
    (
        "broadcast",
        I4,
        ("255.255.255.255", 9),
        b"leak",
        socket.SOCK_DGRAM,
        0,
        ((socket.SOL_SOCKET, socket.SO_BROADCAST, 1),),
    ),
)
RAW = socket.SOCK_RAW
each(
    "icmp",
    send,
    ("unprivileged", I4, (V4, 0), ICMP_ECHO, socket.SOCK_DGRAM, socket.IPPROTO_ICMP),
    ("ipv6 unprivileged", I6, (V6, 0), ICMP6_ECHO, socket.SOCK_DGRAM, socket.IPPROTO_ICMPV6),
    ("raw", I4, (V4, 0), ICMP_ECHO, RAW, socket.IPPROTO_ICMP),
    ("ipv6 raw", I6, (V6, 0), ICMP6_ECHO, RAW, socket.IPPROTO_ICMPV6),
)
each(
    "raw",
    send,
    ("ip of a protocol of our own", I4, (V4, 0), b"leak", RAW, 253),
    ("ipv6 of a protocol of our own", I6, (V6, 0), b"leak", RAW, 253),
    ("udp below the socket layer", I4, (V4, 0), struct.pack("!HHHH", 9, 9, 8, 0), RAW, 17),
)
each(
    "other transport",
    connect,
    ("sctp", I4, (V4, 443), socket.SOCK_STREAM, 132),
    ("mptcp", I4, (V4, 443), socket.SOCK_STREAM, 262),
)


@attempt("packet socket on every interface")
def packet():
    sent = []
    frame = b"\xff" * 12 + b"\x88\xb5" + b"leak" * 12
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as s:
        for index, name in socket.if_nameindex():
            if name != "lo":
                s.bind((name, 0))
                sent.append(f"{s.send(frame)} bytes on {name}")
    if not sent:
        raise OSError(errno.ENODEV, "no interface but lo")
    return ", ".join(sent)


@attempt("dns over tls")
def dns_over_tls():
    with socket.create_connection((RESOLVER4, 853)) as s:
        ssl.create_default_context().wrap_socket(s, server_hostname="dns.example.com")
    return "connected"


@attempt("dns over https, proxy ignored")
def dns_over_https():
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    return opener.open(f"https://{RESOLVER4}/dns-query?dns=AAABAAAB").status


@attempt("https by name, proxy ignored")
def https_by_name():
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    return opener.open("https://leak.example.com/").status


@attempt("the system's resolver")
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
    """(refused, words)"""
    try:
        return False, str(function())
    except urllib.error.HTTPError as e:
        return False, f"HTTP {e.code}"
    except urllib.error.URLError as e:
        cause = e.reason if isinstance(e.reason, OSError) else e
    except OSError as e:
        cause = e
    words = f"{type(cause).__name__}: {cause}"
    if isinstance(cause, socket.gaierror):
        # "No such name" is an answer: someone was asked.
        return cause.errno == socket.EAI_AGAIN, words
    return getattr(cause, "errno", None) in LOCAL, words


def controls():
    results = {}
    body = json.dumps({"event_type": "probe"}).encode()
    for scheme in ("http", "https"):
        request = urllib.request.Request(
            f"{scheme}://{VENDOR}/api/chat/track_event",
            data=body,
            headers={"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                results[f"stand-in by {scheme}"] = answer.status == 200 or answer.status
        except OSError as e:
            results[f"stand-in by {scheme}"] = str(e)
    try:
        with urllib.request.urlopen("http://leak.example.com/", timeout=10) as answer:
            results["an unlisted host is refused by policy"] = answer.status
    except urllib.error.HTTPError as e:
        typed = e.code == 403 and e.headers.get("x-airlock-decision") is not None
        results["an unlisted host is refused by policy"] = typed or f"HTTP {e.code}"
    except OSError as e:
        results["an unlisted host is refused by policy"] = str(e)
    return results


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--patience", type=float, default=3.0, help="seconds per attempt")
    parser.add_argument("--host-port", type=int)
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
    if args.host_port:
        each(
            "a server of the host's loopback",
            connect,
            ("ipv4", I4, ("127.0.0.1", args.host_port)),
            ("ipv6", I6, ("::1", args.host_port)),
        )
    if args.unix:
        each("a unix socket of the host", connect, ("", socket.AF_UNIX, args.unix))
    if args.abstract:
        each("an abstract socket of the host", connect, ("", socket.AF_UNIX, "\0" + args.abstract))
    for path in args.absent:
        each("a file that must be hidden:", seen, (os.path.basename(path), path))
    refused, escaped = {}, {}
    for name, function in ATTEMPTS.items():
        if name in args.skip:
            continue
        was_refused, words = run(function)
        (refused if was_refused else escaped)[name] = words
    results = controls()
    ok = not escaped and all(result is True for result in results.values())
    print(
        json.dumps({"ok": ok, "refused": refused, "escaped": escaped, "controls": results}, indent=1)
    )
    sys.exit(0 if ok else 1)


main()
