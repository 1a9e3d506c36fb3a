"""What `scripts/bench link` measures: what the link to the server costs, and how soon it is back. Each figure stands beside its floor of the same run.

Servers and delayed lines run here, punchd beside them; where times are compared, the floor is measured in the same round. What only waits for the
line or the clock runs side by side. All of it runs in a network namespace of its own where the kernel gives one (also without privilege, in most
places): its loopback carries nothing else, so that its counters are the bytes on the wire. Times are printed as ratios; none is a pass or a failure.
"""

import argparse
import contextlib
import os
import platform
import re
import shutil
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from delayed_line import ONE_WAY, ROUND_TRIP, DelayedLine
from figures import Figure, table, write
from link_server import LinkServer
from local_terminal import Failure, LocalTerminal

PUNCHES = 20_000
POLLS_A_DAY = 24 * 3600 // 30  # Delay=30
POLLS = 40  # whose bytes are counted
FEW_POLLS, MANY_POLLS = 5, 25  # instructions of a poll: the difference of two runs
ERROR_DELAY = 60
OUTAGE, CABLE_OUT, START_SPREAD = 10, 40, 3  # seconds
HOLD = 25  # seconds for which a poll is held
FILE = bytes(range(256)) * (20 * 4096)  # 20 MB
CALLGRIND = Path(__file__).with_name("callgrind.py")
NOT_IN_A_NAMESPACE = "not measured: the kernel gives no network namespace (unshare -n)"


class Bench:
    """What all figures are measured with."""

    def __init__(self, arguments, place, at_the_end):
        self.punchd, self.rounds, self.namespace = arguments.punchd, arguments.rounds, arguments.namespace
        self.place, self.at_the_end, self.terminals, self.stores = place, at_the_end, 0, {}
        self.ca, self.tls = certificates(place) if shutil.which("openssl") else (None, None)

    def schemes(self):
        """(name, what a LinkServer takes as `tls`)."""
        return [("HTTP", None)] + ([("HTTPS", self.tls)] if self.tls else [])

    def server(self, **how):
        server = LinkServer(**how)
        self.at_the_end.callback(server.close)
        return server

    def terminal(self, url, **how):
        """One that was never here before."""
        self.terminals += 1
        place = self.place / f"terminal{self.terminals}"
        place.mkdir()
        terminal = LocalTerminal(self.punchd, place, url, f"BENCH{self.terminals:05}", ca=self.ca if url.startswith("https") else None, **how)
        self.at_the_end.callback(terminal.stop)
        return terminal

    def store_with_punches(self, count):
        """A store with punches that no server has."""
        terminal = self.terminal("http://127.0.0.1:9")
        at = (time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(1_790_000_000 + 7 * nth)) for nth in range(count))
        terminal.call("punch", [{"pin": str(1 + nth % 500), "time": time_of_it, "verify": 1} for nth, time_of_it in enumerate(at)])
        terminal.stop()
        return terminal.place / "punchd.db"


def certificates(place):
    """A certificate authority, and a certificate of it for 127.0.0.1, as (certificate, key)."""
    ca, key, signed = place / "ca.pem", place / "key.pem", place / "certificate.pem"
    (place / "openssl.conf").write_text("subjectAltName = IP:127.0.0.1\nbasicConstraints = CA:FALSE\nextendedKeyUsage = serverAuth\n")
    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    for command in [
        ["req", "-x509", *new_key, "-keyout", place / "ca.key", "-out", ca, "-subj", "/CN=bench authority", "-days", "2"],
        ["req", *new_key, "-keyout", key, "-out", place / "request.pem", "-subj", "/CN=bench server"],
        ["x509", "-req", "-in", place / "request.pem", "-CA", ca, "-CAkey", place / "ca.key", "-CAcreateserial", "-out", signed, "-days", "2"]
        + ["-extfile", place / "openssl.conf"],
    ]:
        subprocess.run(["openssl", *map(str, command)], check=True, capture_output=True)
    return ca, (signed, key)


def waited(found, what, terminal=None):
    """What was waited for; a Failure where it did not come."""
    if not found:
        raise Failure(f"waited for {what}, in vain" + (f"; punchd's last lines:\n{terminal.last_lines()}" if terminal else ""))
    return found


def punches(bench):
    """Punches that waited go up over a long line: counted from the first connection until the terminal has the last acknowledgement."""
    store = bench.store_with_punches(PUNCHES)
    kinds = [(counts, scheme, tls) for counts in (True, False) for scheme, tls in bench.schemes()]
    figures = {
        (counts, scheme): Figure(
            f"20 000 punches, server {'counts' if counts else 'says bare OK'}, {1000 * ROUND_TRIP:.0f} ms round trip, {scheme}",
            "s", floor_name="requests × one round trip", goal="≤ 1.15 ×",
        )
        for counts, scheme, _ in kinds
    }
    for nth in range(bench.rounds):
        runs = [(figures[counts, scheme], delivery(bench, store, counts, tls)) for counts, scheme, tls in kinds]
        round_trip = measured_round_trip(bench)
        for figure, (server, line, terminal) in runs:
            waited(server.wait(lambda server=server: server.rows >= PUNCHES and all(request.answered for request in server.of("punches")), 600), "the punches", terminal)
            end = server.of("punches")[-1].answered + ONE_WAY
            requests = sum(request.arrived <= end for request in list(server.requests))
            figure.values.append(end - line.first)
            figure.floors.append(requests * round_trip)
            figure.remark = f"{requests} requests, {line.connections} connections, {line.round_trips} round trips, {line.bytes_up + line.bytes_down} bytes"
            terminal.stop()
            server.close()
            line.close()
        progress(f"round {nth + 1} of {bench.rounds}", figures.values())
    return list(figures.values())


def delivery(bench, store, counts, tls):
    server = bench.server(counts=counts, tls=tls)
    line = DelayedLine(server.port)
    return server, line, bench.terminal(server.url(line.port), store=store)


def measured_round_trip(bench, count=20):
    """Median seconds of a request and its answer on a kept connection of a delayed line."""
    server = bench.server()
    line = DelayedLine(server.port)
    times = []
    with socket.create_connection(("127.0.0.1", line.port)) as client:
        for _ in range(count):
            begun = time.monotonic()
            client.sendall(b"GET /iclock/getrequest?SN=PROBE HTTP/1.1\r\nHost: here\r\n\r\n")
            client.recv(65536)
            times.append(time.monotonic() - begun)
    server.close()
    line.close()
    return statistics.median(times[2:])  # the first waited for the connection's set-up


def idle_day(bench):
    """Bytes of a day's polls, by the counters of a loopback that carries nothing else; some polls are counted, the rest reckoned from them."""
    figures = []
    for scheme, tls in bench.schemes():
        figure = Figure(f"bytes on the wire of an idle day, Delay=30, {scheme}", "B", floor_name="one kept connection, the same requests", goal="≤ 1.1 ×")
        figures.append(figure)
        if not bench.namespace:
            figure.remark = NOT_IN_A_NAMESPACE
            continue
        server = bench.server(tls=tls, Delay=1)
        before = wire_bytes()
        terminal = bench.terminal(server.url())
        start, poll = bytes_of(lambda nth: waited(server.wait(lambda: len(server.of("poll")) > nth, 60), "a poll", terminal), before, 0.5)
        connections, polls = server.accepted, len(server.of("poll"))
        terminal.stop()
        requests = list(server.requests)
        first_poll = requests.index(server.of("poll")[0])
        server.close()
        floor_start, floor_poll = kept_connection(bench, tls, [request.raw for request in requests[: first_poll + 1]])
        figure.values.append(start + (POLLS_A_DAY - 1) * poll)
        figure.floors.append(floor_start + (POLLS_A_DAY - 1) * floor_poll)
        figure.remark = f"{poll:.0f} bytes a poll (floor {floor_poll:.0f}), {start} for the start (floor {floor_start}), {connections} connections for {polls} polls; TCP and IP headers included"
        progress("counted", [figure])
    return figures


def bytes_of(poll, before, pause):
    """(bytes until the first poll was answered, bytes of each further one). `poll(nth)` returns when that poll was made; `pause` is until all is acknowledged."""
    poll(0)
    time.sleep(pause)
    first = wire_bytes()
    for nth in range(1, POLLS + 1):
        poll(nth)
    time.sleep(pause)
    return first - before, (wire_bytes() - first) / POLLS


def kept_connection(bench, tls, requests):
    """The same as `bytes_of` when a plain client sends the requests of a start, of which the last is the poll, on one connection that stays open."""
    server = bench.server(tls=tls)
    before = wire_bytes()
    with contextlib.ExitStack() as open_here:
        client = open_here.enter_context(socket.create_connection(("127.0.0.1", server.port)))
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            context = ssl.create_default_context(cafile=str(bench.ca))
            client = open_here.enter_context(context.wrap_socket(client, server_hostname="127.0.0.1"))
        *start, poll = (re.sub(rb"(?i)\r\nconnection: *close", b"", request) for request in requests)

        def exchange(request):
            client.sendall(request)
            client.recv(65536)
            time.sleep(0.2)  # longer than an acknowledgement is delayed, as in a pause of 30 s

        for request in start:
            exchange(request)
        result = bytes_of(lambda _: exchange(poll), before, 0.5)
    server.close()
    return result


def wire_bytes():
    """Bytes of all packets on this namespace's loopback, IP headers included."""
    return int(re.search(r"(?m)^ *lo: *(\d+)", Path("/proc/net/dev").read_text())[1])


def instructions(bench):
    """Instructions of an idle poll: callgrind's count of a run with many polls, less that of a run with few."""
    figures = [Figure(f"instructions of an idle poll, {scheme}", goal="≤ 1.5 ×" if tls else "", floor_name="HTTP" if tls else "–") for scheme, tls in bench.schemes()]
    if not shutil.which("valgrind"):
        return [Figure(figure.name, goal=figure.goal, remark="not measured: there is no valgrind") for figure in figures]
    runs = []
    for scheme, tls in bench.schemes():
        for polls in FEW_POLLS, MANY_POLLS:
            server = bench.server(tls=tls, Delay=1)
            out = bench.place / f"callgrind.{scheme}.{polls}"
            runs.append((server, polls, out, bench.terminal(server.url(), before=[sys.executable, CALLGRIND, out])))
    counted = []
    for server, polls, out, terminal in runs:
        waited(server.wait(lambda server=server, polls=polls: len(server.of("poll")) >= polls and server.of("poll")[-1].answered, 300), "polls", terminal)
        terminal.stop()
        counted.append((int(re.search(r"(?m)^(?:summary|totals): (\d+)", out.read_text())[1]), len(server.of("poll")), server.accepted))
    for figure, few, many in zip(figures, counted[::2], counted[1::2]):
        figure.values.append((many[0] - few[0]) / (many[1] - few[1]))
        figure.remark = f"{many[2]} connections for {many[1]} polls"
    for figure in figures[1:]:
        figure.floors.append(figures[0].values[0])
    progress("counted", figures)
    return figures


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
    opened = time.monotonic()
    measure_return(figure, server, terminals, opened, ERROR_DELAY)
    figure.remark = f"slowest of {len(terminals)} terminals {max(figure.values):.1f} s"
    progress("back", [figure])
    seen = "virtual time: see the tests of src/client/simulation"
    return [figure] + [Figure(f"back after an outage of {time}, ErrorDelay=60", floor_name="ErrorDelay", goal="≤ 1.25 ×", remark=seen) for time in ("10 min", "10 h")]


def measure_return(figure, server, terminals, since, floor):
    """Notes when the first request of each terminal arrived."""
    for terminal in terminals:
        find = lambda terminal=terminal: [request for request in server.requests if request.serial == terminal.serial and request.arrived > since]
        first = waited(server.wait(find, 300), "the terminal to come back", terminal)[0]
        figure.values.append(first.arrived - since)
        figure.floors.append(floor)
        terminal.stop()


def put_file(bench):
    """A large file over a long line, beside curl over the same line. From the command's arrival at the terminal until its answer leaves it."""
    figure = Figure(f"20 MB PutFile, {1000 * ONE_WAY:.0f} ms each way", "s", floor_name="curl", goal="≤ 1.3 ×")
    if not shutil.which("curl"):
        figure.remark = "not measured: there is no curl"
        return [figure]
    for nth in range(bench.rounds):
        server = bench.server(files={"file/bench.bin": FILE}, Delay=2)
        line = DelayedLine(server.port)
        command = ["curl", "-sS", "--noproxy", "*", "-o", bench.place / "curl.bin", "-w", "%{time_total}", f"{server.url(line.port)}/iclock/file/bench.bin"]
        figure.floors.append(float(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
        fetched, connections = len(server.of("file")), line.connections
        terminal = bench.terminal(server.url(line.port))
        server.queue(terminal.serial, f"C:1:PutFile file/bench.bin\t{terminal.files}/bench.bin")
        reply = waited(server.wait(lambda: server.of("reply"), 600), "the answer to PutFile", terminal)[0]
        if f"Return={len(FILE)}".encode() not in reply.body or (terminal.files / "bench.bin").read_bytes() != FILE:
            raise Failure(f"PutFile did not bring the file: {reply.body!r}")
        given = server.of("poll")[0].answered
        # The command was on its way for ONE_WAY after it had left the server, and its answer before it came there.
        figure.values.append(reply.arrived - given - ROUND_TRIP)
        figure.remark = f"{len(server.of('file')) - fetched} requests for the file, {line.connections - connections} connections"
        for part in terminal, server, line:
            part.stop() if part is terminal else part.close()
        progress(f"round {nth + 1} of {bench.rounds}", [figure])
    return [figure]


def held_poll(bench):
    """A punch while the server holds the poll; afterwards the held poll brings a command."""
    figure = Figure(f"a punch while a poll is held for {HOLD} s, loopback", "s", floor_name="–", goal="≤ 2.5 s, no command lost")
    server = bench.server(hold=HOLD)
    terminals = [bench.terminal(server.url()) for _ in range(bench.rounds)]
    for terminal in terminals:
        waited(server.wait(lambda: server.of("poll", terminal.serial), 60), "a poll", terminal)
    time.sleep(1)
    punched = {}
    for terminal in terminals:
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
    progress("arrived", [figure])
    return [figure]


def cable(bench):
    """Terminals in a network namespace of their own, behind a virtual cable whose other end goes down and comes up again."""
    figure = Figure(f"back after the cable was out for {CABLE_OUT} s, ErrorDelay={ERROR_DELAY}", "s", floor_name="start_spread", goal=f"≤ + 3 s")
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
    figure.remark = f"slowest of {len(terminals)} terminals {max(figure.values):.1f} s"
    progress("back", [figure])
    return [figure]


def fleet(bench):
    """Simulated, since nobody has so many terminals."""
    return [Figure("5 000 terminals after an outage, requests in the busiest second", floor_name="even over ErrorDelay", goal="≤ 2 ×", remark="virtual time: see the tests of src/client/simulation")]


FIGURES = [punches, idle_day, instructions, outage, put_file, held_poll, cable, fleet]


def ip(*words, where=()):
    subprocess.run([*where, "ip", *words], check=True)


def progress(what, figures):
    shown = ", ".join("/".join(f"{value:.3g}" for value in [figure.values[-1], *figure.floors[-1:]]) for figure in figures if figure.values)
    print(f"   {what}: {shown}", file=sys.stderr, flush=True)


def enter_namespace():
    """Starts this program again in a network namespace of its own, as root or as an owner of one. Returns where there is none."""
    for unshare in ["unshare", "-n"], ["unshare", "-rn"]:
        with contextlib.suppress(OSError):
            if shutil.which("ip") and subprocess.run([*unshare, "true"], capture_output=True).returncode == 0:
                os.execvp(unshare[0], [*unshare, sys.executable, *sys.argv, "--namespace"])


def main():
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
    figures, begun = [], time.monotonic()
    with contextlib.ExitStack() as at_the_end:
        place = Path(at_the_end.enter_context(tempfile.TemporaryDirectory(prefix="punchd-bench-")))
        bench = Bench(arguments, place, at_the_end)
        for measure in measures:
            print(f"── {measure.__name__}", file=sys.stderr, flush=True)
            try:
                figures += measure(bench)
            except Failure as failure:
                figures.append(Figure(measure.__name__, remark=f"failed: {failure}".replace("\n", " ")))
                print(f"   failed: {failure}", file=sys.stderr, flush=True)
    version = subprocess.run([arguments.punchd, "--version"], capture_output=True, text=True).stdout.strip()
    about = {"punchd": version, "machine": f"{platform.machine()}, Linux {platform.release()}, {os.cpu_count()} cores", "rounds": arguments.rounds, "seconds": round(time.monotonic() - begun)}
    print(f"\n{table(figures)}\n\n" + "; ".join(f"{name} {value}" for name, value in about.items()), file=sys.stderr if arguments.json == "-" else sys.stdout)
    if arguments.json:
        write(arguments.json, about, figures)


if __name__ == "__main__":
    main()
