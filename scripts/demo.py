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
AWAY_FROM, POWER_CUT, AWAY_UNTIL = 8, 13, 18  # the punches between which the server is away, and after which the power fails
INTERVAL = 0.4  # seconds between two punches
TIMEOUT = 60  # seconds for anything to happen

# What the server asks for, and the return code that is right.
COMMANDS = [
    ("DATA UPDATE USERINFO PIN=1001\tName=Ada", 0),
    ("DATA QUERY USERINFO PIN=1001", 0),
    ("SET OPTION Delay=5", 0),
    ("ENROLL_FP PIN=1001\tFID=3\tRETRY=3", 0),
    ("AC_UNLOCK", 0),
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
        with open(self.log, "ab") as log:
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

    def kill(self):
        """As a power cut ends it."""
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.signal(signal.SIGTERM)
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Server(Program):
    """iclock-emulator, which stands for the server."""

    def __init__(self, at_the_end, place, programs):
        ports = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--page", "127.0.0.1:0"]
        super().__init__(at_the_end, "server", place, programs / "iclock-emulator", *ports, "--option", "Delay=1", "--option", "ErrorDelay=2")
        self.url = wait(lambda: self.find(r"terminals connect to (\S+)"), "the server to start", self)[1]
        self.admin = wait(lambda: self.find(r"admin interface is at (\S+)"), "the server to start", self)[1]
        self.page = wait(lambda: self.find(r"the page is at (\S+)"), "the server to start", self)[1]
        self.is_away = False

    def get(self, path):
        with urllib.request.urlopen(self.admin + path, timeout=TIMEOUT) as answer:
            return json.load(answer)

    def send(self, path, body=None, method=None):
        with urllib.request.urlopen(urllib.request.Request(self.admin + path, body, method=method), timeout=TIMEOUT) as answer:
            return answer.read()

    def queue(self, commands):
        return json.loads(self.send("/commands", "".join(command + "\n" for command in commands).encode()))["ids"]

    def go_away(self):
        """It closes each connection unread."""
        self.is_away = True
        self.send("/faults", json.dumps({"on": "any", "act": "drop", "times": 1_000_000}).encode())

    def come_back(self):
        self.is_away = False
        self.send("/faults", method="DELETE")


def start_terminal(at_the_end, place, programs, server):
    config = place / "punchd.toml"
    settings = {"server": server.url, "serial": SERIAL, "language": 69, "store": f"{place}/punchd.db", "run_dir": str(place)}
    settings |= {"clock": "own", "timezone": "system"}  # this machine's clock is left alone, and believed
    limits = "[limits]\nstart_spread = 0\n"  # one terminal need not wait for its turn
    config.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items()) + limits)
    start = lambda: Program(at_the_end, "terminal", place, programs / "punchd", "run", "-c", config)
    terminal = start()
    wait((place / "driver.sock").exists, "the terminal to start", terminal)
    return terminal, start


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
        self.rows = self.server.get("/attlog")
        while self.right < min(len(self.rows), len(self.seen)):
            row = self.rows[self.right]
            how = f"{STATUS[row['status']]:<3}  {VERIFIED_BY[row['verify']]:<11}"
            line = self.seen[self.right][0]
            if self.right < self.left:
                line = line.split("  ")[0] + " ..."  # on the screen already
            columns(line, f"pin {row['pin']}  {how}  {row['time'].split()[1]}  {time.strftime('%H:%M:%S')}")
            self.right += 1
            self.left = max(self.left, self.right)
        while self.left < len(self.seen) and (self.server.is_away or now - self.seen[self.left][1] > 1):
            columns(self.seen[self.left][0], "")
            self.left += 1

    def pins_differ(self):
        return [re.search(r"pin (\S+)", line)[1] for line, _ in self.seen] != [row["pin"] for row in self.rows]


def obey(show):
    """Queues the commands and shows each with its answer. Returns what is wrong with the answers."""
    server, terminal = show.server, show.terminal
    print()
    columns("THE SERVER ASKS", "THE TERMINAL ANSWERS")
    ids = server.queue(text for text, _ in COMMANDS)
    wrong = []
    for id, (text, expected) in zip(ids, COMMANDS):
        find = lambda: next((reply for reply in server.get("/replies") if reply["id"] == id), None)
        reply = wait(find, f"the answer to {text!r}", server, terminal)
        columns(text.replace("\t", " "), textwrap.shorten(in_words(text, reply, show), 40, placeholder=" ..."))
        if reply["ret"] != expected:
            wrong.append(f"{text!r} was answered with {reply['ret']}, not {expected}")
    print()
    return wrong


# What the sensor prints when it does what a command asks for.
DONE_BY_SENSOR = {"ENROLL_FP": r"enrolled .*", "AC_UNLOCK": r"the door is open"}


def in_words(text, reply, show):
    if reply["ret"] == -1002:
        return "-1002: this terminal cannot do that"
    if reply["ret"] < 0:
        return f"{reply['ret']}: it failed"
    if text.startswith("DATA QUERY USERINFO"):
        users = [user["raw"].replace("\t", " ") for user in show.server.get("/users")]
        return f"done; {users[0] if users else 'but nothing came'}"
    if said := show.sensor.find(DONE_BY_SENSOR.get(text.split()[0], "^$")):
        return f"done; the sensor: {' '.join(said[0].split())}"
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


def play(show, start, once):
    """The demo itself. Returns what is wrong."""
    server = show.server
    columns("THE SENSOR SAW", "THE SERVER HAS                  of       arrived")
    show.until(lambda: show.right >= AWAY_FROM, "the first punches")
    note("the server goes away: it closes each connection. The terminal goes on recording")
    server.go_away()
    show.until(lambda: len(show.seen) >= POWER_CUT, "punches while the server is away")
    note("the terminal loses its power (SIGKILL). Whatever was answered to the sensor is on its disk")
    show.terminal.kill()
    time.sleep(1)
    show.terminal = start()
    note("the power is back; the sensor connects again and goes on")
    show.until(lambda: len(show.seen) >= AWAY_UNTIL, "punches after the power cut")
    note("the server is back")
    server.come_back()
    show.until(lambda: show.right >= (PUNCHES if once else AWAY_UNTIL), "the punches to arrive")
    wrong = obey(show)
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
            terminal, start = start_terminal(at_the_end, place, options.programs, server)
            print()
            columns(f"sensor     examples/sensor.py, a punch every {INTERVAL} s", "")
            columns(f"terminal   punchd, serial number {SERIAL}", "")
            columns(f"server     iclock-emulator at {server.url}", "")
            columns(f"page       {server.page}: the same in a browser, with buttons", "")
            columns("seq        the number of a record on the terminal; people, fingers and operations have numbers, too", "")
            print()
            sensor = start_sensor(at_the_end, place, PUNCHES if options.once else None)
            show = Show(server, terminal, sensor)
            return verdict(show, play(show, start, options.once))
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
