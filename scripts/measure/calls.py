"""System calls, commits and blocks of the flash: of an idle poll, of an upload, of a punch, of an idle day."""

import statistics
import time

from bench import BLOCK, punch, waited
from figures import Figure, once
from local_terminal import Driver
from system_calls import WRITING, TracedTerminal, Writes, between, names

POLLS, WARM_UP = 15, 10
IDLE_POLLS = 120  # whose writes are counted
POLLS_A_DAY = 24 * 3600 // 30  # Delay=30
UPLOADS = 20
BURST = 10  # punches that come together
EXCHANGE, COMMIT = 3, 2  # system calls: send, wait, receive; write, sync


@once
def system_calls(bench):
    """System calls of an idle poll, and of a punch that goes up at once with its commits."""
    server = bench.server(light=True, Delay=1)
    traced = TracedTerminal(bench, server.url())
    waited(server.wait(lambda: len(server.of("poll")) >= WARM_UP, 60), "polls", traced.terminal)
    traced.lines()
    polls = len(server.of("poll"))
    waited(server.wait(lambda: len(server.of("poll")) >= polls + POLLS + 1, 60), "polls", traced.terminal)
    parts = between(traced.lines(), "GET /iclock/getrequest")
    a_poll, poll_commits = statistics.median(map(len, parts)), sum(Writes(part).commits for part in parts)
    traced.terminal.stop()

    server = bench.server(light=True, Delay=3600)
    traced = TracedTerminal(bench, server.url())
    waited(server.wait(lambda: server.of("poll"), 60), "a poll", traced.terminal)
    time.sleep(2)
    traced.lines()
    send_one_by_one(server, traced.terminal, UPLOADS)
    lines = traced.lines()
    traced.terminal.stop()
    up = between(lines, "POST /iclock/cdata?")
    writes = [Writes(part).commits for part in up]
    return [
        Figure(
            "system calls of an idle poll", values=[a_poll], floors=[EXCHANGE], floor_name="send, wait, receive", key="poll-calls", remark=told(parts)
        ),
        Figure(f"commits of {len(parts)} idle polls", values=[poll_commits], key="poll-commits"),
        Figure(
            "system calls of a punch that goes up at once",
            values=[statistics.median(map(len, up))],
            key="upload-calls",
            floors=[2 * EXCHANGE + 2 * COMMIT],
            floor_name="two exchanges, two commits",
            remark=told(up),
        ),
        Figure(
            "commits of a punch that goes up at once",
            values=[statistics.median(writes)],
            floors=[2],
            floor_name="the punch, and the cursor after its acknowledgement",
            key="upload-commits",
        ),
    ]


def told(parts):
    middle = sorted(parts, key=len)[len(parts) // 2]
    return ", ".join(f"{count} {name}" for name, count in names(middle).items())


def send_one_by_one(server, terminal, count):
    with Driver(terminal) as driver:
        for nth in range(count):
            driver.call("punch", punch(nth))
            waited(server.wait(lambda: server.row_count > nth and server.of("punches")[-1].answered, 60), "the punch", terminal)
            time.sleep(0.1)  # the acknowledgement is stored


@once
def flash(bench):
    """Blocks that a punch writes, while the server is away. A block that is written twice between two syncs counts once."""
    figures = []
    for together, punches, what in (1, 1_500, "one by one"), (BURST, 10_000, "in bursts of ten"):  # so many that the log is copied back once
        traced = TracedTerminal(bench, "http://127.0.0.1:9", calls=WRITING)
        traced.terminal.call("punch", [punch(0)])
        traced.lines()
        traced.terminal.call("punch", [punch(nth) for nth in range(punches)], together=together)
        writes = Writes(traced.lines())
        traced.terminal.stop()
        figures.append(
            Figure(
                f"flash of a punch, {what}, server away",
                "B",
                [writes.blocks * BLOCK / punches],
                [writes.commits * BLOCK / punches],
                "one block a commit",
                remark=f"{writes.commits} commits, {writes.checkpoints} checkpoints, {writes.bytes / punches:.0f} bytes a punch",
                key=f"flash-{together}",
            )
        )
    return figures


@once
def idle_flash(bench):
    """What an idle terminal writes: polls once a second are counted, and taken for a day with one each 30 s."""
    server = bench.server(Delay=1)
    traced = TracedTerminal(bench, server.url(), calls=WRITING)
    waited(server.wait(lambda: len(server.of("poll")) >= WARM_UP, 60), "polls", traced.terminal)
    traced.lines()
    waited(server.wait(lambda: len(server.of("poll")) >= WARM_UP + IDLE_POLLS, 300), "polls", traced.terminal)
    writes = Writes(traced.lines())
    traced.terminal.stop()
    day = writes.blocks * BLOCK * POLLS_A_DAY / IDLE_POLLS
    return [
        Figure(
            "flash of an idle day, Delay=30",
            "B",
            [day],
            goal="≤ 64 KB",
            key="flash-idle",
            remark=f"{writes.blocks} blocks and {writes.commits} commits in {IDLE_POLLS} polls",
        )
    ]
