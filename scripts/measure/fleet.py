"""Many terminals that start together: how evenly their next polls come."""

import collections
import re
import threading
import time
from pathlib import Path

from bench import waited
from figures import Figure, once

TERMINALS, DELAY = 300, 30
LONGEST_HOLD = 25  # seconds; a terminal waits for 30
MEMORY_EACH = 12_000  # kB that a terminal may take of this machine


@once
def start_together(bench):
    """Real processes with the default configuration. On a small machine their starts take seconds; so once more, the server answers no handshake before all have asked."""
    return [next_round(bench, at_once) for at_once in (False, True)]


def next_round(bench, at_once):
    """The second poll of each terminal, and the busiest second of those."""
    available = int(re.search(r"MemAvailable:\s*(\d+)", Path("/proc/meminfo").read_text())[1])
    count = min(TERMINALS, available // MEMORY_EACH)
    server = bench.server(Delay=DELAY)
    all_asked = threading.Event()

    def hold(request):
        if request.kind == "handshake" and at_once:
            if len({handshake.serial for handshake in server.of("handshake")}) == count:
                all_asked.set()
            all_asked.wait(LONGEST_HOLD)

    server.before_answer = hold
    terminals = [bench.terminal(server.url(), start_spread=None) for _ in range(count)]
    # Looked at now and then: the server has other things to do.
    until = time.monotonic() + 240
    while len(second := second_polls(server)) < count:
        waited(time.monotonic() < until, "two polls of each terminal", terminals[0])
        time.sleep(1)
    for terminal in terminals:
        terminal.process.terminate()
    busiest = max(sum(begin <= at < begin + 1 for at in second) for begin in second)
    how = "connected at the same time" if at_once else "started together"
    remark = f"they come within {max(second) - min(second):.0f} s" + ("" if not at_once or all_asked.is_set() else "; NOT ALL ASKED IN TIME")
    return Figure(
        f"{count} terminals {how}, next round of polls, busiest second", "requests", [busiest], [count / DELAY], "even", "≤ 2 ×", remark, key="fleet"
    )


def second_polls(server):
    """When the second poll of each terminal came."""
    seen, second = collections.Counter(), []
    for request in server.of("poll"):
        seen[request.serial] += 1
        if seen[request.serial] == 2:
            second.append(request.arrived)
    return second
