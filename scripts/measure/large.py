"""A large file and a long list of commands, beside what they cost without punchd."""

import contextlib
import shutil
import sqlite3
import subprocess
import time

from bench import waited
from delayed_line import ONE_WAY, ROUND_TRIP, DelayedLine
from figures import Figure
from local_terminal import Failure
from system_calls import WRITING, TracedTerminal, Writes

FILE = bytes(range(256)) * 390_625  # 100 MB
COMMANDS = 100_000


def large_file(bench):
    """100 MB over the loopback, and over a line with 50 ms each way. The time is from the command's arrival at the terminal until its answer leaves it."""
    figures = []
    for one_way, goal in (0, "≤ 1.5 ×"), (ONE_WAY, "≤ 1.3 ×"):
        figure = Figure(
            f"100 MB PutFile, {f'{1000 * one_way:.0f} ms each way' if one_way else 'loopback'}",
            "s",
            floor_name="curl and the file made durable",
            goal=goal,
        )
        figures.append(figure)
        if not shutil.which("curl"):
            figure.remark = "not measured: there is no curl"
            continue
        server = bench.server(files={"file/bench.bin": FILE}, Delay=2)
        line = DelayedLine(server.port) if one_way else None
        port = line.port if line else server.port
        begun = time.monotonic()
        subprocess.run(["curl", "-sS", "--noproxy", "*", "-o", bench.place / "curl.bin", f"{server.url(port)}/iclock/file/bench.bin"], check=True)
        subprocess.run(["sync", bench.place / "curl.bin"], check=True)
        figure.floors.append(time.monotonic() - begun)
        (bench.place / "curl.bin").unlink()
        fetched = len(server.of("file"))
        terminal = bench.terminal(server.url(port))
        server.queue(terminal.serial, f"C:1:PutFile file/bench.bin\t{terminal.files}/bench.bin")
        reply = waited(server.wait(lambda: server.of("reply"), 900), "the answer to PutFile", terminal)[0]
        if f"Return={len(FILE)}".encode() not in reply.body or (terminal.files / "bench.bin").read_bytes() != FILE:
            raise Failure(f"PutFile did not bring the file: {reply.body!r}")
        figure.values.append(reply.arrived - server.given[terminal.serial] - (ROUND_TRIP if one_way else 0))
        figure.remark = f"{len(server.of('file')) - fetched} requests for the file"
        terminal.stop()
        server.close()
        if line:
            line.close()
    return figures


def list_of_commands(bench):
    """100 000 people in one answer, until the first reply: it comes when all are carried out. SQLite writes the same rows in as many commits."""
    server = bench.server(refuses=["reply"], Delay=2)
    traced = TracedTerminal(bench, server.url(), calls=WRITING)
    waited(server.wait(lambda: server.of("poll"), 60), "a poll", traced.terminal)
    traced.lines()
    server.queue(
        traced.terminal.serial,
        "\n".join(f"C:{1 + nth}:DATA UPDATE USERINFO PIN={1 + nth}\tName=Person {nth}\tPri=0\tGrp=1" for nth in range(COMMANDS)),
    )
    first = waited(server.wait(lambda: server.of("reply"), 900), "the first reply", traced.terminal)[0]
    commits = Writes(traced.lines()).commits
    traced.terminal.stop()
    written, rows = written_by_sqlite(bench, traced.terminal.place / "punchd.db", commits)
    return [
        Figure(
            "100 000 commands in one answer, until the first reply",
            "s",
            [first.arrived - server.given[traced.terminal.serial]],
            [written],
            "SQLite, the same rows and commits",
            "≤ 1.6 ×",
            f"{commits} commits, {rows} rows",
        )
    ]


def written_by_sqlite(bench, store, commits):
    """(seconds, rows): the rows of a store go into an empty one of the same schema and settings, in so many commits."""
    empty = bench.terminal("http://127.0.0.1:9")
    empty.wait_until_ready()
    empty.stop()
    with (
        contextlib.closing(sqlite3.connect(store)) as full,
        contextlib.closing(sqlite3.connect(empty.place / "punchd.db", isolation_level=None)) as db,
    ):
        work = []
        for table in "user", "command":
            rows = full.execute(f"SELECT * FROM {table}").fetchall()
            work.append((f"INSERT OR REPLACE INTO {table} VALUES ({', '.join('?' * len(rows[0]))})", rows))
        for pragma in "locking_mode = EXCLUSIVE", "journal_mode = WAL", "synchronous = FULL", "cache_size = -256":
            db.execute(f"PRAGMA {pragma}").fetchall()
        count = len(work[0][1])
        begun = time.monotonic()
        for nth in range(commits):
            db.execute("BEGIN IMMEDIATE")
            for statement, rows in work:
                db.executemany(statement, rows[len(rows) * nth // commits : len(rows) * (nth + 1) // commits])
            db.execute("COMMIT")
        return time.monotonic() - begun, count + len(work[1][1])
