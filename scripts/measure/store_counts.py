"""Instructions of calls of drivers, with small and large stores: what a call costs shall not grow with the rows that it does not concern."""

import stores
from bench import waited
from callgrind_run import CountedTerminal
from figures import Figure, number, once

SMALL, LARGE = 1_000, 1_000_000  # punches
CALLS = 20
LIMITS = {"punches": 2_000_000}  # so that no retention goes on


@once
def status(bench):
    """`status` while few or many rows wait."""
    small, large = (counted_calls(bench, stores.with_punches(bench, rows), "status", CALLS) for rows in (SMALL, LARGE))
    return [
        Figure(f"instructions of status, {number(SMALL)} rows pending", values=[small], goal="≤ 2 M", key="status"),
        Figure(f"instructions of status, {number(LARGE)} rows pending", values=[large], floors=[small], floor_name="1 000 pending", goal="≤ 1.1 ×", key="status-large"),
    ]


def counted_calls(bench, store, method, calls, params=lambda nth: {}):
    """Instructions of a call, of many that are made one after the other. The server takes no rows, and polls do not come meanwhile."""
    counted = quiet_terminal(bench, store)
    counted.terminal.call(method, [params(0)], together=1)  # what only the first one does
    counted.count()
    counted.terminal.call(method, [params(1 + nth) for nth in range(calls)], together=1)
    instructions = counted.count()
    counted.terminal.stop()
    return instructions / calls


def quiet_terminal(bench, store):
    """Whose server has refused the rows that wait, and for an hour nothing is due."""
    server = bench.server(refuses="punches", Delay=3600, ErrorDelay=3600)
    counted = CountedTerminal(bench, server.url(), store=store, limits=LIMITS)
    waited(server.wait(lambda: server.of("punches") and server.of("poll"), 600), "an upload and a poll", counted.terminal)
    return counted
