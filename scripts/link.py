"""What `scripts/bench link` measures: what the link to the server costs, and how soon it is back. Each figure stands beside its floor of the same run.

Servers and delayed lines run here, punchd beside them; where times are compared, the floor is measured in the same round. What only waits for the
line or the clock runs side by side. All of it runs in a network namespace of its own where the kernel gives one (also without privilege, in most
places): its loopback carries nothing else, so that its counters are the bytes on the wire. Times are printed as ratios; none is a pass or a failure.
"""

import argparse
import contextlib
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from figures import Figure, table, write
from link_bench import Bench, enter_namespace, ip
from link_cost import idle_day, instructions, punches, put_file
from link_recovery import cable, fleet, held_poll, outage
from local_terminal import Failure
from terminal import end_in_order

FIGURES = [punches, idle_day, instructions, put_file, outage, cable, held_poll, fleet]


def main():
    """The exit code is 1 if a figure could not be measured."""
    parser = argparse.ArgumentParser(prog="scripts/bench link")
    parser.add_argument("--punchd", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", metavar="FILE", help="- is standard output")
    parser.add_argument("--only", default="", metavar="NAME", help=f"one figure, by the beginning of its name: {', '.join(figure.__name__ for figure in FIGURES)}")
    parser.add_argument("--namespace", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    measures = [measure for measure in FIGURES if measure.__name__.startswith(arguments.only)]
    if not measures or arguments.rounds < 1:
        parser.error("there is no such figure" if not measures else "--rounds is 1 or more")
    if not arguments.namespace:
        enter_namespace()
    else:
        # Packets as they are on Ethernet, each with its headers.
        ip("link", "set", "lo", "mtu", "1500", "gso_max_segs", "1", "up")
    end_in_order()
    figures, failures, begun = [], 0, time.monotonic()
    with contextlib.ExitStack() as at_the_end:
        place = Path(at_the_end.enter_context(tempfile.TemporaryDirectory(prefix="punchd-bench-")))
        bench = Bench(arguments, place, at_the_end)
        for measure in measures:
            print(f"── {measure.__name__}", file=sys.stderr, flush=True)
            try:
                figures += measure(bench)
            except Failure as failure:
                failures += 1
                figures.append(Figure(measure.__name__, remark=f"failed: {failure}".replace("\n", " ")))
                print(f"   failed: {failure}", file=sys.stderr, flush=True)
    version = subprocess.run([arguments.punchd, "--version"], capture_output=True, text=True).stdout.strip()
    about = {"punchd": version, "machine": f"{platform.machine()}, Linux {platform.release()}, {os.cpu_count()} cores", "rounds": arguments.rounds, "seconds": round(time.monotonic() - begun)}
    print(f"\n{table(figures)}\n\n" + "; ".join(f"{name} {value}" for name, value in about.items()), file=sys.stderr if arguments.json == "-" else sys.stdout)
    if arguments.json:
        write(arguments.json, about, figures)
    return 1 if failures else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
