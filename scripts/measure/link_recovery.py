"""How soon the terminal is back, and how soon a punch goes that cannot wait. What only waits runs in as many terminals at once as there are rounds."""

import statistics
import subprocess
import time

from bench import ERROR_DELAY, NOT_IN_A_NAMESPACE, ip, waited
from figures import Figure, once

OUTAGE, CABLE_OUT, START_SPREAD = 10, 40, 3  # seconds
HOLD = 25  # seconds for which a poll is held
# What takes too long, or too many terminals, is a test in virtual time (src/client/simulation).
LONGER = "see the test a_terminal_is_back_within_error_delay_and_a_quarter_whatever_the_outage"
MORE = "see the test a_fleet_comes_back_evenly_after_an_outage"


@once
def outage(bench):
    """The server refuses connections for a time; terminals, each with a jitter of its own, come back."""
    figure = Figure(f"back after an outage of {OUTAGE} s, ErrorDelay={ERROR_DELAY}", "s", floor_name="ErrorDelay", goal="≤ 1.25 ×")
    server = bench.server(ErrorDelay=ERROR_DELAY, Delay=2)
    terminals = [bench.terminal(server.url()) for _ in range(bench.rounds)]
    for terminal in terminals:
        waited(server.wait(lambda: server.of("poll", terminal.serial), 60), "a poll", terminal)
    server.close()
    time.sleep(OUTAGE)
    server.open()
    measure_return(figure, server, terminals, time.monotonic(), ERROR_DELAY)
    figure.remark = f"slowest of {len(terminals)} terminals {max(figure.values):.1f} s"
    longer = [
        Figure(f"back after an outage of {it}, ErrorDelay={ERROR_DELAY}", floor_name="ErrorDelay", goal=figure.goal, remark=LONGER)
        for it in ("10 min", "10 h")
    ]
    return [figure, *longer]


def measure_return(figure, server, terminals, since, floor):
    """Notes when the first request of each terminal arrived."""
    for terminal in terminals:
        find = lambda terminal=terminal: [request for request in server.requests if request.serial == terminal.serial and request.arrived > since]
        first = waited(server.wait(find, 300), "the terminal to come back", terminal)[0]
        figure.values.append(first.arrived - since)
        figure.floors.append(floor)
        terminal.stop()


@once
def held_poll(bench):
    """A punch as soon as the server has a poll that it holds; afterwards the held poll brings a command."""
    figure = Figure(f"a punch while a poll is held for {HOLD} s, loopback", "s", floor_name="–", goal="≤ 2.5 s, no command lost")
    server = bench.server(hold=HOLD)
    terminals, punched = [], {}
    for _ in range(bench.rounds):
        terminal = bench.terminal(server.url())
        waited(server.wait(lambda: server.of("poll", terminal.serial), 60), "a poll", terminal)
        terminals.append(terminal)
        punched[terminal] = time.monotonic()
        terminal.call("punch", [{"pin": "7"}])
    for terminal in terminals:
        request = waited(server.wait(lambda: server.of("punches", terminal.serial), 2 * HOLD), "the punch", terminal)[0]
        figure.values.append(request.arrived - punched[terminal])
    for nth, terminal in enumerate(terminals):
        server.queue(terminal.serial, f"C:{nth + 1}:CHECK")
    done = sum(bool(server.wait(lambda: server.of("reply", terminal.serial), 2 * HOLD)) for terminal in terminals)
    figure.remark = f"slowest {max(figure.values):.1f} s; {len(terminals) - done} of {len(terminals)} commands lost"
    for terminal in terminals:
        terminal.stop()
    return [figure]


@once
def cable(bench):
    """Terminals in a network namespace of their own, behind a virtual cable whose other end goes down and comes up again."""
    figure = Figure(f"back after the cable was out for {CABLE_OUT} s, ErrorDelay={ERROR_DELAY}", "s", floor_name="start_spread", goal="≤ + 3 s")
    if not bench.namespace:
        figure.remark = NOT_IN_A_NAMESPACE
        return [figure]
    there = subprocess.Popen(["unshare", "-n", "sh", "-c", "echo there; exec sleep 3600"], stdout=subprocess.PIPE)
    bench.at_the_end.callback(there.kill)
    there.stdout.readline()
    enter = ["nsenter", "-t", str(there.pid), "-n"]
    ip("link", "add", "cable", "type", "veth", "peer", "name", "eth0", "netns", str(there.pid))
    ip("address", "add", "10.77.0.1/24", "dev", "cable")
    ip("link", "set", "cable", "up")
    ip("address", "add", "10.77.0.2/24", "dev", "eth0", where=enter)
    ip("link", "set", "eth0", "up", where=enter)
    server = bench.server(address="10.77.0.1", ErrorDelay=ERROR_DELAY, Delay=5)
    terminals = [bench.terminal(server.url(), before=enter, start_spread=START_SPREAD) for _ in range(bench.rounds)]
    for terminal in terminals:
        waited(server.wait(lambda: server.of("poll", terminal.serial), 120), "a poll", terminal)
    ip("link", "set", "cable", "down")
    time.sleep(CABLE_OUT)
    since = time.monotonic()
    ip("link", "set", "cable", "up")
    measure_return(figure, server, terminals, since, START_SPREAD)
    figure.remark = f"{statistics.median(figure.values) - START_SPREAD:+.1f} s; slowest of {len(terminals)} terminals {max(figure.values):.1f} s"
    return [figure]


@once
def fleet(bench):
    """Simulated, since nobody has so many terminals."""
    return [Figure("5 000 terminals after an outage, requests in the busiest second", floor_name="even over ErrorDelay", goal="≤ 2 ×", remark=MORE)]
