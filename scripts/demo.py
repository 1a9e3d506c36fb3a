"""What `scripts/demo` shows: a sensor, the terminal and the server, and what passes between them.

All three are real programs with real sockets, in a directory of their own that is gone afterwards: examples/sensor.py,
`punchd run` and `iclock-emulator`, which also tells by its admin interface what it has received.
"""

import argparse
import contextlib
import json
import math
import os
import re
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
import urllib.request
from pathlib import Path

from terminal import end_in_order

SERIAL = "DEMO0000001"
PUNCHES = 24  # with --once
SILENT_FROM, SILENT_UNTIL = 10, 18  # the punches between which the server does not answer
INTERVAL = 0.4  # seconds between two punches
TIMEOUT = 60  # seconds for anything to happen

# What the server asks for, and the return code that is right.
COMMANDS = [
    ("DATA UPDATE USERINFO PIN=1001\tName=Ada", 0),
    ("DATA QUERY USERINFO PIN=1001", 0),
    ("SET OPTION Delay=5", 0),
    ("ENROLL_FP PIN=1001\tFID=3\tRETRY=3", 0),
    ("INFO", 0),
    ("CHECK", 0),
    ("LOG", 0),
    ("MAKE COFFEE", -1002),
]
VERIFIED_BY = {1: "fingerprint", 4: "card", 15: "face"}
STATUS = {0: "in", 1: "out"}


class Failure(Exception):
    """Why the demo cannot go on."""


class Program:
    """A running program, stopped at the end; what it prints goes to a file."""

    def __init__(self, at_the_end, name, place, *command):
        self.name, self.log = name, place / f"{name}.log"
        with open(self.log, "wb") as log:
            # In a session of its own, so that Ctrl-C does not reach it: the demo stops it when all is counted.
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        at_the_end.callback(self.stop)

    def lines(self):
        """The whole lines it has printed so far."""
        return self.log.read_text(errors="replace").split("\n")[:-1]

    def find(self, pattern):
        return next((match for line in self.lines() if (match := re.search(pattern, line))), None)

    def check(self):
        if self.process.poll() not in (None, 0):
            raise Failure(f"the {self.name} ended with exit code {self.process.returncode}", self)

    def signal(self, number):
        if self.process.poll() is None:
            self.process.send_signal(number)

    def stop(self):
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Server(Program):
    """iclock-emulator, which stands for the server."""

    def __init__(self, at_the_end, place, programs):
        ports = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]
        super().__init__(at_the_end, "server", place, programs / "iclock-emulator", *ports, "--option", "Delay=1")
        self.url = wait(lambda: self.find(r"terminals connect to (\S+)"), "the server to start", self)[1]
        self.admin = wait(lambda: self.find(r"admin interface is at (\S+)"), "the server to start", self)[1]
        self.silent = False

    def get(self, path):
        with urllib.request.urlopen(self.admin + path, timeout=TIMEOUT) as answer:
            return json.load(answer)

    def queue(self, commands):
        body = "".join(command + "\n" for command in commands).encode()
        with urllib.request.urlopen(self.admin + "/commands", body, timeout=TIMEOUT) as answer:
            return json.load(answer)["ids"]

    def fall_silent(self):
        """It hangs: connections still open, but nobody reads or answers."""
        self.silent = True
        self.signal(signal.SIGSTOP)

    def come_back(self):
        self.silent = False
        self.signal(signal.SIGCONT)


def start_terminal(at_the_end, place, programs, server):
    config = place / "punchd.toml"
    settings = {"server": server.url, "serial": SERIAL, "language": 69, "store": f"{place}/punchd.db", "run_dir": str(place)}
    settings |= {"clock": "own", "timezone": "system"}  # this machine's clock is left alone, and believed
    limits = "[limits]\nstart_spread = 0\n"  # one terminal need not wait for its turn
    config.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items()) + limits)
    terminal = Program(at_the_end, "terminal", place, programs / "punchd", "run", "-c", config)
    wait((place / "driver.sock").exists, "the terminal to start", terminal)
    return terminal


def start_sensor(at_the_end, place, count):
    command = [sys.executable, "examples/sensor.py", "--socket", str(place / "driver.sock"), "--interval", str(INTERVAL)]
    return Program(at_the_end, "sensor", place, *command, *(["--count", str(count), "--stay"] if count else []))


class Show:
    """Two columns that grow: what the sensor saw, and what the server has of it."""

    def __init__(self, server, terminal, sensor):
        self.server, self.terminal, self.sensor = server, terminal, sensor
        self.seen, self.rows = [], []  # the sensor's lines with the time they came; the server's rows
        self.left = self.right = 0  # how many of each are on the screen

    def until(self, enough, what, timeout=TIMEOUT):
        wait(lambda: self.look() or enough(), what, self.server, self.terminal, self.sensor, timeout=timeout)

    def look(self):
        """Fetches what is new and shows it: on one line if the server has it within a second."""
        now = time.monotonic()
        punches = [line for line in self.sensor.lines() if line.startswith("seq ")]
        self.seen += [(line, now) for line in punches[len(self.seen) :]]
        if not self.server.silent:
            self.rows = self.server.get("/attlog")
        while self.right < min(len(self.rows), len(self.seen)):
            row = self.rows[self.right]
            how = f"{STATUS[row['status']]:<3}  {VERIFIED_BY[row['verify']]:<11}"
            line = self.seen[self.right][0]
            if self.right < self.left:
                line = line.split("  ")[0] + " ..."  # on the screen already
            columns(line, f"pin {row['pin']}  {how}  {row['time'].split()[1]}")
            self.right += 1
            self.left = max(self.left, self.right)
        while self.left < len(self.seen) and (self.server.silent or now - self.seen[self.left][1] > 1):
            columns(self.seen[self.left][0], "")
            self.left += 1

    def pins_differ(self):
        return [re.search(r"pin (\S+)", line)[1] for line, _ in self.seen] != [row["pin"] for row in self.rows]


def obey(server, terminal):
    """Queues the commands and shows each with its answer. Returns what is wrong with the answers."""
    print()
    columns("THE SERVER ASKS", "THE TERMINAL ANSWERS")
    ids = server.queue(text for text, _ in COMMANDS)
    wrong = []
    for id, (text, expected) in zip(ids, COMMANDS):
        find = lambda: next((reply for reply in server.get("/replies") if reply["id"] == id), None)
        reply = wait(find, f"the answer to {text!r}", server, terminal)
        columns(text.replace("\t", " "), textwrap.shorten(in_words(text, reply, server), 40, placeholder=" ..."))
        if reply["ret"] != expected:
            wrong.append(f"{text!r} was answered with {reply['ret']}, not {expected}")
    print()
    return wrong


def in_words(text, reply, server):
    if reply["ret"] == -1002:
        return "-1002: this terminal cannot do that"
    if reply["ret"] < 0:
        return f"{reply['ret']}: it failed"
    if text.startswith("DATA QUERY USERINFO"):
        users = [user["raw"].replace("\t", " ") for user in server.get("/users")]
        return f"done; {users[0] if users else 'but nothing came'}"
    if text == "INFO":
        return "done; " + " ".join(re.findall(r"(?m)^(?:User|Transaction)Count=\d+", reply["content"] or ""))
    return "done"


def columns(left, right):
    print(f"  {left:<40}{right}".rstrip())


def note(text):
    print(f"  ---- {text}")


def wait(found, what, *programs, timeout=TIMEOUT):
    """Waits until `found()` is true and returns that; fails if a program ends meanwhile, or after some time."""
    deadline = time.monotonic() + timeout
    while not (result := found()):
        for program in programs:
            program.check()
        if time.monotonic() > deadline:
            raise Failure(f"waited {timeout} s for {what}", *programs)
        time.sleep(0.05)
    return result


def play(show, once):
    """The demo itself. Returns what is wrong."""
    server, terminal = show.server, show.terminal
    columns("THE SENSOR SAW", "THE SERVER HAS")
    show.until(lambda: show.right >= SILENT_FROM, "the first punches")
    note("the server stops answering; the terminal goes on recording")
    server.fall_silent()
    show.until(lambda: len(show.seen) >= SILENT_UNTIL, "punches while the server is silent")
    note("the server is back")
    server.come_back()
    show.until(lambda: show.right >= (PUNCHES if once else SILENT_UNTIL), "the punches to arrive")
    wrong = obey(server, terminal)
    if not once:
        note("more punches, until you press Ctrl-C")
        with contextlib.suppress(KeyboardInterrupt):
            show.until(lambda: False, "Ctrl-C", timeout=math.inf)
        last = len(show.seen) + 1
        show.until(lambda: len(show.seen) >= last, "one more punch")
        show.sensor.stop()  # between two punches
        show.until(lambda: show.right >= len(show.seen), "the last punches to arrive")
        print()
    return wrong


def verdict(show, wrong):
    """Compares the two ends, prints the last line, and returns the exit code."""
    state = show.server.get("/state")
    if show.pins_differ():
        wrong.append("the server's punches are not those of the sensor, in their order")
    if state["duplicates"]:
        wrong.append("some punches arrived twice")
    if state["commands_answered"] != len(COMMANDS):
        wrong.append(f"{len(COMMANDS)} commands were given")
    wrong += [f"not as the protocol has it: {deviation['of']}: {deviation['text']}" for deviation in show.server.get("/deviations")]
    for line in wrong:
        print(f"demo: wrong: {line}")
    print(
        f"demo: {len(show.seen)} punches recorded, {state['punches']} received, "
        f"{state['duplicates']} duplicated, {state['commands_answered']} commands answered"
    )
    return 1 if wrong else 0


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--programs", type=Path, required=True)
    options.add_argument("--once", action="store_true")
    options = options.parse_args()
    sys.stdout.reconfigure(line_buffering=True)
    os.environ["no_proxy"] = "127.0.0.1"  # all of this stays on this machine
    end_in_order()

    with contextlib.ExitStack() as at_the_end:
        place = Path(at_the_end.enter_context(tempfile.TemporaryDirectory(prefix="punchd-demo-")))
        try:
            server = Server(at_the_end, place, options.programs)
            terminal = start_terminal(at_the_end, place, options.programs, server)
            print()
            columns(f"sensor     examples/sensor.py, a punch every {INTERVAL} s", "")
            columns(f"terminal   punchd, serial number {SERIAL}", "")
            columns(f"server     iclock-emulator at {server.url}", "")
            print()
            sensor = start_sensor(at_the_end, place, PUNCHES if options.once else None)
            show = Show(server, terminal, sensor)
            return verdict(show, play(show, options.once))
        except Failure as failure:
            why, *programs = failure.args
            for program in programs:
                print(f"\n{program.name}, its last lines:", *program.lines()[-15:], sep="\n  ")
            return f"demo: failed: {why}"


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
