"""What the link costs: time over a long line, bytes on the wire, instructions."""

import contextlib
import re
import shutil
import socket
import ssl
import statistics
import subprocess
import time
from pathlib import Path

from bench import NOT_IN_A_NAMESPACE, waited
from counts import idle_polls
from delayed_line import ONE_WAY, ROUND_TRIP, DelayedLine
from figures import Figure, once
from local_terminal import Failure

PUNCHES = 20_000
POLLS_A_DAY = 24 * 3600 // 30  # Delay=30
POLLS = 40  # whose bytes are counted
FILE = bytes(range(256)) * (20 * 4096)  # 20 MB


def punches(bench):
    """Punches that waited go up over a long line: counted from the first connection until the terminal has the last acknowledgement."""
    bench.as_on_ethernet()
    store = bench.store_with_punches(PUNCHES)
    kinds = [(counts, scheme, tls) for counts in (True, False) for scheme, tls in bench.schemes()]
    figures = {
        (counts, scheme): Figure(
            f"20 000 punches, server {'counts' if counts else 'says bare OK'}, {1000 * ROUND_TRIP:.0f} ms round trip, {scheme}",
            "s",
            floor_name="requests × one round trip",
            goal="≤ 1.15 ×",
        )
        for counts, scheme, _ in kinds
    }
    runs = [(figures[counts, scheme], delivery(bench, store, counts, tls)) for counts, scheme, tls in kinds]
    round_trip = measured_round_trip(bench)
    for figure, (server, line, terminal) in runs:
        waited(server.wait(lambda server=server: len(server.rows) == PUNCHES and server.of("punches")[-1].answered, 600), "the punches", terminal)
        end = server.of("punches")[-1].answered + ONE_WAY
        requests = sum(request.arrived <= end for request in list(server.requests))
        figure.values.append(end - line.first)
        figure.floors.append(requests * round_trip)
        figure.remark = (
            f"{requests} requests, {line.connections} connections, {line.round_trips} round trips, {line.bytes_up + line.bytes_down} bytes"
        )
        if server.rows_again:
            figure.remark += f", {server.rows_again} ROWS TWICE"
        terminal.stop()
        server.close()
        line.close()
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


@once
def idle_day(bench):
    """Bytes of a day's polls, by the counters of a loopback that carries nothing else; some polls are counted, the rest reckoned from them."""
    bench.as_on_ethernet()
    figures = []
    for scheme, tls in bench.schemes():
        figure = Figure(
            f"bytes on the wire of an idle day, Delay=30, {scheme}", "B", floor_name="one kept connection, the same requests", goal="≤ 1.1 ×"
        )
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
        floor_start, floor_poll = kept_connection(bench, tls, [request.raw for request in requests[: first_poll + 1]], server.of("poll")[-1].raw)
        figure.values.append(start + (POLLS_A_DAY - 1) * poll)
        figure.floors.append(floor_start + (POLLS_A_DAY - 1) * floor_poll)
        figure.remark = f"{poll:.0f} bytes a poll (floor {floor_poll:.0f}), {start} for the start (floor {floor_start}), {connections} connections for {polls} polls; TCP and IP headers included"
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


def kept_connection(bench, tls, start, later_poll):
    """The same as `bytes_of` when a plain client sends the requests of a start, of which the last is the first poll, on one connection that stays open."""
    server = bench.server(tls=tls)
    before = wire_bytes()
    with contextlib.ExitStack() as open_here:
        client = open_here.enter_context(socket.create_connection(("127.0.0.1", server.port)))
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            context = ssl.create_default_context(cafile=str(bench.ca))
            client = open_here.enter_context(context.wrap_socket(client, server_hostname="127.0.0.1"))
        *start, first_poll, later_poll = (re.sub(rb"(?i)\r\nconnection: *close", b"", request) for request in [*start, later_poll])

        def exchange(request):
            client.sendall(request)
            client.recv(65536)
            time.sleep(0.2)  # longer than an acknowledgement is delayed, as in a pause of 30 s

        for request in start:
            exchange(request)
        result = bytes_of(lambda nth: exchange(later_poll if nth else first_poll), before, 0.5)
    server.close()
    return result


def wire_bytes():
    """Bytes of all packets on this namespace's loopback, IP headers included."""
    return int(re.search(r"(?m)^ *lo: *(\d+)", Path("/proc/net/dev").read_text())[1])


@once
def instructions(bench):
    """Instructions of an idle poll by HTTPS beside one by HTTP."""
    figure = Figure("instructions of an idle poll, HTTPS", floor_name="HTTP", goal="≤ 1.5 ×", key="poll-https")
    if not bench.tls:
        figure.remark = "not measured: there is no openssl"
        return [figure]
    figure.floors, figure.values = ([idle_polls(bench, tls)[0]] for tls in (None, bench.tls))
    return [figure]


def put_file(bench):
    """A large file over a long line, beside curl over the same line. From the command's arrival at the terminal until its answer leaves it."""
    bench.as_on_ethernet()
    figure = Figure(f"20 MB PutFile, {1000 * ONE_WAY:.0f} ms each way", "s", floor_name="curl", goal="≤ 1.3 ×")
    if not shutil.which("curl"):
        figure.remark = "not measured: there is no curl"
        return [figure]
    server = bench.server(files={"file/bench.bin": FILE}, Delay=2)
    line = DelayedLine(server.port)
    command = [
        "curl",
        "-sS",
        "--noproxy",
        "*",
        "-o",
        bench.place / "curl.bin",
        "-w",
        "%{time_total}",
        f"{server.url(line.port)}/iclock/file/bench.bin",
    ]
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
    terminal.stop()
    server.close()
    line.close()
    return [figure]
