#!/usr/bin/env python3
"""Writes src/link_order.ld: the functions that requests run through, for the linker to lay side by side.

    just link-order            with a release build of what is there now, half a minute
    just link-order --check    how many of its names the built program still has

Why: docs/adr/0014. Valgrind counts what runs while chats are streamed and requests are passed on, in the
clear and through an opened tunnel. The program's names carry hashes of the compiler and of versions: a
pattern stands for them, so the list outlives both, and a name that is gone is only one that is not found.
"""

import argparse
import bisect
import collections
import os
import re
import shutil
import subprocess
import sys
import time

import race

SCRIPT = race.ROOT / "src/link_order.ld"
COUNTS = race.SCRATCH / "link-order.callgrind"
# Patterns that stand for many functions of which few run would fill the place with what never runs.
LOOSE, SMALL = 3, 4096
# Runs of an instruction, of about 200 requests of each kind: less is not on the way of a request.
OFTEN = 50
HEAD = """\
/* Functions that requests run through, side by side: see docs/adr/0014. Written by `just link-order`;
   a pattern that finds nothing does no harm. */
SECTIONS
{
  .text.requests : {
"""
TAIL = """\
  }
}
INSERT BEFORE .text;
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--check", action="store_true", help="count the names that are still found; writes nothing")
    options = parser.parse_args()
    binary = race.RELEASE / "airlock"
    functions = symbols(binary)
    if options.check:
        return check(functions)
    if os.environ.get(race.INSIDE) != "1":
        if not shutil.which("valgrind"):
            sys.exit("error: valgrind is missing: 'apt install valgrind'")
        race.prepare(argparse.Namespace(rules=None))
        race.enter_namespace()
    race.own_network()
    try:
        counts = drive(binary)
    finally:
        for child in reversed(race.children):
            race.stop(child)
    write(functions, hot(functions, counts, binary))
    return check(functions)


def symbols(binary):
    """(address, size, name) of the program's functions, by address. Equal ones share an address."""
    lines = subprocess.run(["nm", "-S", binary], check=True, capture_output=True, text=True).stdout
    fields = (line.split() for line in lines.splitlines())
    return sorted((int(f[0], 16), int(f[1], 16), f[3]) for f in fields if len(f) == 4 and f[2] in "tTwW")


def drive(binary):
    """Plays requests of all kinds before a program that valgrind counts. The file of its counts."""
    race.origin()
    llm = race.spawn(race.RELEASE / "examples/fake_sse", "--listen", f"127.0.0.1:{race.LLM}")
    race.wait_for(race.LLM, llm)
    COUNTS.unlink(missing_ok=True)
    counted = race.SCRATCH / "airlock-counted"
    counted.write_text(f"#!/bin/sh\nexec valgrind --tool=callgrind --instr-atstart=no --dump-instr=yes "
                       f"--callgrind-out-file={COUNTS} '{binary}' \"$@\"\n")
    counted.chmod(0o755)
    print("==> starting under valgrind", file=sys.stderr)
    child, _, ready = race.airlock(1, "state-link-order", binary=counted)
    rate = ["rate", "--path", "/bench/1k", "--connections", 4, "--seconds", 3, "--warm-up", 0.5]
    address = lambda port: ["--address", f"127.0.0.1:{port}"]
    traffic = {
        "chats": ["ttft", "--direct", f"127.0.0.1:{race.LLM}", "--through", f"127.0.0.1:{race.REVERSE}",
                  "--samples", 200, "--warm-up", 0],
        "reverse": [*rate, *address(race.REVERSE), "--host", f"127.0.0.1:{race.REVERSE}"],
        "opened tunnels": [*rate, *address(race.EXPLICIT), "--host", f"origin.test:{race.ORIGIN_TLS}", "--ca", ready["ca_bundle"]],
    }
    # What runs once belongs to the start.
    race.load(*traffic["chats"])
    time.sleep(5)
    control = lambda *how: subprocess.run(["callgrind_control", *how, str(child.pid)], check=True,
                                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    control("-i", "on")
    for name, command in traffic.items():
        print(f"==> {name}", file=sys.stderr)
        race.load(*command)
    control("-i", "off")
    control("-d")
    time.sleep(1)
    return COUNTS.with_name(COUNTS.name + ".1")


def hot(functions, counts, binary):
    """The functions with an instruction that ran often: their places in `functions`."""
    starts = [address for address, _, _ in functions]
    objects, current, address, inclusive, found = {}, "", 0, False, set()
    for line in open(counts):
        if named := re.match(r"(c?ob)=\((\d+)\)(?: (.*))?$", line):
            kind, number, name = named.groups()
            objects[number] = name or objects.get(number, "")
            current = objects[number] if kind == "ob" else current
        elif line.startswith("calls="):
            # The next line's cost is that of the function called.
            inclusive = True
        elif len(fields := line.split()) == 3 and fields[0][0] in "0123456789+-*":
            place = fields[0]
            if place[0] in "+-":
                address += int(place, 0)
            elif place != "*":
                address = int(place, 16)
            if not inclusive and int(fields[2]) >= OFTEN and current == str(binary):
                found.add(starts[bisect.bisect_right(starts, address) - 1])
            inclusive = False
    return found


def pattern(name):
    """A name without the hashes of compiler, version and optimizer."""
    name = re.sub(r"17h[0-9a-f]{16}E(\.llvm\.\d+)?$", "17h*E*", name)
    return re.sub(r"Cs[0-9A-Za-z]{9,12}_", "Cs*_", name)


def by_pattern(functions):
    """What each pattern stands for: sizes by address."""
    stands_for = collections.defaultdict(dict)
    for address, size, name in functions:
        stands_for[pattern(name)][address] = size
    return stands_for


def write(functions, hot):
    kept = []
    for words, sizes in by_pattern(functions).items():
        wanted, all_of_them = sum(size for address, size in sizes.items() if address in hot), sum(sizes.values())
        if wanted and (all_of_them <= LOOSE * wanted or all_of_them <= SMALL):
            kept.append(words)
    lines = [f"    *(.text.{words})\n" for words in sorted(kept)]
    SCRIPT.write_text(HEAD + "".join(lines) + TAIL)


def check(functions):
    wanted = re.findall(r"\*\(\.text\.(.*)\)", SCRIPT.read_text())
    there = by_pattern(functions)
    found = [words for words in wanted if words in there]
    size = sum(sum(there[words].values()) for words in found)
    print(f"{len(found)} of {len(wanted)} names are found in {race.RELEASE / 'airlock'}; {size / 1024:.0f} KiB lie side by side")
    return 0 if len(found) * 2 >= len(wanted) else 1


if __name__ == "__main__":
    sys.exit(main())
