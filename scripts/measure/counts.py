"""Instructions of the exchanges that a terminal makes most: a poll, a request with rows, a row."""

import re
import shutil

from bench import waited
from callgrind_run import CountedTerminal, instructions_of
from figures import Figure, number, once

WARM_UP_POLLS, POLLS = 30, 20  # before instructions are counted, and of which they are
ROWS = 6_000
SMALL_BODY = 2_048  # bytes: about as many rows as a server gets that says bare OK
LARGEST_BODY = 65_536  # bytes: `post_bytes` of [limits]
BY_CURL = 40  # exchanges


@once
def exchanges(bench):
    """An idle poll beside curl, which makes the same exchange on a connection that it keeps."""
    polls, request = idle_polls(bench, None)
    figure = Figure("instructions of an idle poll, HTTP", values=[polls], floor_name="curl, the same exchange", goal="≤ 450 k", key="poll")
    figure.floors.append(exchange_by_curl(bench, [request]))
    shortest = f"GET /iclock/getrequest?SN={request.serial} HTTP/1.1\r\nHost: 127.0.0.1:65535\r\n\r\n"
    return [figure, Figure("bytes of a poll's request", "B", [len(request.raw)], [len(shortest)], "no field but Host", key="poll-bytes")]


def idle_polls(bench, tls):
    """(instructions of an idle poll, one of the requests). What a start leaves to do is over by then."""
    server = bench.server(tls=tls, Delay=1)
    counted = CountedTerminal(bench, server.url())
    answered = lambda: sum(bool(request.answered) for request in server.of("poll"))
    waited(server.wait(lambda: answered() >= WARM_UP_POLLS, 300), "polls", counted.terminal)
    counted.count()
    before = answered()
    waited(server.wait(lambda: answered() >= before + POLLS, 300), "polls", counted.terminal)
    instructions = counted.count()
    polls = answered() - before
    counted.terminal.stop()
    return instructions / polls, server.of("poll")[-1]


@once
def rows_up(bench):
    """Rows that waited go up in small requests, to a server that says bare OK, and in large ones, to one that counts: two equations."""
    store = bench.store_with_punches(ROWS)
    small, large, limited = upload(bench, store, counts=False), upload(bench, store), upload(bench, store, MaxPostSize=SMALL_BODY)
    figures = [
        Figure("instructions of an upload request", floor_name="curl, the same exchange", goal="≤ 270 k", key="upload"),
        Figure("instructions of a row that goes up", floor_name="the sqlite3 program prints it", goal="≤ 3 000", key="row"),
        Figure(
            f"requests for {number(large.rows)} rows, server counts",
            values=[large.requests],
            floors=[sum(len(it.body) for it in large.sent) / LARGEST_BODY],
            floor_name="all bodies of 64 KiB",
            key="upload-requests",
        ),
        Figure(
            f"instructions of a request with rows, MaxPostSize={SMALL_BODY}",
            values=[limited.each],
            floors=[small.each],
            floor_name=f"bare OK, {small.rows_each:.0f} rows each",
            goal="≤ 1.1 ×",
            key="upload-limited",
            remark=f"{limited.rows_each:.0f} rows each",
        ),
    ]
    if large.rows_each < 2 * small.rows_each:
        figures[0].remark = figures[1].remark = "not counted: requests do not grow, although the server counts"
        return figures
    row = (large.each - small.each) / (large.rows_each - small.rows_each)
    figures[0].values, figures[0].floors = [small.each - row * small.rows_each], [exchange_by_curl(bench, small.sent)]
    figures[1].values, figures[1].floors = [row], [row_by_sqlite(bench, store)]
    figures[0].remark = figures[1].remark = f"from {small.requests} requests with {small.rows} rows and {large.requests} with {large.rows}"
    return figures


class Upload:
    """What was counted from the first answer to an upload until the last rows are acknowledged and the cursor stands."""

    def __init__(self, instructions, requests):
        self.instructions, self.sent, self.requests = instructions, requests[1:], len(requests) - 1
        self.rows = sum(request.body.count(b"\n") for request in self.sent)
        self.each, self.rows_each = instructions / self.requests, self.rows / self.requests


def upload(bench, store, **how):
    server = bench.server(light=True, Delay=3600, **how)
    counted = CountedTerminal(bench, server.url(), store=store)
    first = []

    def at_first(request):
        if request.kind == "punches" and not first:
            counted.count()
            first.append(request)

    server.before_answer = at_first
    waited(server.wait(lambda: server.row_count >= ROWS and server.of("punches")[-1].answered, 300), "the rows", counted.terminal)
    counted.terminal.call("user.get", [{"pin": "1"}])  # is answered when the acknowledgement was stored
    instructions = counted.count()
    counted.terminal.stop()
    return Upload(instructions, server.of("punches"))  # the first answer is in the count, the first request is not


def exchange_by_curl(bench, requests):
    """Instructions of one exchange of curl on a kept connection, with a request as these are."""
    if not shutil.which("curl"):
        return 0
    server = bench.server(light=True)
    counts = []
    for times in BY_CURL, 2 * BY_CURL:
        config = bench.place / "curl.conf"
        config.write_text(curl_config(bench, server.url(), [requests[nth % len(requests)] for nth in range(times)]))
        counts.append(instructions_of(bench, "curl", "--config", config))
    return (counts[1] - counts[0]) / BY_CURL


def curl_config(bench, url, requests):
    """A configuration of curl by which it makes these requests one after the other on one connection."""
    parts = []
    for nth, request in enumerate(requests):
        head = request.raw[: len(request.raw) - len(request.body)].decode()
        target, *fields = head.strip().split("\r\n")
        lines = [f'url = "{url}{target.split(" ")[1]}"', 'noproxy = "*"', "silent", "http1.1", 'output = "/dev/null"']
        lines += [f'header = "{field}"' for field in fields if not re.match(r"(?i)(host|content-length|connection):", field)]
        lines.append('header = "Expect:"')
        if request.body:
            body = bench.place / f"body{nth}"
            body.write_bytes(request.body)
            lines.append(f'data-binary = "@{body}"')
        parts.append("\n".join(lines))
    return "\nnext\n".join(parts) + "\n"


def row_by_sqlite(bench, store):
    """Instructions of the sqlite3 program for one row more of the same punches, printed with tabs."""
    if not shutil.which("sqlite3"):
        return 0
    counts = []
    for rows in ROWS // 2, ROWS:
        query = f"SELECT pin, datetime(time, 'unixepoch'), status, verify, workcode FROM punch ORDER BY seq LIMIT {rows}"
        counts.append(instructions_of(bench, "sqlite3", "-tabs", store, query))
    return (counts[1] - counts[0]) / (ROWS // 2)
