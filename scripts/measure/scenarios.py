"""Long work of a terminal: how long a driver waits meanwhile that punches every 10 ms, and what memory it takes."""

import base64
import contextlib
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import stores
from bench import waited
from figures import Figure
from local_terminal import Failure

PEOPLE, PUNCHES = 50_000, 500_000
MEMBERS, DIRECTORIES = 9_900, 10  # 10 000 names at most
IDLE = 3  # seconds of a driver that punches while nothing else goes on
LONGEST = 120  # seconds for a piece of work; then it is given up, and the figures are what they are until then
ALL_TIMES = "StartTime=2000-01-01 00:00:00\tEndTime=2099-12-31 23:59:59"
PUNCHING, DURABLE = Path(__file__).with_name("punching.py"), Path(__file__).with_name("durable.py")


class Scenario:
    """What a terminal does: its store, the server's files and command, or what else `starts` it; until `done`, by default the command's answer."""

    def __init__(self, key, name, store=None, command=None, files=lambda: {}, starts=None, done=None, limits=None, goal="≤ 20 ms"):
        self.key, self.name, self.store, self.command, self.files, self.starts, self.done = key, name, store, command, files, starts, done
        self.limits, self.goal = {"punches": 2_000_000, "store_mib": 4096} | (limits or {}), goal


def acknowledged_punches(bench):
    return stores.acknowledged(bench, stores.with_punches(bench, PUNCHES))


def fingerprints():
    template = base64.b64encode(bytes(range(256)) * 2).decode()
    return "".join(
        f"DATA UPDATE FINGERTMP PIN={pin}\tFID=3\tSize={len(template)}\tValid=1\tTMP={template}\n" for pin in range(1, PEOPLE + 1)
    ).encode()


def archive():
    with io.BytesIO() as file:
        with tarfile.open(fileobj=file, mode="w:gz", compresslevel=1) as tar:
            for nth in range(MEMBERS):
                member = tarfile.TarInfo(f"d{nth % DIRECTORIES}/f{nth}")
                member.size = 300
                tar.addfile(member, io.BytesIO(os.urandom(300)))
        return file.getvalue()


def export(terminal):
    command = [terminal.process.args[0], "export", "-c", terminal.place / "punchd.toml"]
    return subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL)


SCENARIOS = [
    Scenario(
        "while_drain", "drain of 20 000 punches", lambda bench: bench.store_with_punches(20_000), done=lambda server: server.row_count >= 20_000
    ),
    Scenario(
        "while_list", "100 000 commands", command="\n".join(f"C:{nth}:DATA UPDATE USERINFO PIN={nth}\tName=Person {nth}" for nth in range(1, 100_001))
    ),
    Scenario("while_file", "PutFile of 100 MB", command="C:1:PutFile file/x.bin\tx.bin", files=lambda: {"file/x.bin": bytes(range(256)) * 390_625}),
    Scenario("while_archive", "an archive of 9 900 members", command="C:1:PutFile file/x.tgz", files=lambda: {"file/x.tgz": archive()}),
    Scenario(
        "while_sync_data",
        "SyncData of 50 000 fingerprints",
        lambda bench: stores.with_people(bench, PEOPLE, 1),
        goal="≤ 50 ms",
        command=f"C:1:PutFile file/x.txt\t\tAction=SyncData\tTableName=FINGERTMP\tRecordCount={PEOPLE}",
        files=lambda: {"file/x.txt": fingerprints()},
    ),
    Scenario("while_clear_log", "CLEAR LOG of 500 000 punches", acknowledged_punches, "C:1:CLEAR LOG"),
    Scenario("while_clear_data", "CLEAR DATA of 50 000 people", lambda bench: stores.with_people(bench, PEOPLE, 1), "C:1:CLEAR DATA"),
    Scenario("while_query_attlog", "DATA QUERY ATTLOG of 500 000 punches", acknowledged_punches, f"C:1:DATA QUERY ATTLOG {ALL_TIMES}"),
    Scenario("while_verify_sum", "VERIFY SUM of 500 000 punches", acknowledged_punches, f"C:1:VERIFY SUM ATTLOG {ALL_TIMES}"),
    Scenario(
        "while_query_users", "DATA QUERY USERINFO of 50 000 people", lambda bench: stores.with_people(bench, PEOPLE, 1), "C:1:DATA QUERY USERINFO"
    ),
    Scenario("while_retention", "retention of 100 000 punches", acknowledged_punches, limits={"punches": PUNCHES - 100_000}),
    Scenario("while_export", "export of 500 000 punches", acknowledged_punches, starts=export),
]


def measure_of(scenario):
    """The longest wait of a driver while the work goes on, and the memory that it takes above an idle terminal with such a driver."""

    def measure(bench):
        return run(bench, scenario)

    measure.__name__ = scenario.key
    return measure


def run(bench, scenario):
    idle_wait, idle_memory = idle(bench)
    wait = Figure(f"longest wait of a driver, {scenario.name}", "ms", floor_name=f"idle for {IDLE} s", goal=scenario.goal)
    memory = Figure(f"memory, {scenario.name}", "kB", floor_name="idle", goal="≤ + 512 kB")
    # Not in real time: the punches of the driver would have all the turns.
    server = bench.server(files=scenario.files(), light=True, Delay=1, Realtime=0)
    terminal = bench.terminal(server.url(), store=scenario.store and scenario.store(bench), limits=scenario.limits, commands={"clear_data": "allow"})
    terminal.wait_until_ready()
    driver, disk = start_driver(terminal), start(DURABLE, terminal.place)
    if scenario.command:
        server.queue(terminal.serial, scenario.command)
    begun = time.monotonic()
    other = scenario.starts(terminal) if scenario.starts else None
    commands = scenario.command.count("C:") if scenario.command else 0
    replies = lambda: sum(request.body.count(b"Return=") for request in server.of("reply"))
    done = lambda: (
        other.poll() is not None
        if other
        else scenario.done(server)
        if scenario.done
        else replies() >= commands
        if commands
        else time.monotonic() > begun + 10
    )
    while not done() and time.monotonic() < begun + LONGEST and terminal.process.poll() is None:
        time.sleep(0.05)
    seconds, ended = time.monotonic() - begun, done()
    waits, disk_waits = end_driver(driver), end_driver(disk)
    wait.values, wait.floors = [1000 * max(waits)], [idle_wait]
    memory.values, memory.floors = [peak_memory(terminal)], [idle_memory]
    wait.remark = f"{seconds:.1f} s" if ended else f"GIVEN UP after {seconds:.0f} s"
    wait.remark += f"; p99 {1000 * p99(waits):.1f} ms; the disk alone: longest {1000 * max(disk_waits):.1f} ms, p99 {1000 * p99(disk_waits):.1f} ms"
    refusals = {reply for request in server.of("reply") for reply in re.findall(rb"Return=(-\d+)", request.body)}
    if refusals:
        wait.remark += f"; ANSWERED {b' '.join(sorted(refusals)).decode()}"
    memory.remark = f"{memory.values[0] - idle_memory:+d} kB"
    if not ended:
        terminal.process.kill()
    terminal.stop()
    server.close()
    return [wait, memory]


def idle(bench):
    """(longest wait in ms, peak memory in kB) of an idle terminal with a driver that punches."""
    server = bench.server(light=True, Delay=1)
    terminal = bench.terminal(server.url())
    waited(server.wait(lambda: server.of("poll"), 60), "a poll", terminal)
    driver = start_driver(terminal)
    time.sleep(IDLE)
    waits, memory = end_driver(driver), peak_memory(terminal)
    terminal.stop()
    server.close()
    return 1000 * max(waits), memory


def p99(waits):
    return sorted(waits)[len(waits) * 99 // 100]


def start_driver(terminal):
    return start(PUNCHING, terminal.socket_path)


def start(program, argument):
    return subprocess.Popen([sys.executable, program, str(argument)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def end_driver(driver):
    """Its waits, in seconds."""
    out, _ = driver.communicate("\n")
    if driver.returncode:
        raise Failure("the driver was disconnected")
    told = json.loads(out)
    if told["refused"]:
        raise Failure(f"{told['refused']} punches were refused")
    return told["waits"]


def peak_memory(terminal):
    """kB"""
    with contextlib.suppress(OSError, TypeError):  # it has ended
        return int(re.search(r"VmHWM:\s*(\d+)", Path(f"/proc/{terminal.process.pid}/status").read_text())[1])
    raise Failure(f"punchd ended:\n{terminal.last_lines()}")


DEAF = [measure_of(scenario) for scenario in SCENARIOS]
