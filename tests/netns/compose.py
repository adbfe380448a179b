"""The network that a compose file describes, made of namespaces, bridges and veths; and the probe in it.

No container engine takes part. Each network is a bridge of the host's namespace with an address
(unless its gateway mode is `isolated`); each service is a namespace with one veth per network, and
with a default route only if one of its networks is not `internal`. The host has a route to `outside`, a
namespace where the capture and the counters stand. The engine's firewall rules are left out: what is
shown here must hold without them. Its DNS server is played by this file, as engines before the fix of
CVE-2024-29018 had it: names of services from a table, and every other question handed on - from the
host when the service names no resolver of its own, or from the container's own network.

    unshare --user --map-root-user --net --mount python3 compose.py OUT.json < PLAN

PLAN: {"compose": the compose file, merged, as JSON, "folder": where it lies, "binary": airlock,
"scratch": a folder, "plugin": service to run the probe in, "probe": its path, "options": [for it]}.
OUT.json: as capture.py writes it for what arrives outside, and {"from_plugin": [what left its
interfaces, neighbour discovery aside], "airlock": [its addresses], "probe": its report}.
"""

import json
import os
import re
import socket
import struct
import subprocess
import sys
import threading

sys.dont_write_bytecode = True
from wire import (  # noqa: E402
    NAME_SERVER,
    Capture,
    Counters,
    ip,
    is_kernels,
    report,
    send_controls,
    sysctl,
    up,
)

RUN = "/run/netns"
EMBEDDED_DNS = "127.0.0.11"
HOST_PORT = 8099  # something that the host serves on all of its addresses
GATEWAY_MODE = "com.docker.network.bridge.gateway_mode_ipv4"


def inside(namespace, *command, **options):
    return subprocess.Popen(["nsenter", f"--net={RUN}/{namespace}", *command], **options)


def here(namespace, function, *arguments):
    """Runs a function of this file in a namespace: this very script again."""
    call = json.dumps([function, arguments])
    child = inside(namespace, sys.executable, __file__, "--call", call)
    if child.wait() != 0:
        sys.exit(f"{function} failed in {namespace}")


class Topology:
    def __init__(self, compose):
        self.networks = compose["networks"]
        self.services = {
            name: service
            for name, service in compose["services"].items()
            if service.get("networks") and not service.get("profiles")
        }
        self.number = {name: n for n, name in enumerate(self.networks)}
        # {service: {network: address}}
        self.addresses = {
            name: {
                network: f"172.30.{self.number[network]}.{10 + place}"
                for network in service["networks"]
            }
            for place, (name, service) in enumerate(self.services.items())
        }

    def gateway(self, network):
        return f"172.30.{self.number[network]}.1"

    def isolated(self, network):
        options = (self.networks[network] or {}).get("driver_opts") or {}
        return options.get(GATEWAY_MODE) == "isolated"

    def internal(self, network):
        return (self.networks[network] or {}).get("internal") is True

    def build(self):
        for name in ("outside", *self.services):
            ip("netns", "add", name)
        ip("link", "set", "lo", "up")
        sysctl("net.ipv4.ip_forward", 1)
        ip("link", "add", "uplink", "type", "veth", "peer", "name", "arrives", "netns", "outside")
        up("uplink")
        ip("addr", "add", "198.51.100.2/24", "dev", "uplink")
        ip("-6", "addr", "add", "2001:db8:1::2/64", "dev", "uplink", "nodad")
        here("outside", "prepare_outside")
        for number, kind in ((4, ("198.51.100.1",)), (6, ("-6", "2001:db8:1::1"))):
            family, gateway = ("-6",) if number == 6 else (), kind[-1]
            ip(*family, "route", "add", "default", "via", gateway, "dev", "uplink")
            ip(*family, "neigh", "add", gateway, "lladdr", "02:00:00:00:00:01", "dev", "uplink")
        for network in self.networks:
            bridge = f"br{self.number[network]}"
            ip("link", "add", bridge, "type", "bridge")
            sysctl(f"net.ipv6.conf.{bridge}.disable_ipv6", 1)
            if not self.isolated(network):
                ip("addr", "add", f"{self.gateway(network)}/24", "dev", bridge)
            ip("link", "set", bridge, "up")
        for place, (name, service) in enumerate(self.services.items()):
            legs = []
            for n, network in enumerate(service["networks"]):
                leg = f"leg{place}-{n}"
                peer = ("peer", "name", f"eth{n}", "netns", name)
                ip("link", "add", leg, "type", "veth", *peer)
                sysctl(f"net.ipv6.conf.{leg}.disable_ipv6", 1)
                ip("link", "set", leg, "master", f"br{self.number[network]}", "up")
                routed = not self.internal(network)
                legs.append([self.addresses[name][network], self.gateway(network), routed])
            here(name, "prepare_service", legs)

    def legs(self, service):
        place = list(self.services).index(service)
        return {f"leg{place}-{n}" for n, _ in enumerate(self.services[service]["networks"])}

    def names_seen_by(self, service):
        """What the engine's DNS server tells this service: those it shares a network with."""
        mine = self.addresses[service]
        return {
            name: address
            for name, addresses in self.addresses.items()
            for network, address in addresses.items()
            if network in mine
        }


def prepare_outside():
    ip("link", "set", "lo", "up")
    ip("link", "set", "arrives", "address", "02:00:00:00:00:01")
    up("arrives")
    # Nothing answers here, not even with a reset.
    ip("addr", "add", "198.51.100.254/24", "dev", "arrives")


def prepare_service(legs):
    ip("link", "set", "lo", "up")
    # What engines set: ping and low ports need no privilege, and no IPv6 where the network has none.
    sysctl("net.ipv4.ping_group_range", "0 0")
    sysctl("net.ipv4.ip_unprivileged_port_start", 0)
    routed = False
    for n, (address, gateway, leads_out) in enumerate(legs):
        sysctl(f"net.ipv6.conf.eth{n}.disable_ipv6", 1)
        ip("addr", "add", f"{address}/24", "dev", f"eth{n}")
        ip("link", "set", f"eth{n}", "up")
        if leads_out and not routed:
            ip("route", "add", "default", "via", gateway, "dev", f"eth{n}")
            routed = True


def name_of(question):
    """Name and type of the one question of a DNS message."""
    labels, at = [], 12
    while question[at]:
        labels.append(question[at + 1 : at + 1 + question[at]].decode())
        at += 1 + question[at]
    return ".".join(labels).lower(), struct.unpack("!H", question[at + 1 : at + 3])[0], at + 5


def answer(question, names, forward):
    name, kind, end = name_of(question)
    head, asked = question[:2], question[12:end]
    if name in names:
        found = socket.inet_aton(names[name]) if kind == 1 else b""
        record = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4" + found if found else b""
        return head + struct.pack("!HHHHH", 0x8580, 1, bool(found), 0, 0) + asked + record
    try:
        forward(question)
    except OSError:
        pass
    # Nobody out there answers; a server failure says so.
    return head + struct.pack("!HHHHH", 0x8182, 1, 0, 0, 0) + asked


def serve_dns(names, resolvers, host_socket):
    host = socket.socket(fileno=host_socket)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.bind((EMBEDDED_DNS, 53))
        print("ready", flush=True)

        def forward(question):
            if not resolvers:
                host.sendto(question, (NAME_SERVER, 53))
            for resolver in resolvers:
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
                    out.sendto(question, (resolver, 53))

        while True:
            question, client = own.recvfrom(4096)
            own.sendto(answer(question, names, forward), client)


def text(value):
    """`${NAME:-default}` as compose reads it with an empty environment."""
    return re.sub(r"\$\{[A-Z_]+(?::?[-?]([^}]*))?\}", lambda m: m.group(1) or "", str(value))


class Container:
    """A service's command in its namespace: its files, its environment, its lack of privileges."""

    def __init__(self, plan, topology, name):
        service = plan["compose"]["services"][name]
        self.plan, self.name, self.service = plan, name, service
        self.topology = topology
        self.environment = {
            key: self.mapped(text(value))
            for key, value in (service.get("environment") or {}).items()
            if value is not None
        }

    def mapped(self, words):
        """A path inside of the container becomes the place of its volume here."""
        for volume in self.service.get("volumes") or []:
            source, target = volume.split(":")[:2]
            if source.startswith("."):
                place = os.path.join(self.plan["folder"], source)
            else:
                place = os.path.join(self.plan["scratch"], source)
                os.makedirs(place, exist_ok=True)
            if words == target or words.startswith(f"{target}/"):
                return place + words[len(target) :]
        return words

    def command(self, *command):
        hosts, resolv = (f"{self.plan['scratch']}/{self.name}.{x}" for x in ("hosts", "resolv"))
        with open(hosts, "w", encoding="ascii") as f:
            f.write("127.0.0.1 localhost\n")
            for entry in self.service.get("extra_hosts") or []:
                name, address = entry.split(":", 1)
                network = self.service["networks"][0]
                gateway = self.topology.gateway(network)
                f.write(f"{gateway if address == 'host-gateway' else address} {name}\n")
        with open(resolv, "w", encoding="ascii") as f:
            f.write(f"nameserver {EMBEDDED_DNS}\noptions timeout:1 attempts:1\n")
        mount = 'mount --no-mtab --bind "$1" /etc/hosts && mount --no-mtab --bind "$2" /etc/resolv.conf'
        confined = ["setpriv"]
        if self.service.get("cap_drop") == ["ALL"] and not self.service.get("cap_add"):
            confined += ["--bounding-set=-all", "--inh-caps=-all"]
        if "no-new-privileges:true" in (self.service.get("security_opt") or []):
            confined.append("--no-new-privs")
        shell = ["sh", "-ec", f'{mount}; shift 2; exec "$@"', "sh", hosts, resolv]
        return ["unshare", "--mount", *shell, *confined, *command]

    def start(self, *command, **options):
        environment = {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": self.plan["scratch"],
            # As docker/Dockerfile sets it.
            "AIRLOCK_STATE_DIR": self.mapped("/var/lib/airlock"),
        }
        environment.update(self.environment)
        if self.service.get("network_mode") == "none":
            ip("netns", "add", self.name)
        return inside(self.name, *self.command(*command), env=environment, **options)


def serve_host():
    """The host, on all of its addresses: what an internal network may still reach."""
    listener = socket.create_server(("0.0.0.0", HOST_PORT))
    while True:
        listener.accept()[0].close()


def run(plan, out):
    topology = Topology(plan["compose"])
    subprocess.run(["mount", "--no-mtab", "-t", "tmpfs", "tmpfs", "/run"], check=True)
    topology.build()
    threading.Thread(target=serve_host, daemon=True).start()

    plugin = plan["plugin"]
    host_socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    call = [
        "serve_dns",
        [
            topology.names_seen_by(plugin),
            topology.services[plugin].get("dns") or [],
            host_socket.fileno(),
        ],
    ]
    dns = inside(
        plugin,
        *(sys.executable, __file__, "--call", json.dumps(call)),
        pass_fds=[host_socket.fileno()],
        stdout=subprocess.PIPE,
    )
    dns.stdout.readline()

    def command_of(container):
        return [plan["binary"], *map(container.mapped, container.service["command"])]

    ca = Container(plan, topology, "airlock-ca")
    if ca.start(*command_of(ca)).wait() != 0:
        sys.exit("airlock-ca failed")
    airlock = Container(plan, topology, "airlock")
    log = open(f"{plan['scratch']}/airlock.stderr", "w", encoding="utf-8")
    command = [*command_of(airlock), "--print-ready"]
    process = airlock.start(*command, stdout=subprocess.PIPE, stderr=log)
    if not process.stdout.readline():
        sys.exit(open(log.name, encoding="utf-8").read())

    # Two threads, two places: what arrives outside, and what the plugin's interfaces send.
    legs = topology.legs(plugin)
    at_plugin = Capture(lambda interface, outgoing: interface in legs and not outgoing)
    at_plugin.start()
    watch = [sys.executable, __file__, "--call", json.dumps(["watch_outside", [f"{out}.outside"]])]
    watcher = inside("outside", *watch, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    watcher.stdout.readline()
    sent = send_controls()
    container = Container(plan, topology, plugin)
    container.environment["RES_OPTIONS"] = "timeout:1 attempts:1"
    options = [text(option) for option in plan["options"]]
    options = [o.replace("HOST", f"{topology.gateway('llm_net')}:{HOST_PORT}") for o in options]
    probe = container.start("python3", plan["probe"], *options, stdout=subprocess.PIPE)
    said, _ = probe.communicate()
    sent += send_controls()
    watcher.communicate()
    with open(f"{out}.outside", encoding="utf-8") as f:
        outside = json.load(f)
    from_plugin = [s for _, s in at_plugin.end() if s.get("ethertype") != "0x806" and not is_kernels(s)]
    addresses = sorted(topology.addresses["airlock"].values())
    seen = [tuple(s) for s in outside["seen"]]
    more = {"from_plugin": from_plugin, "airlock": addresses, "probe": json.loads(said)}
    report(out, seen, sent, outside["counters"], **more)
    for child in (process, dns):
        child.kill()
    sys.stdout.flush()
    os._exit(0)


def watch_outside(path):
    capture = Capture(lambda interface, outgoing: interface == "arrives" and not outgoing)
    counters = Counters("arrives")
    capture.start()
    print("ready", flush=True)
    sys.stdin.read()
    seen = [s for s in capture.end() if s[1].get("ethertype") != "0x806"]
    with open(path, "w", encoding="utf-8") as f:
        json.dump({"seen": seen, "counters": counters.read()}, f)
    os._exit(0)


if __name__ == "__main__":
    if sys.argv[1] == "--call":
        function, arguments = json.loads(sys.argv[2])
        known = (prepare_outside, prepare_service, serve_dns, watch_outside)
        {f.__name__: f for f in known}[function](*arguments)
    else:
        run(json.load(sys.stdin), sys.argv[1])
