"""A million punches that wait for the server: whether each arrives exactly once, and that memory does not grow with them."""

import json
import subprocess
import threading
import time

import stores
from bench import punch, waited
from driver_waits import DriverWaits
from exactly_once import ExactlyOnce
from figures import Figure, number, once
from local_terminal import Failure
from punching import PIN
from scenarios import peak_memory
from server import Server

FEW, MANY = 1_000, 1_000_000
LIMITS = {"punches": 1_500_000}  # by default 500 000: punches beyond them are refused while none of them has gone up
LONGEST = 1800  # seconds until all have arrived
HELD = 25  # seconds; a terminal waits for 30


@once
def million_pending(bench):
    """Start, `punchd status`, the drain beside a driver that punches every 10 ms; the same with 1 000 pending is the floor."""
    few, many = Drain(bench, FEW), Drain(bench, MANY)
    less, pending = f"{number(FEW)} pending", f"{number(MANY)} punches pending"
    found, remark = many.faults
    return [
        Figure(f"start, {pending}", "s", [many.start], [few.start], less),
        Figure(f"first punchd status, {pending}", "s", [many.status], [few.status], less),
        Figure(f"until all have arrived, {pending}", "s", [many.seconds], remark=f"{many.requests} requests"),
        many.driver.figure("while they go up"),
        Figure("punches that did not arrive exactly once", "", [found], goal="0", remark=remark, key="pending-faults"),
        Figure("punches pending at the end", "", [many.left], goal="0", key="pending-left"),
        Figure(f"peak memory, {pending}", "kB", [many.memory], [few.memory], less),
        Figure("peak memory above the same with few pending", "kB", [many.memory - few.memory], goal="≤ 1 024 kB", key="pending-memory"),
        Figure("file of the store, each punch", "B", [many.bytes_each], goal="≤ 64 B", key="pending-bytes"),
    ]


class PunchServer(Server):
    """Counts each punch of the store by PIN and time, those of the driver by their number, and keeps no body."""

    def __init__(self, count):
        super().__init__(light=True)
        self.numbers = {"\t".join([made["pin"], made["time"]]).encode(): nth for nth, made in enumerate(map(punch, range(count)))}
        self.stored, self.driver = ExactlyOnce(count), []

    def to_punches(self, request):
        answer = super().to_punches(request)
        with self.changed:
            for row in request.body.splitlines():
                fields = row.split(b"\t")
                if fields[0] == PIN.encode():
                    self.driver.append(int(fields[4]))
                else:
                    self.stored.note(self.numbers.get(b"\t".join(fields[:2])))
        request.raw = request.body = b""
        return answer


class Drain:
    """A terminal with so many punches pending: what is measured of it. The server holds the first upload until the status is known."""

    def __init__(self, bench, count):
        server, goes_on = PunchServer(count), threading.Event()
        bench.at_the_end.callback(server.close)
        server.before_answer = lambda request: request.kind == "punches" and goes_on.wait(HELD)
        terminal = bench.terminal(server.url(), store=stores.with_punches(bench, count), limits=LIMITS)
        terminal.wait_until_ready()
        self.start = time.monotonic() - terminal.started
        begun = time.monotonic()
        if (left := pending(terminal)) != count:
            raise Failure(f"{left} of {count} punches are pending")
        self.status = time.monotonic() - begun
        self.driver = DriverWaits(terminal)
        waited(server.wait(lambda: server.of("punches"), 60), "the first upload", terminal)
        begun = time.monotonic()
        goes_on.set()
        waited(server.wait(lambda: server.row_count >= count, LONGEST), "the punches", terminal)
        self.seconds = time.monotonic() - begun
        self.driver.end()
        punched = len(self.driver.waits)
        until = time.monotonic() + 60
        while (left := pending(terminal)) and time.monotonic() < until:
            time.sleep(0.2)
        self.left, self.memory, self.requests = left, peak_memory(terminal), len(server.of("punches"))
        terminal.stop()
        self.bytes_each = (terminal.place / "punchd.db").stat().st_size / (count + punched)
        self.faults = faults(server, punched)


def pending(terminal):
    """Punches that wait, as `punchd status` says."""
    command = [*map(str, [terminal.punchd, "status", "-c", terminal.config, "--json"])]
    return json.loads(subprocess.run(command, check=True, capture_output=True, timeout=60).stdout)["streams"]["punches"]["pending"]


def faults(server, punched):
    """Of the store's punches and the driver's, whose last one may have been cut off before it was recorded."""
    driver = ExactlyOnce(max(punched - 1, *server.driver) if server.driver else punched)
    for workcode in server.driver:
        driver.note(workcode - 1)
    driver.wrong += max(0, len(driver.times) - punched)
    (stored, words), (others, other_words) = server.stored.faults(), driver.faults()
    return stored + others, f"{words}; of {len(driver.times)} of the driver {other_words}"
