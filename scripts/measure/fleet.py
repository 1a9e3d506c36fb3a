"""Many terminals that start together: how evenly their next polls come."""

import collections
import re
import time

from bench import waited
from figures import Figure, once

TERMINALS, DELAY = 300, 30
MEMORY_EACH = 12_000  # kB that a terminal may take of this machine


@once
def start_together(bench):
    """Real processes with the default configuration; the second poll of each is looked at, and the busiest second."""
    available = int(re.search(r"MemAvailable:\s*(\d+)", open("/proc/meminfo", encoding="ascii").read())[1])
    count = min(TERMINALS, available // MEMORY_EACH)
    server = bench.server(Delay=DELAY)
    terminals = [bench.terminal(server.url(), start_spread=None) for _ in range(count)]
    polled = lambda: collections.Counter(request.serial for request in server.of("poll"))
    # Looked at now and then: the server has other things to do.
    until = time.monotonic() + 240
    while sum(polls >= 2 for polls in polled().values()) < count:
        waited(time.monotonic() < until, "two polls of each terminal", terminals[0])
        time.sleep(1)
    seen, second = collections.Counter(), []
    for request in server.of("poll"):
        seen[request.serial] += 1
        if seen[request.serial] == 2:
            second.append(request.arrived)
    for terminal in terminals:
        terminal.process.terminate()
    busiest = max(sum(begin <= at < begin + 1 for at in second) for begin in second)
    remark = f"{count} terminals; they come within {max(second) - min(second):.0f} s"
    return [Figure(f"{count} terminals started together, next round of polls, busiest second", "requests", [busiest], [count / DELAY], "even", "≤ 2 ×", remark, key="fleet")]
