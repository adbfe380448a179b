#!/usr/bin/env python3
"""Writes what runs when a request comes, and what runs at the start: src/link_order.ld, the functions, for the linker
to lay side by side; src/prefetch/table.txt, which of a chat's bytes run until its LLM is asked, and from there until
its first token is passed on, to be fetched ahead.

    just link-order            with a release build of what is there now, two minutes
    just link-order --check    how many of their names the built program still has

Why: docs/adr/0014 and 0015. Valgrind counts what runs until it is ready, and while chats are streamed and requests
are passed on, in the clear and through an opened tunnel. The program's names carry hashes of the compiler and of
versions: a pattern stands for them, so the list outlives both, and a name that is gone is only one that is not found.
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
TABLE = race.ROOT / "src/prefetch/table.txt"
COUNTS = race.SCRATCH / "link-order.callgrind"
# Patterns that stand for many functions of which few run would fill the place with what never runs.
LOOSE, SMALL = 3, 4096
# Runs of an instruction, of about 200 requests of each kind: less is not on the way of a request.
OFTEN = 50
HEAD = """\
/* Functions that requests run through, side by side, and behind them those of the start: see docs/adr/0014. Written
   by `just link-order`; a pattern that finds nothing does no harm. */
SECTIONS
{
"""
TAIL = """\
}
INSERT BEFORE .text;
"""
# Bytes that do not run and are fetched all the same, between two that do: a cache line.
GAP = 64
# Functions of one size and one plain name (instances of a generic): of more than these, none is in the table.
NAMESAKES = 3
TABLE_HEAD = """\
# Size, name and ranges of bytes that run until a chat's LLM is asked and, behind the bar, from its answer until the
# first token is passed on: see docs/adr/0015.
# Written by `just link-order`; a function that is compiled otherwise is not fetched ahead, and does no harm.
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
        start, start_lies = begin(binary)
        asking, answering, all_of_it, lies = drive(binary)
    finally:
        for child in reversed(race.children):
            race.stop(child)
    requests = hot(functions, ran(all_of_it, binary, lies), OFTEN)
    write(functions, requests, hot(functions, ran(start, binary, start_lies), 1) - requests)
    write_table(functions, *({address for address, _ in ran(counts, binary, lies)} for counts in (asking, answering)))
    return check(functions)


def symbols(binary):
    """(address, size, name) of the program's functions, by address. Equal ones share an address."""
    lines = subprocess.run(["nm", "-S", binary], check=True, capture_output=True, text=True).stdout
    fields = (line.split() for line in lines.splitlines())
    return sorted((int(f[0], 16), int(f[1], 16), f[3]) for f in fields if len(f) == 4 and f[2] in "tTwW")


def counted(binary, counts, *how):
    """A program that valgrind counts."""
    program = race.SCRATCH / "airlock-counted"
    program.write_text(f"#!/bin/sh\nexec valgrind --tool=callgrind --dump-instr=yes {' '.join(how)} "
                       f"--callgrind-out-file={counts} '{binary}' \"$@\"\n")
    program.chmod(0o755)
    return program


def control(child, *how):
    subprocess.run(["callgrind_control", *how, str(child.pid)], check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def moved(child, binary):
    """How far from the addresses in its file the program lies."""
    first_mapping = next(line for line in open(f"/proc/{child.pid}/maps") if line.rstrip().endswith(str(binary)))
    return int(first_mapping.split("-")[0], 16)


def begin(binary):
    """Starts a program that valgrind counts, for the first time. The file of its counts, and how far from the
    addresses in its file the program lies."""
    print("==> a first start under valgrind", file=sys.stderr)
    counts = COUNTS.with_name(f"{COUNTS.name}.start")
    child, _, _ = race.airlock(None, "state-link-order", False, binary=counted(binary, counts))
    # What is done behind being ready, and every few seconds while nobody asks for anything.
    time.sleep(20)
    control(child, "-d")
    lies = moved(child, binary)
    race.stop(child)
    return counts.with_name(f"{counts.name}.1"), lies


def drive(binary):
    """Plays requests before a program that valgrind counts. The files of its counts, of one chat until
    the LLM is asked, from there until its first token, and of requests of all kinds, and how far from the addresses in
    its file the program lies."""
    race.origin()
    COUNTS.unlink(missing_ok=True)
    llm = lambda *how: race.spawn(race.RELEASE / "examples/fake_sse", "--listen", f"127.0.0.1:{race.LLM}", *how)
    answering = llm()
    race.wait_for(race.LLM, answering)
    print("==> starting under valgrind", file=sys.stderr)
    child, _, ready = race.airlock(1, "state-link-order", binary=counted(binary, COUNTS, "--instr-atstart=no"))
    rate = ["rate", "--path", "/bench/1k", "--connections", 4, "--seconds", 3, "--warm-up", 0.5]
    address = lambda port: ["--address", f"127.0.0.1:{port}"]
    chats = lambda samples: ["ttft", "--direct", f"127.0.0.1:{race.LLM}", "--through", f"127.0.0.1:{race.REVERSE}",
                             "--samples", samples, "--warm-up", 0]
    traffic = {
        "chats": chats(200),
        "reverse": [*rate, *address(race.REVERSE), "--host", f"127.0.0.1:{race.REVERSE}"],
        "opened tunnels": [*rate, *address(race.EXPLICIT), "--host", f"origin.test:{race.ORIGIN_TLS}", "--ca", ready["ca_bundle"]],
    }
    # What runs once belongs to the start.
    race.load(*traffic["chats"])
    print("==> a first token", file=sys.stderr)
    race.stop(answering)
    # A second and a half until the first token, and as much until the second: enough to stop counting between them.
    answering = llm("--tokens", 2, "--first-ms", 1500, "--pace-ms", 1500)
    race.wait_for(race.LLM, answering)
    # The LLM is looked at again when ten seconds have gone: by this chat then, and not by the one that counts.
    time.sleep(10)
    race.load(*chats(1))
    one_chat = race.spawn(race.RELEASE / "examples/load", *chats(1))
    started = time.monotonic()
    at = lambda seconds: time.sleep(started + seconds - time.monotonic())
    # The LLM itself is asked first, which takes three seconds.
    at(2)
    control(child, "-i", "on")
    at(3.75)
    control(child, "-d")
    at(5.25)
    control(child, "-i", "off")
    control(child, "-d")
    one_chat.wait()
    race.stop(answering)
    race.wait_for(race.LLM, llm())
    control(child, "-i", "on")
    for name, command in traffic.items():
        print(f"==> {name}", file=sys.stderr)
        race.load(*command)
    control(child, "-i", "off")
    control(child, "-d")
    time.sleep(1)
    return *(COUNTS.with_name(f"{COUNTS.name}.{n}") for n in (1, 2, 3)), moved(child, binary)


def ran(counts, binary, lies):
    """(address in the file, runs) of each instruction of the program that ran."""
    objects, current, address, inclusive = {}, "", 0, False
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
            # Valgrind knows no other section than .text, and leaves the addresses of the rest as they are.
            if not inclusive and current in (str(binary), "???"):
                yield address - (lies if current == "???" else 0), int(fields[2])
            inclusive = False


def hot(functions, instructions, least):
    """The functions with an instruction that ran so often: their addresses."""
    starts = [address for address, _, _ in functions]
    often = (address for address, runs in instructions if runs >= least)
    return {starts[bisect.bisect_right(starts, address) - 1] for address in often if address >= starts[0]}


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


def write(functions, requests, start):
    stands_for = by_pattern(functions)
    text, listed = HEAD, set()
    for section, wanted in (("requests", requests), ("start", start)):
        kept = set()
        for words, sizes in stands_for.items():
            some, all_of_them = sum(size for address, size in sizes.items() if address in wanted), sum(sizes.values())
            if some and (all_of_them <= LOOSE * some or all_of_them <= SMALL):
                kept.add(words)
        # The linker takes the first that fits.
        lines = "".join(f"    *(.text.{words})\n" for words in sorted(kept - listed))
        listed |= kept
        text += f"  .text.{section} : {{\n{lines}  }}\n"
    SCRIPT.write_text(text + TAIL)


def plain(name):
    """A name without hash and copies, as src/prefetch/table.rs makes it."""
    return re.sub(r"17h[0-9a-f]{16}E$", "", name.split(".llvm.")[0])


def write_table(functions, *phases):
    """Of each phase the addresses of the instructions that ran."""
    # A name and size that stand for many would have all of them fetched.
    places = collections.defaultdict(set)
    for address, size, name in functions:
        places[size, plain(name)].add(address)
    starts = [address for address, _, _ in functions]
    rows = collections.defaultdict(lambda: [[] for _ in phases])
    for phase, instructions in enumerate(phases):
        for address in sorted(instructions):
            start, size, name = functions[bisect.bisect_right(starts, address) - 1]
            at = address - start
            if not 0 <= at < size or len(places[size, plain(name)]) > NAMESAKES:
                continue
            # Only starts are counted. Few instructions are longer than four bytes, and a line has 64.
            runs = rows[size, plain(name)][phase]
            if runs and at <= runs[-1][1] + GAP:
                runs[-1][1] = max(runs[-1][1], min(at + 4, size))
            else:
                runs.append([at, min(at + 4, size)])
    text = lambda runs: "".join(f" {a:x}-{b:x}" for a, b in runs)
    lines = [f"{size:x} {name}" + " |".join(map(text, phases)) + "\n"
             for (size, name), phases in sorted(rows.items(), key=lambda row: row[0][::-1])]
    TABLE.write_text(TABLE_HEAD + "".join(lines))


def check(functions):
    wanted = re.findall(r"\*\(\.text\.(.*)\)", SCRIPT.read_text())
    there = by_pattern(functions)
    found = [words for words in wanted if words in there]
    size = sum(sum(there[words].values()) for words in found)
    print(f"{len(found)} of {len(wanted)} names are found in {race.RELEASE / 'airlock'}; {size / 1024:.0f} KiB lie side by side")
    table = [line.split() for line in TABLE.read_text().splitlines() if not line.startswith("#")]
    same = {(size, plain(name)) for _, size, name in functions}
    known = [row for row in table if (int(row[0], 16), row[1]) in same]
    phases = [" ".join(ranges) for ranges in zip(*(" ".join(row[2:]).split("|") for row in known))]
    lines = [sum((int(b, 16) - int(a, 16)) // 64 + 1 for a, b in (r.split("-") for r in phase.split())) for phase in phases]
    print(f"{len(known)} of {len(table)} functions are compiled as those of the table; about {' and '.join(map(str, lines))} "
          "lines are fetched ahead, until the LLM is asked and once it answers")
    return 0 if len(found) * 2 >= len(wanted) else 1


if __name__ == "__main__":
    sys.exit(main())
