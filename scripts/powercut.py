"""What `scripts/powercut` does: works a terminal hard, cuts its power at a random moment, boots it again, and compares.

Before a cut: punches from a driver that reports each that was answered, people from the server, enrolments, SHELL lines that leave a trace, now
and then an UPGRADE. After it: every reported punch is at the server once, unless the cut took the acknowledgement of the very request that carried
it; every command is answered, and what was answered with 0 was done; no SHELL line ran twice; the store is whole, and the program is the new one
after a good upgrade and the old one after another. QEMU is
killed: what the terminal had not yet written to its disk is gone with it, and of what it had not yet flushed there, some sectors are there
and some are not (disk.py).
"""

import argparse
import collections
import hashlib
import random
import re
import socket
import sys
import threading
import time
from pathlib import Path

from terminal import NO_GOOD, Failure, Images, Machine, Server, end_in_order, expect, no_good, wait

LONGEST_LIFE = 12  # seconds under load until the cut


class Reports:
    """The PINs of punches that were answered, as the driver on the terminal reports them."""

    def __init__(self):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.pins = set()
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        while True:
            connection, _ = self.socket.accept()
            threading.Thread(target=self.read, args=[connection], daemon=True).start()

    def read(self, connection):
        rest = b""
        try:
            while more := connection.recv(65536):
                *lines, rest = (rest + more).split(b"\n")
                self.pins.update(line.decode() for line in lines)
        except OSError:
            pass


class Trial:
    images_of = Images
    upgrades_in = 0.4  # of all lives

    def __init__(self, arguments, seed):
        self.arguments, self.random = arguments, random.Random(seed)
        arguments.place.mkdir(parents=True, exist_ok=True)
        self.server = Server(arguments.emulator, arguments.place / "server.log", "--option", "Delay=1")
        self.images = self.images_of(arguments.debian, arguments.punchd, arguments.driver, arguments.place)
        self.images.make_root(self.server, programs=[arguments.example_driver])
        self.images.make_data()
        self.reports = Reports()
        self.excused, self.shells, self.enrolments = collections.Counter(), {}, {}
        self.program, self.upgraded = digest(arguments.punchd.read_bytes()), None
        self.machine, self.commands, self.lines, self.upgrades, self.duplicates, self.forgotten, self.first = None, [], 0, 0, 0, 0, 1
        self.enrolled, self.taken_back = set(), 0

    def boot(self):
        before = len(self.server.requests("handshake"))
        self.machine = Machine(self.arguments.qemu, self.images, forgetful=self.random)
        wait("a handshake", lambda: len(self.server.requests("handshake")) > before)
        self.machine.wait_for_shell()

    def work(self):
        """Load until the power is cut."""
        group = self.random.choice([1, 1, 3, 10])
        self.machine.console.send(f"\ndriver 100000 {group} {self.random.choice([0, 20, 200])} {self.first} 10.0.2.2 {self.reports.port} &\n")
        self.first += 1_000_000
        self.machine.console.send("[ -p /run/pins ] || mkfifo /run/pins; sleep 100 >/run/pins & example-driver </run/pins >/dev/null &\n")
        life = self.random.uniform(0.5, LONGEST_LIFE)
        until = time.monotonic() + life
        if self.random.random() < self.upgrades_in:
            self.upgrade()
        while time.monotonic() < until:
            self.lines += 1
            pin = 50_000_000 + self.lines
            user, shell = self.server.queue(
                f"DATA UPDATE USERINFO PIN={pin}\tName=Cut", f"SHELL echo {self.lines} >> /var/lib/punchd/files/ran; sync"
            )
            self.commands += [user, shell]
            self.shells[shell] = str(self.lines)
            if self.lines % 3 == 0:
                (enrolment,) = self.server.queue(f"ENROLL_FP PIN={pin}\tFID=6\tRETRY=1\tOVERWRITE=1")
                self.commands.append(enrolment)
                self.enrolments[enrolment] = str(pin)
            time.sleep(min(0.5, max(0, until - time.monotonic())))
        self.cut()

    def cut(self):
        self.machine.kill(in_a_write=self.random.random() < 0.5)
        self.forgotten += sum(disk.forgotten for disk in self.machine.disks.values())

    def upgrade(self):
        """To a program that differs in bytes that nobody reads; every second time to one that does not stand its trial."""
        self.upgrades += 1
        kind = self.random.choice(["good"] * len(NO_GOOD) + list(NO_GOOD))
        good = self.arguments.punchd.read_bytes() + b"%d" % self.upgrades
        program = good if kind == "good" else no_good(kind, self.upgrades)
        file = self.images.owner.sign(program)
        self.server.post("/files/data/emfw.cfg", file)
        url = f"http://10.0.2.2:{self.server.port}/data/emfw.cfg"
        (command,) = self.server.queue(f"UPGRADE type=1,checksum={digest(file)},size={len(file)},url={url}")
        self.commands.append(command)
        self.upgraded = command, kind, digest(program)
        print(f"   upgrade to a program: {kind}", flush=True)

    def look(self):
        """What the server has: how often each row came, in the order in which they came first."""
        return {(row["pin"], row["time"]): row["times"] for row in self.server.get("/attlog")}

    def last_request(self):
        """How many rows the last request had."""
        sent = re.findall(r"sent ATTLOG: (\d+) in all", self.server.log.read_text())
        return int(sent[-1]) if sent else 0

    def compare(self, before, last):
        """After a cut: everything arrives, and comes once more only for each cut at which it was in the last request that the server had taken."""
        answered = set(self.reports.pins)

        def arrived():
            return not answered - {row["pin"] for row in self.server.get("/attlog")}

        try:
            wait("the punches that were answered", arrived, 180)
        except Failure:
            missing = answered - {row["pin"] for row in self.server.get("/attlog")}
            raise Failure(
                f"{len(missing)} punches that were answered are LOST: {sorted(missing)[:5]}; {self.machine.shell('punchd status; tail -n 5 /run/messages')}"
            ) from None
        wait("answers to all commands", lambda: {reply["id"] for reply in self.server.get("/replies")} >= set(self.commands), 300)
        rows = self.look()
        order = list(before)
        again = [row for row in order if rows[row] > before[row]]
        self.excused.update(order[len(order) - last :])
        # Of all times, not only since this cut: what comes twice while nothing is cut is as wrong.
        wrong = [row for row in rows if rows[row] > 1 + self.excused[row]]
        expect(not wrong, f"{len(wrong)} rows came more often than a cut accounts for: {wrong[:3]}")
        self.duplicates += len(again)
        return len(answered), len(again)

    def whole(self):
        """What was answered with 0 was done, and once; nothing is damaged."""
        done = {reply["id"] for reply in self.server.get("/replies") if reply["ret"] == 0}
        ran = self.machine.shell("cat /var/lib/punchd/files/ran").split()
        expect(len(ran) == len(set(ran)), "a SHELL line ran twice")
        lines = {line for command, line in self.shells.items() if command in done}
        expect(lines <= set(ran), f"SHELL lines were answered 0 and left no trace: {sorted(lines - set(ran))[:3]}")
        self.enrolled = {pin for command, pin in self.enrolments.items() if command in done}
        wait("the fingers that were enrolled", lambda: self.enrolled <= {row["pin"] for row in self.server.get("/templates")})
        if self.upgraded:
            command, kind, program = self.upgraded
            wanted = 0 if kind == "good" else -3
            reply = self.server.reply(command)
            expect(reply["ret"] == wanted, f"an upgrade to a program ({kind}) was answered {reply}, not {wanted}")
            self.program = program if kind == "good" else self.program
            self.taken_back += kind != "good"
            found = self.machine.shell("md5sum /usr/bin/punchd").split()[0]
            expect(found == self.program, f"after an upgrade to a program ({kind}) it is {found}, not {self.program}")
            expect("No such" in self.machine.shell("ls /usr/bin/punchd.new 2>&1"), f"a program ({kind}) is left")
            self.upgraded = None
        expect("damaged" not in self.machine.shell("cat /run/messages"), "the store is damaged")
        self.whole_file_system()

    def whole_file_system(self):
        expect(not self.machine.shell("dmesg | grep -i 'EXT4-fs error'"), "the file system is damaged")

    def measure(self):
        """Figures, when all cuts are done."""

    def close(self):
        if self.machine:
            self.machine.stop()
        self.server.stop()


def digest(program):
    return hashlib.md5(program).hexdigest()


def main(kind=Trial):
    parser = argparse.ArgumentParser()
    for name in ["qemu", "debian", "punchd", "driver", "example-driver", "emulator", "host-punchd", "place"]:
        parser.add_argument(f"--{name}", required=True, type=Path)
    parser.add_argument("--cuts", type=int, required=True)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    arguments = parser.parse_args()
    end_in_order()
    begun = time.time()
    trial = kind(arguments, arguments.seed)
    print(f"powercut: {arguments.cuts} cuts, seed {arguments.seed}", flush=True)
    status = 1
    try:
        trial.boot()
        for cut in range(1, arguments.cuts + 1):
            since = time.time()
            trial.work()
            before, last = trial.look(), trial.last_request()
            trial.boot()
            answered, again = trial.compare(before, last)
            trial.whole()
            print(
                f"   cut {cut}: {answered} punches answered so far, 0 lost, {again} twice; {len(trial.commands)} commands; {time.time() - since:.0f} s",
                flush=True,
            )
        trial.measure()
        status = 0
    except Failure as failure:
        print(f"   FAILED: {failure}")
    finally:
        deviations = trial.server.get("/deviations")
        trial.close()
    if deviations:
        status = 1
        print(f"   FAILED: the server minds {len(deviations)} things, first {deviations[0]}")
    print(
        f"powercut: {'ok' if status == 0 else 'FAILED'}, {arguments.cuts} cuts, {len(trial.reports.pins)} punches answered, {len(trial.commands)} commands, "
        f"{len(trial.enrolled)} fingers enrolled, {trial.upgrades} upgrades, {trial.taken_back} of them taken back, {trial.duplicates} rows twice, {trial.forgotten} sectors forgotten, {time.time() - begun:.0f} s"
    )
    sys.exit(status)


if __name__ == "__main__":
    main()
