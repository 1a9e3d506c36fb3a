"""50 000 people with ten fingerprints each: the server sends them, drivers load them, the server asks for them after a restart. Each time all come
once and as they were sent, and memory does not grow with them."""

import base64
import hashlib
import itertools
import re
import time

from bench import waited
from driver_waits import DriverWaits
from exactly_once import ExactlyOnce
from figures import Figure, number, once
from local_terminal import Driver
from scenarios import peak_memory
from server import Server

FEW, MANY = 1_000, 50_000
FINGERS = 10
TEMPLATE = 768  # bytes, 1024 characters in base64
TOGETHER = 50_000  # commands in one answer of the server
LIMITS = {"store_mib": 1024}  # by default 512
LONGEST = 1800  # seconds for each step


@once
def many_people(bench):
    """A driver punches every 10 ms meanwhile. The floor of memory is the same with 1 000 people."""
    few, many = Terminal(bench, FEW), Terminal(bench, MANY)
    people, templates, less = number(MANY), number(MANY * FINGERS), f"{number(FEW)} people"
    kept = f"the store has {many.bytes / 1e6:.0f} MB, {many.bytes / (MANY * FINGERS):.0f} B for each template"
    steps = [
        ("commands that bring them", many.sent, f"{many.lists} lists"),
        ("a driver loads all by changes", many.loaded, f"{many.pages} pages"),
        ("DATA QUERY of both tables, after a restart", many.queried, f"{many.requests} requests"),
    ]
    figures = []
    for (name, step, remark), key in zip(steps, ["people-refused", "people-loaded", "people-queried"]):
        faults, words = step.came.faults()
        figures += [
            Figure(f"{people} people, {templates} templates: {name}", "s", [step.seconds], remark=remark),
            step.driver.figure(name),
            Figure(f"that did not come exactly once as it was sent, {name}", "", [faults], goal="0", remark=words, key=key),
        ]
    return [
        *figures,
        Figure(f"start, {people} people", "s", [many.start], [few.start], less, remark=f"{kept}; a file of more than 32 MiB is not checked"),
        Figure(f"peak memory before the restart, {people} people", "kB", [many.memory], [few.memory], less),
        Figure(
            "peak memory above the same with few people, before the restart", "kB", [many.memory - few.memory], goal="≤ 1 024 kB", key="people-memory"
        ),
        Figure(f"peak memory after the restart, {people} people", "kB", [many.restart_memory], [few.restart_memory], less),
        Figure(
            "peak memory above the same with few people, after the restart",
            "kB",
            [many.restart_memory - few.restart_memory],
            goal="≤ 1 024 kB",
            key="people-restart-memory",
        ),
    ]


def person(nth):
    """The record of the `nth` person, with every field that goes up again."""
    return f"PIN={1 + nth}\tName=Person {1 + nth}\tPri=0\tPasswd=\tCard={1_000_001 + nth}\tGrp=1\tTZ=0000000000000000\tVerify=-1\tViceCard="


def template(nth):
    """The data of the `nth` template, in base64."""
    return base64.b64encode(hashlib.shake_128(str(nth).encode()).digest(TEMPLATE)).decode()


def finger(nth):
    """The record of the `nth` template."""
    data = template(nth)
    return f"PIN={1 + nth // FINGERS}\tFID={nth % FINGERS}\tSize={len(data)}\tValid=1\tTMP={data}"


class PeopleServer(Server):
    """Hands out lists of commands, made as they are wanted, each when those before it were answered. Notes which commands were answered 0 and which
    rows came for a query, and keeps no body."""

    def __init__(self):
        super().__init__(light=True, Delay=1, Realtime=0)
        self.lists, self.given_lists, self.unanswered = iter(()), 0, 0
        self.came, self.answers, self.requests_of_queries, self.people = ExactlyOnce(0), 0, 0, 0

    def give(self, lists, came):
        with self.changed:
            self.came, self.answers, self.unanswered, self.given_lists, self.lists = came, 0, 0, 0, lists

    def to_poll(self, request):
        if self.unanswered or not (commands := next(self.lists, "")):
            return "OK"
        self.given_lists, self.unanswered = self.given_lists + 1, commands.count("\n")
        return commands

    def to_reply(self, request):
        """Of commands with numbers; those of queries are counted with their rows."""
        with self.changed:
            for nth, code in re.findall(rb"ID=(\d+)&Return=(-?\d+)", request.body):
                self.came.note(int(nth), code == b"0")
                self.answers, self.unanswered = self.answers + 1, self.unanswered - 1
        request.raw = request.body = b""
        return "OK"

    def to_upload(self, request):
        if b"&CmdId=" in request.raw.split(b"\r\n", 1)[0]:
            with self.changed:
                self.requests_of_queries += 1
                for row in request.body.decode().splitlines():
                    self.came.note(*self.of_row(row))
        request.raw = request.body = b""
        return "OK"

    def of_row(self, row):
        """(number, whether it is as it was sent)."""
        if found := re.match(r"USER PIN=(\d+)\t", row):
            nth = int(found[1]) - 1
            return nth, row == f"USER {person(nth)}"
        if found := re.match(r"FP PIN=(\d+)\tFID=(\d+)\t", row):
            nth = (int(found[1]) - 1) * FINGERS + int(found[2])
            return self.people + nth, row == f"FP {finger(nth)}"
        return None, False


class Step:
    """What went on while a driver punched."""

    def __init__(self, terminal, came, work):
        self.came, self.driver, begun = came, DriverWaits(terminal), time.monotonic()
        work()
        self.seconds = time.monotonic() - begun
        self.driver.end()


class Terminal:
    """A terminal with so many people: what is measured of it."""

    def __init__(self, bench, people):
        self.people, self.templates = people, people * FINGERS
        self.server = server = PeopleServer()
        server.people = people
        bench.at_the_end.callback(server.close)
        terminal = bench.terminal(server.url(), limits=LIMITS)
        terminal.wait_until_ready()
        both = people + self.templates
        self.sent = self.ask(terminal, self.commands(), both, both)
        self.lists = server.given_lists
        loaded = ExactlyOnce(both)
        self.loaded = Step(terminal, loaded, lambda: self.load(terminal, loaded))
        self.memory = peak_memory(terminal)
        terminal.stop()
        self.bytes = (terminal.place / "punchd.db").stat().st_size
        terminal.start()
        terminal.wait_until_ready()
        self.start = time.monotonic() - terminal.started
        # Their answers have the two numbers behind the rows.
        queries = f"C:{both}:DATA QUERY USERINFO\nC:{both + 1}:DATA QUERY FINGERTMP\n"
        self.queried = self.ask(terminal, iter([queries]), both + 2, 2)
        self.requests = server.requests_of_queries
        self.restart_memory = peak_memory(terminal)
        terminal.stop()

    def ask(self, terminal, lists, count, commands):
        """Gives the server lists with so many commands, until all are answered; `count` answers and rows are expected."""
        came = ExactlyOnce(count)

        def work():
            self.server.give(lists, came)
            waited(self.server.wait(lambda: self.server.answers >= commands, LONGEST), f"{commands} answers ({self.server.answers} came)", terminal)

        return Step(terminal, came, work)

    def commands(self):
        """The server's lists: the people, then the templates."""
        users = (f"C:{nth}:DATA UPDATE USERINFO {person(nth)}\n" for nth in range(self.people))
        fingers = (f"C:{self.people + nth}:DATA UPDATE FINGERTMP {finger(nth)}\n" for nth in range(self.templates))
        for commands in users, fingers:
            while some := "".join(itertools.islice(commands, TOGETHER)):
                yield some

    def load(self, terminal, loaded):
        """All pages of `changes`."""
        self.pages, after, more = 0, 0, True
        with Driver(terminal) as driver:
            while more:
                page = driver.ask("changes", {"after": after})[1]
                self.pages, after, more = self.pages + 1, page["upto"], page["more"]
                for user in page["users"]:
                    nth = int(user["pin"]) - 1
                    loaded.note(nth, (user["name"], user["card"]) == (f"Person {1 + nth}", str(1_000_001 + nth)))
                for entry in page["templates"]:
                    nth = (int(entry["pin"]) - 1) * FINGERS + entry["number"]
                    loaded.note(self.people + nth, (entry["kind"], entry["data"]) == ("fingerprint", template(nth)))
