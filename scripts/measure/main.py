"""What `scripts/bench` measures: each figure beside its floor of the same run, in one table and as JSON.

Servers and delayed lines run here, punchd beside them. A figure's floor is measured in the same round, next to it; the table shows the medians of all
rounds, and the median of the rounds' ratios. What is counted (instructions, bytes, system calls) is counted once. All of it runs in a network
namespace of its own where the kernel gives one (also without privilege, in most places): its loopback carries nothing else, so that its counters are
the bytes on the wire. Times are printed as ratios; none is a pass or a failure. Counts have budgets (`budgets.py`).
"""

import argparse
import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path

import budgets
from backlog import million_pending
from bench import Bench, enter_namespace, ip
from calls import flash, idle_flash, system_calls
from counts import exchanges, rows_up
from figures import Figure, merge, table, write
from fleet import start_together
from large import large_file, list_of_commands
from latency import answer, to_server
from link_cost import idle_day, instructions, punches, put_file
from link_recovery import cable, fleet, held_poll, outage
from local_terminal import Failure
from people import many_people
from scenarios import DEAF
from store_counts import acknowledgement, start, status, with_people, with_punches
from upload import drain

GROUPS = {
    "link": [punches, idle_day, instructions, put_file, outage, cable, held_poll, fleet],
    "instructions": [exchanges, rows_up],
    "store": [status, with_punches, with_people, acknowledgement, start],
    "calls": [system_calls, flash, idle_flash],
    "time": [drain, large_file, list_of_commands, answer, to_server],
    "deaf": DEAF,
    "fleet": [start_together],
    "limits": [million_pending, many_people],
}
BY_NAME_ONLY = {"limits"}  # takes long


def main():
    """The exit code is 1 if a figure could not be measured, or with `budgets` or `limits` if a count exceeds its budget."""
    arguments = parse()
    if not arguments.namespace:
        enter_namespace()
    else:
        ip("link", "set", "lo", "up")
    for signal_number in signal.SIGTERM, signal.SIGHUP:  # whoever ends this program ends with it what it started
        signal.signal(signal_number, lambda signal_number, _: sys.exit(128 + signal_number))
    begun = time.monotonic()
    figures, failures, about = [], 0, {}
    for measure in arguments.measures:
        failures += not measure_one(measure, arguments, figures)
        about = about_this(arguments, time.monotonic() - begun)
        if arguments.json not in (None, "-"):
            write(arguments.json, about, figures)  # after each, so that nothing is lost if this is ended
    print(
        f"\n{table(figures)}\n\n" + "; ".join(f"{name} {value}" for name, value in about.items()),
        file=sys.stderr if arguments.json == "-" else sys.stdout,
    )
    if arguments.json == "-":
        write("-", about, figures)
    exceeded = budgets.exceeded(figures, arguments.group, not arguments.only)
    for line in exceeded:
        print(f"bench: {line}", file=sys.stderr)
    return 1 if failures or exceeded else 0


def about_this(arguments, seconds):
    version = subprocess.run([arguments.punchd, "--version"], capture_output=True, text=True).stdout.strip()
    machine = f"{platform.machine()}, Linux {platform.release()}, {os.cpu_count()} cores, load {os.getloadavg()[1]:.1f}"
    disk = subprocess.run(["stat", "-f", "-c", "%T", arguments.place], capture_output=True, text=True).stdout.strip()
    return {"program": version, "machine": machine, "stores on": disk, "rounds": arguments.rounds, "seconds": round(seconds)}


def parse():
    names = {name: [measure.__name__ for measure in measures] for name, measures in GROUPS.items()}
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Figures of punchd, each beside its floor of the same run. Times are ratios; none is a pass or a failure.",
        epilog="groups, and the figures of each:\n"
        + "\n".join(f"  {name:13} {', '.join(those)}" for name, those in names.items())
        + "\n  budgets       the counts that have a budget; like limits, it ends with 1 if one exceeds it",
    )
    parser.add_argument("group", nargs="?", choices=[*GROUPS, "budgets"], metavar="GROUP", help="without one, all but budgets and limits")
    parser.add_argument("--punchd", type=Path, metavar="FILE", help="the program to measure; by default it is built")
    parser.add_argument("--against", type=Path, metavar="FILE", help="a second program, measured in the same rounds")
    parser.add_argument("--rounds", type=int, default=7, metavar="N", help="rounds of which the median is taken (7)")
    parser.add_argument("--only", default="", metavar="NAME", help="figures whose names begin so")
    parser.add_argument("--json", metavar="FILE", help="writes all values, too; - is standard output")
    parser.add_argument("--place", type=Path, metavar="DIRECTORY", help="where stores are made: the file system that is measured (target/bench)")
    parser.add_argument("--namespace", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--check", action="store_true", help=argparse.SUPPRESS)  # of the arguments alone, before a build
    arguments = parser.parse_args()
    groups = [arguments.group] if arguments.group in GROUPS else [name for name in GROUPS if name not in BY_NAME_ONLY]
    measures = budgets.MEASURES if arguments.group == "budgets" else [measure for group in groups for measure in GROUPS[group]]
    arguments.measures = [measure for measure in measures if measure.__name__.startswith(arguments.only)]
    if not arguments.measures:
        parser.error(f"no figure of {arguments.group or 'any group'} begins with {arguments.only!r}: --help names them")
    if arguments.rounds < 1:
        parser.error("--rounds is 1 or more")
    for program in (arguments.punchd, arguments.against):
        if program and not os.access(program, os.X_OK):
            parser.error(f"{program} is not a program")
    if arguments.json not in (None, "-") and not Path(arguments.json).absolute().parent.is_dir():
        parser.error(f"--json {arguments.json}: there is no such directory")
    if arguments.check:
        sys.exit(0)
    if not arguments.punchd:
        parser.error("--punchd is missing: scripts/bench builds it")
    arguments.place = arguments.place or Path(os.environ.get("CARGO_TARGET_DIR", "target")) / "bench"
    return arguments


def measure_one(measure, arguments, figures):
    """Adds the figures of a measure. Whether it could be measured."""
    print(f"── {measure.__name__}", file=sys.stderr, flush=True)
    try:
        figures += rounds_of(measure, arguments)
        return True
    except (Failure, OSError, subprocess.SubprocessError) as failure:
        figures.append(Figure(measure.__name__, remark=f"failed: {failure}".replace("\n", " ")))
        print(f"   failed: {failure}", file=sys.stderr, flush=True)
        return False


def rounds_of(measure, arguments):
    """The figures of a measure after all its rounds."""
    figures, against = [], []
    rounds = 1 if getattr(measure, "once", False) else arguments.rounds
    for nth in range(rounds):
        for program, so_far in [(arguments.punchd, figures), (arguments.against, against)]:
            if program:
                with Bench(arguments, program) as bench:
                    merge(so_far, measure(bench))
        shown = ", ".join("/".join(f"{value:.3g}" for value in [figure.values[-1], *figure.floors[-1:]]) for figure in figures if figure.values)
        print(f"   round {nth + 1} of {rounds}: {shown}", file=sys.stderr, flush=True)
    for figure, other in zip(figures, against):
        figure.against = other
    return figures


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
