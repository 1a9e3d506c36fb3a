"""What `scripts/qemu` does once everything is built: boots the terminal for a person, or checks it and prints its figures."""

import argparse
import calendar
import hashlib
import itertools
import json
import re
import shutil
import socket
import subprocess
import sys
import time
import traceback
from pathlib import Path

from fill import fill_ext4, fill_ubifs
from terminal import NO_GOOD, PROBATION, Failure, Images, Machine, Owner, Server, end_in_order, expect, no_good, wait

FEW_PUNCHES, PUNCHES, USERS = 1_000, 100_000, 20_000
SINGLE, IN_BURSTS = 1_200, 6_000  # punches whose bytes are counted: more than one checkpoint
ERROR_DELAY, CABLE_OUT = 60, (5, 8, 40)  # seconds
START_SPREAD = 3  # seconds over which a fleet spreads its attempts when a link comes ([limits] start_spread, by default)
POLLS_AN_HOUR = 3600 // 30
CARD = "4711"
OPTIONS = ["--option", "Delay=1", "--option", "ErrorDelay=3"]
DRIVERS = ["punchd card-reader /dev/input/event1", "punchd relay gpiochip0:4"]


def main():
    parser = argparse.ArgumentParser()
    for name in ["qemu", "debian", "punchd", "driver", "example-driver", "later-punchd", "emulator", "host-punchd", "place"]:
        parser.add_argument(f"--{name}", required=True, type=Path)
    parser.add_argument("--only", help="one of the checks, by the beginning of its name")
    parser.add_argument("--quick", action="store_true", help="fewer punches where their bytes are counted, which takes longest")
    parser.add_argument("what", choices=["run", "test"])
    arguments = parser.parse_args()
    arguments.place.mkdir(parents=True, exist_ok=True)
    end_in_order()
    run(arguments) if arguments.what == "run" else sys.exit(test(arguments))


def run(arguments):
    server = Server(arguments.emulator, arguments.place / "server.log", "--option", "Delay=2")
    try:
        images = Images(arguments.debian, arguments.punchd, arguments.driver, arguments.place)
        images.make_root(server, drivers=DRIVERS)
        if not images.data.exists():
            images.make_data()
        print(
            f"""
The server has its log in {server.log} (tail -f it beside this) and answers at {server.admin}:
    curl {server.admin}/attlog;  curl -d 'DATA UPDATE USERINFO PIN=7\tName=Ann' {server.admin}/commands
On the terminal: punchd status; punchd punch --pin 7; tail -f /run/messages. Its store is kept in {images.data}.
Ctrl-A X ends it.
""",
            flush=True,
        )
        Machine(arguments.qemu, images, console="here").process.wait()
    finally:
        server.stop()


class Bench:
    """A server, a terminal that talks to it, and the figures that come of it."""

    def __init__(self, arguments):
        self.arguments, self.figures = arguments, []
        self.servers = []
        self.server = self.serve("server.log")
        self.images = self.usual_images = self.images_of(Images)
        self.machine, self.terminals, self.excused = None, 0, []
        self.pins = itertools.count(60_000_000, 1_000_000)

    def serve(self, log, *options, ca=None):
        """One more server."""
        place = self.arguments.place
        self.servers.append(Server(self.arguments.emulator, place / log, *OPTIONS, *options, ca=ca))
        return self.servers[-1]

    def images_of(self, kind):
        arguments = self.arguments
        return kind(arguments.debian, arguments.punchd, arguments.driver, arguments.place)

    def boot(self, store=None, server=None, cable=True, images=None, **machine):
        """A terminal that was never here before, with this store or an empty one. Returns the seconds to its first handshake, if it has a cable."""
        if self.machine:
            self.machine.stop()
        self.terminals += 1
        server, self.images = server or self.server, images or self.usual_images
        self.images.make_root(server, f"QEMU{self.terminals:07}", DRIVERS, [self.arguments.example_driver])
        self.images.make_data(store)
        before = len(server.requests("handshake"))
        self.start(cable, **machine)
        if cable:
            shake = wait("the first handshake", lambda: server.requests("handshake")[before:])[0]
            return shake["at_ms"] / 1000 - self.machine.begun
        return None

    def start(self, cable=True, **machine):
        self.machine = Machine(self.arguments.qemu, self.images, cable=cable, **machine)
        self.machine.wait_for_shell()

    def figure(self, name, value, goal=""):
        self.figures.append((name, value, goal))
        print(f"   {name}: {value}{f'  (goal {goal})' if goal else ''}", flush=True)

    def hold(self, name, value, unit, goal, most=None, words=""):
        """A figure that may not be more than its goal; or than `most`, where the goal is not met."""
        self.figure(name, f"{value} {unit}{words}", f"{goal} {unit}{', MISSED' if value > goal else ''}")
        expect(value <= (most or goal), f"{name}: more than {most or goal} {unit}")

    def pid(self):
        return self.machine.number(
            "for p in $(pidof punchd); do grep -qs '^.*run' /proc/$p/cmdline && ls -l /proc/$p/exe | grep -q bin/punchd && echo $p; done | head -n 1"
        )

    def memory(self):
        """VmHWM in kB; and in words what of the memory is the program's own, and what pages of its file."""
        text = self.machine.shell(f"grep -E 'VmHWM|RssAnon|RssFile' /proc/{self.pid()}/status")
        most, own, file = re.findall(r"(\d+) kB", text)
        return int(most), f"; now {own} kB its own, {file} kB pages of the program"

    def data_disk(self):
        """What the kernel calls the data disk."""
        return self.machine.shell("for d in /sys/block/vd*; do [ $(cat $d/serial) != data ] || echo ${d##*/}; done").strip()

    def written(self):
        """Bytes that were written to the data disk, when all is written."""
        return 512 * self.machine.number(f"sync; awk '{{print $7}}' /sys/block/{self.data_disk()}/stat")

    def punches(self):
        return self.server.get("/state")["punches"]

    def deviations(self):
        found = [deviation for server in self.servers for deviation in server.get("/deviations")]
        return [deviation for deviation in found if deviation not in self.excused]

    def close(self):
        if self.machine:
            self.machine.stop()
        for server in self.servers:
            server.stop()


def session(bench):
    """It boots, and the server sets its clock."""
    bench.figure("boot to first handshake", f"{bench.boot():.1f} s of the host's")
    bench.figure(
        "uptime at the first handshake",
        bench.machine.shell("grep -m 1 -o 'runs as.*' /run/messages; cut -d' ' -f1 /proc/uptime").split("\n")[-1] + " s or less",
    )
    wait("the clock", lambda: abs(bench.machine.number("date +%s") - time.time()) < 100)
    expect("MemTotal" in bench.machine.shell("head -n 1 /proc/meminfo"), "no memory")
    expect(bench.machine.number("head -n 1 /proc/meminfo") < 65536, "more than 64 MB")


def idle(bench):
    """What an idle minute costs, at the end of which it is still there."""
    time.sleep(5)
    bench.figure("VmHWM idle", "{} kB{}".format(*bench.memory()))
    pid = bench.pid()
    stat = f"awk '{{print $14 + $15}}' /proc/{pid}/stat"
    switches = f"awk '/voluntary/ {{n += $2}} END {{print n}}' /proc/{pid}/status"
    before, woken, polls = bench.machine.number(stat), bench.machine.number(switches), len(bench.server.requests("poll"))
    time.sleep(60)
    ticks, woken = bench.machine.number(stat) - before, bench.machine.number(switches) - woken
    polls = len(bench.server.requests("poll")) - polls
    bench.figure(
        "CPU time of an idle minute",
        f"{ticks * 10} ms for {polls} polls, {woken} switches (emulated: the CPU is some ten times slower than a terminal's)",
    )


def punch_from_a_shell(bench):
    before = bench.punches()
    bench.machine.shell("punchd punch --pin 1001 --verify 4")
    wait("the punch at the server", lambda: bench.punches() == before + 1)


def card(bench):
    """A card typed on the keyboard becomes a punch of its person at the server."""
    wait("the card reader", lambda: "card-reader" in bench.machine.shell("punchd status"))
    reply = bench.server.ask(f"DATA UPDATE USERINFO PIN=77\tName=Card\tCard={CARD}")
    expect(reply["ret"] == 0, f"the user was refused: {reply}")
    begun = time.time()
    bench.machine.type(CARD)
    wait("the card's punch at the server", lambda: [row for row in bench.server.get("/attlog") if row["pin"] == "77"])
    bench.figure("from the card's first digit to its punch at the server", f"{time.time() - begun:.1f} s")


def door(bench):
    """The door's line goes up by the server's word, and down again."""
    bench.machine.shell("mount -t debugfs none /sys/kernel/debug")
    line = "grep '|punchd' /sys/kernel/debug/gpio"
    expect("out lo" in bench.machine.shell(line), "the door's line is not down")
    reply = bench.server.ask("AC_UNLOCK")
    expect(reply["ret"] == 0, f"AC_UNLOCK: {reply}")
    expect("out hi" in bench.machine.shell(line), "the door's line did not go up")
    wait("the door's line to go down", lambda: "out lo" in bench.machine.shell(line), 20)


def enrolment(bench):
    """A driver, the example in C, enrols a finger; the server has it."""
    bench.machine.shell("mkfifo /run/pins; sleep 600 >/run/pins & example-driver </run/pins >/run/example &")
    wait("the driver", lambda: "driver.c" in bench.machine.shell("punchd status"))
    bench.server.ask("DATA UPDATE USERINFO PIN=78\tName=Finger")
    reply = bench.server.ask("ENROLL_FP PIN=78\tFID=6\tRETRY=1\tOVERWRITE=1")
    expect(reply["ret"] == 0, f"ENROLL_FP: {reply}")
    expect("enrolled a finger of" in bench.machine.shell("cat /run/example"), "another driver was asked")
    wait("the template at the server", lambda: [row for row in bench.server.get("/templates") if '"78"' in json.dumps(row)])
    bench.machine.shell("killall example-driver sleep; true")


def files_and_shell(bench):
    content = bytes(range(256)) * 1000
    bench.server.post("/files/file/qemu.bin", content)
    reply = bench.server.ask("PutFile file/qemu.bin\t/var/lib/punchd/files/there/qemu.bin")
    expect(reply["ret"] == len(content), f"PutFile: {reply}")
    digest = hashlib.md5(content).hexdigest()
    expect(digest in bench.machine.shell("md5sum /var/lib/punchd/files/there/qemu.bin"), "PutFile: other bytes arrived")
    bench.machine.shell("echo got me > /var/lib/punchd/files/small")
    reply = bench.server.ask("GetFile /var/lib/punchd/files/small")
    expect("Content=got me" in reply["body"], f"GetFile: {reply}")
    reply = bench.server.ask("SHELL uname -m; exit 3")
    expect(reply["ret"] == 3 and "armv7l" in reply["body"], f"SHELL: {reply}")


def upgrade(bench):
    """UPGRADE installs another punchd that the owner signed, after its trial, which answers for it. The other one differs by its version only."""
    version = lambda: bench.machine.shell("punchd --version").split()[1]
    old = version()
    new = old[:-1] + chr(ord(old[-1]) + 1)
    program = bench.arguments.punchd.read_bytes().replace(old.encode(), new.encode())
    pid = bench.pid()
    begun = time.time()
    reply, _ = upgrade_under_load(bench, bench.images.owner.sign(program, new))
    expect(reply["ret"] == 0, f"UPGRADE: {reply}; {bench.machine.shell('tail -n 5 /run/messages')}")
    bench.figure("UPGRADE, to its answer", f"{time.time() - begun:.1f} s for {len(program)} bytes, {PROBATION} of them its probation")
    expect(version() == new, "the program is the old one")
    expect(bench.pid() == pid, "it is another process")
    expect(new in bench.server.ask("INFO")["body"], "INFO does not say the new version")
    # What nobody signed, an older one, and a file that is no punchd, change nothing.
    another = Owner(bench.arguments.place, "another")
    bench.server.post("/files/data/emfw.cfg.minisig", b"no signature")
    for file, why in [
        (program, "cannot be read"),
        (another.sign(program, new), "another key"),
        (bench.images.owner.sign(bench.arguments.punchd.read_bytes(), old), "older than"),
        (bench.images.owner.sign(b"#!/bin/sh\nexit 1\n"), "the upgrade program ended"),
    ]:
        reply, _ = upgrade_under_load(bench, file)
        expect(reply["ret"] == -3, f"UPGRADE: {why}: {reply}")
        expect(why in bench.machine.shell("punchd status"), f"status does not say: {why}")
        expect(version() == new, f"installed: {why}")


def upgrade_taken_back(bench):
    """Programs that do not stand their trial: the old one goes on, with each punch that was answered, also where the power fails meanwhile."""
    program = lambda: bench.machine.shell("md5sum /usr/bin/punchd; ls /usr/bin/punchd.new 2>&1")
    before = program()
    later = bench.arguments.later_punchd.read_bytes()
    # It brings the store to a later version, works for a while, and falls over: then it is a program that ends at once.
    falls = (
        f'#!/bin/sh\ncase $1 in --version | check) ;; *) (sleep {PROBATION // 2}; kill -9 $$) & exec /usr/bin/later "$@" ;; esac\necho punchd 99\n'
    )
    bench.server.post("/files/later", later)
    reply = bench.server.ask("PutFile later\t/var/lib/punchd/files/later")
    expect(reply["ret"] == len(later), f"PutFile: {reply}")
    bench.machine.shell("cp /var/lib/punchd/files/later /usr/bin/later; chmod 755 /usr/bin/later")
    kinds = [(kind, no_good(kind, 1), why) for kind, (_, why) in NO_GOOD.items()]
    kinds.append(("brings the store to a later version", falls.encode(), "it was killed by signal 9"))
    for kind, file, why in kinds:
        for cut in [False, True]:
            reply, answered = upgrade_under_load(bench, bench.images.owner.sign(file + b"# cut" * cut), cut)
            expect(reply["ret"] == -3, f"{kind}: {reply}")
            expect(reply["times"] == 1, f"{kind}: answered {reply['times']} times")
            expect(program() == before, f"{kind}: {program()} is left")
            status = bench.machine.shell("punchd status")
            expect(why in status, f"{kind}: status does not say {why!r}: {status}")
            print(f"   {kind}{', power cut' * cut}: {answered} punches answered, 0 lost", flush=True)


def upgrade_under_load(bench, file, cut=False):
    """Has a file installed while a driver records punches; `cut`: the power fails in its trial. The reply, and how many punches were answered."""
    machine, server = bench.machine, bench.server
    server.post("/files/data/emfw.cfg", file)
    first = next(bench.pins)
    machine.shell(f"(driver 400 1 50 {first} >/var/lib/punchd/files/answered-{first}) >/dev/null 2>&1 &")
    url = f"{server.there}/data/emfw.cfg"
    trials = lambda: machine.number("grep -c 'is on trial: start' /run/messages")
    before = trials()
    (command,) = server.queue(f"UPGRADE type=1,checksum={hashlib.md5(file).hexdigest()},size={len(file)},url={url}")
    if cut:
        wait("the trial", lambda: trials() > before)
        machine.shell("sleep 2; sync")
        machine.kill()
        bench.start()
        machine = bench.machine
    wait(f"the answer to {command}", lambda: server.reply(command), 300)
    machine.shell("killall driver")
    answered = set(machine.shell(f"cat /var/lib/punchd/files/answered-{first}").split())
    wait("the punches that were answered", lambda: answered <= {row["pin"] for row in server.get("/attlog")})
    time.sleep(2)
    return server.reply(command), len(answered)


def reboot(bench):
    """REBOOT reboots once, and what was installed and stored is there."""
    version = bench.machine.shell("punchd --version")
    bench.machine.shell("touch /run/before")
    before = len(bench.server.requests("handshake"))
    (command,) = bench.server.queue("REBOOT")
    wait("a handshake after the reboot", lambda: len(bench.server.requests("handshake")) > before and bench.server.reply(command))
    bench.machine.wait_for_shell()
    expect("No such file" in bench.machine.shell("ls /run/before 2>&1"), "it did not reboot")
    wait("polls", lambda: len(bench.server.requests("handshake")) > before)
    time.sleep(10)
    expect(len(bench.server.requests("handshake")) == before + 1, "it rebooted more than once")
    expect(bench.server.reply(command)["times"] == 1, "REBOOT was answered more than once")
    expect(bench.machine.shell("punchd --version") == version, "the upgrade did not last")


def network(bench):
    """Punches while the cable is out come when it is in again."""
    bench.machine.network(False)
    before = bench.punches()
    for pin in range(3):
        bench.machine.shell(f"punchd punch --pin {200 + pin}")
    time.sleep(5)
    expect(bench.punches() == before, "they came through no cable")
    bench.machine.network(True)
    begun = time.time()
    wait("three punches after the cable was in again", lambda: bench.punches() == before + 3)
    bench.figure("from cable in to punches at the server", f"{time.time() - begun:.1f} s")
    # And so it is when the cable was out at boot, with a clock that nobody has set.
    bench.boot(cable=False)
    wait("a punch to be taken", lambda: "recorded as" in bench.machine.shell("punchd punch --pin 210"))
    time.sleep(5)
    bench.machine.network(True)
    (row,) = wait("a punch of before the cable was in", lambda: [row for row in bench.server.get("/attlog") if row["pin"] == "210"])
    expect(row["time"] > "2026", f"it came with the time {row['time']}")


def cable(bench):
    """The cable goes out, for a short and for a long time. When it is in again, the first exchange comes much sooner than `ErrorDelay`."""
    server = bench.serve("cable.log")
    server.post("/handshake", f"ErrorDelay={ERROR_DELAY}")
    bench.boot(server=server)
    for seconds in CABLE_OUT:
        polls = len(server.requests("poll"))
        wait("polls", lambda: len(server.requests("poll")) > polls + 2)
        bench.machine.network(False)
        time.sleep(seconds)
        begun = time.time()
        bench.machine.network(True)
        first = wait(
            "the first exchange", lambda: [request for request in server.get("/requests") if request["at_ms"] > begun * 1000], 2 * ERROR_DELAY
        )[0]
        passed = round(first["at_ms"] / 1000 - begun, 1)
        bench.hold(
            f"from cable in to the first exchange, after {seconds} s", passed, "s", START_SPREAD + 3, 1.25 * ERROR_DELAY, f", {first['exchange']}"
        )


def https_kept(bench):
    """As many polls over HTTPS as an hour has with Delay=30, one a second: all on one connection."""
    server = bench.serve("kept.log", ca=bench.arguments.place / "kept-ca.pem")
    bench.boot(server=server)
    wait("the clock", lambda: abs(bench.machine.number("date +%s") - time.time()) < 100)
    before = len(server.requests("poll"))
    wait("the polls of an hour", lambda: len(server.requests("poll")) >= before + POLLS_AN_HOUR, 3 * POLLS_AN_HOUR)
    requests = server.get("/requests")
    polls = [request["connection"] for request in server.requests("poll")[before:]]
    bench.figure(f"connections for {len(polls)} polls over HTTPS", len(set(polls)), 1)
    bench.figure("connections since boot, HTTPS", len({request["connection"] for request in requests}))
    expect(len(set(polls)) == 1, "the connection was not kept")


def damage(bench):
    """What a terminal can lack: it says so, goes on with what there is, and with all when that is there again."""

    def shell(line, **how):
        return bench.machine.shell(line, **how)

    data = bench.data_disk()
    mount = f"mount -t ext4 -o noatime /dev/{data} /var/lib/punchd"
    # Its data disk.
    shell("/etc/init.d/S60punchd stop; umount /var/lib/punchd; /etc/init.d/S60punchd start")
    wait("words about the disk", lambda: "/var/lib/punchd is not mounted" in shell("tail -n 5 /run/messages"))
    expect("punchd.db" not in shell("ls /var/lib/punchd"), "it began a store beside its disk")
    shell("mount -t tmpfs -o ro none /var/lib/punchd")
    wait("words about the store", lambda: re.search(r"punchd:.*/var/lib/punchd/punchd.db", shell("tail -n 8 /run/messages")))
    shell(f"umount /var/lib/punchd; {mount}")
    wait("punchd to be there again", lambda: "recorded as" in shell("punchd punch --pin 300"))
    # Room on it, while the server is away: what was delivered makes room as long as there is some, then punches are refused.
    bench.machine.network(False)
    shell("dd if=/dev/zero of=/var/lib/punchd/full bs=65536; dd if=/dev/zero of=/var/lib/punchd/fuller bs=512; sync", timeout=300)
    pins = {"taken": [], "refused": []}

    def refused():
        pin = str(310 + len(pins["taken"]))
        words = shell(f"sleep 1; punchd punch --pin {pin} 2>&1")
        pins["taken" if "recorded as" in words else "refused"].append(pin)
        return pins["refused"] and words

    # Free pages inside the store serve punches first.
    shell("driver 2000 100 0 900000 >/dev/null 2>&1", timeout=300)
    words = wait("a punch to be refused", refused)
    expect("of the disk are free" in words, f"the refusal does not say what there is no room on: {words}")
    # Before the file system breaks: punches find room at once, so nothing else waits for the commit.
    shell("rm /var/lib/punchd/full /var/lib/punchd/fuller; sync")
    bench.machine.network(True)
    wait("room to be seen", lambda: "recorded as" in shell("punchd punch --pin 302 2>&1"))
    taken = {*pins["taken"], "302"}
    wait("the punches at the server", lambda: taken <= {row["pin"] for row in bench.server.get("/attlog")})
    expect(pins["refused"][0] not in {row["pin"] for row in bench.server.get("/attlog")}, "a punch that was refused is at the server")
    # A disk that can only be read, from some moment on and then from the start.
    shell(f"mount -o remount,errors=remount-ro /var/lib/punchd; echo 1 >/sys/fs/ext4/{data}/trigger_fs_error")
    words = shell("punchd punch --pin 303 2>&1")
    expect("not read-only?" in words and "FAILING" in shell("punchd status"), f"no words about a disk that is read-only: {words}")
    shell("/etc/init.d/S60punchd stop; /etc/init.d/S60punchd start")
    wait("words about the store", lambda: re.search("cannot open the store|the store failed", shell("tail -n 4 /run/messages")))
    shell(f"/etc/init.d/S60punchd stop; umount /var/lib/punchd; {mount}; /etc/init.d/S60punchd start")
    wait("punchd to be there again", lambda: "recorded as" in shell("punchd punch --pin 304"))
    expect("FAILING" not in shell("punchd status"), "it is said to fail, and does not")
    # A kernel without evdev and GPIO.
    shell("/etc/init.d/S60punchd stop; rmmod evdev; rm -f /dev/gpiochip* /dev/input/*; /etc/init.d/S60punchd start")
    for device in ["/dev/input/event1", "gpiochip0"]:
        wait(f"words about {device}", lambda device=device: device in shell("tail -n 8 /run/messages"))
    wait("punchd without devices", lambda: "recorded as" in shell("punchd punch --pin 305"))
    # A file system on which errors were noted, and which was not unmounted.
    bench.machine.kill()
    bench.images.note_errors()
    bench.start()
    expect("running e2fsck is recommended" in shell("dmesg"), "the file system has no errors")
    wait("a punch to be taken", lambda: "recorded as" in shell("punchd punch --pin 306"))
    taken = {"300", "304", "305", "306"}
    wait("all punches at the server", lambda: taken <= {row["pin"] for row in bench.server.get("/attlog")})
    wait("all else at the server", lambda: re.search(r"nothing pending:.*\boperations\b|operations +0 pending", shell("punchd status")))
    # A row that was written and could not be flushed was there at the start on that disk, and was sent; it was gone when the disk was mounted
    # anew, and its number was given again.
    bench.excused = [deviation for deviation in bench.deviations() if deviation["kind"] == "stamp-order"]


def wear(bench):
    """Bytes at the disk for each punch, checkpoints included."""
    bench.boot()
    for name, count, group, goal in [("singly", SINGLE, 1, 6 * 1024), ("in bursts of ten", IN_BURSTS, 10, 1536)]:
        time.sleep(3)
        if bench.arguments.quick:
            count //= 10
        for server, words in [(False, "while the server is away"), (True, "with the uploads")]:
            bench.machine.network(server)
            time.sleep(3)
            before, there = bench.written(), bench.punches()
            bench.machine.shell(f"driver {count} {group} {200 if server else 20} 100000 >/run/answered", timeout=1800)
            expect(bench.machine.number("wc -l </run/answered") == count, "not all were answered")
            if server:
                wait("all punches at the server", lambda: bench.punches() == there + count)
                time.sleep(2)
            each = (bench.written() - before) / count
            # With the uploads two commits a punch, so two blocks at least (docs/measurements.md); in bursts it depends on how many go together.
            most = {(True, 1): 3 * 4096, (True, 10): 2 * goal}.get((server, group))
            bench.hold(f"to the disk per punch, {name}, {words}", round(each), "bytes", goal, most)
            bench.machine.network(True)
            if not server:
                wait("all punches at the server", lambda: bench.punches() == there + count, 300)


def backlog(bench):
    """Punches wait when it boots; they are delivered in no more memory than few would take."""
    for count in [FEW_PUNCHES, PUNCHES]:
        drain(bench, bench.server, "HTTP", count, 3584)


def https(bench):
    """The same over HTTPS, from a clock that begins in 1970 and a certificate that is of yesterday."""
    server = bench.serve("https.log", ca=bench.arguments.place / "ca.pem")
    bench.figure("boot to first handshake, HTTPS", f"{bench.boot(server=server):.1f} s of the host's")
    wait("the clock", lambda: abs(bench.machine.number("date +%s") - time.time()) < 100)
    bench.figure("VmHWM idle, HTTPS", "{} kB{}".format(*bench.memory()))
    drain(bench, server, "HTTPS", PUNCHES, 4608)


def wrong_clocks(bench):
    """HTTPS mends a clock that somebody sets beyond the end of the certificate, and one that is far ahead when punchd starts."""
    server = bench.serve("clocks.log", ca=bench.arguments.place / "ca.pem")
    bench.boot(server=server)
    shell = bench.machine.shell
    is_right = lambda: abs(bench.machine.number("date +%s") - time.time()) < 100
    wait("the clock, from 1970", is_right)
    later = int(time.time()) + 3 * 365 * 86400
    expect(str(time.gmtime(later).tm_year) in shell(f"date -s @{later}"), "the clock could not be set")
    wait("the clock that somebody changed", is_right)
    # busybox counts seconds in 32 bits: this is the last year that it can set.
    said = shell("/etc/init.d/S60punchd stop; date -s '2037-06-01 00:00:00'; /etc/init.d/S60punchd start")
    expect("2037" in said, f"the clock could not be set: {said}")
    wait("the clock that is far ahead", is_right)
    # A message takes its way through a shell and syslog.
    wait("three words of it in the log", lambda: bench.machine.number("grep -c 'clock set' /run/messages") == 3)


def year_2038(bench):
    """Seconds pass 31 bits while it runs; the clock chip and the server have the same time. And a chip that says 2099 at boot is set."""
    border = 1 << 31
    begins = border - 45
    server = bench.serve("year_2038.log")
    server.post("/clock", str(begins - int(time.time())))
    bench.boot(server=server, clock=time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(begins)))
    shell = bench.machine.shell
    now = lambda: int((re.findall(r"last_contact.: (\d+)", shell("punchd status --json | grep last_contact")) or [0])[0])

    def live(number):
        """A punch from a shell, one of a card, a command and a program. The times of the punches, as the server has them."""
        shell(f"punchd punch --pin {number} --verify 4")
        reply = server.ask(f"DATA UPDATE USERINFO PIN={number + 1}\tName=Card\tCard={CARD}")
        expect(reply["ret"] == 0, f"the user was refused: {reply}")
        bench.machine.type(CARD)
        reply = server.ask(f"SHELL echo {number}")
        expect(reply["ret"] == 0, f"SHELL: {reply}")
        of = lambda pin: [row["time"] for row in server.get("/attlog") if row["pin"] == str(pin)]
        wait("the punches at the server", lambda: of(number) and of(number + 1))
        expect(server.ask(f"DATA DELETE USERINFO PIN={number + 1}")["ret"] == 0, "the user was not deleted")
        return of(number) + of(number + 1)

    wait("an answer", lambda: now() >= begins)
    times = live(2001)
    expect(now() < border, "the border was passed before anything was done")
    wait("the last second of 31 bits", lambda: now() > border)
    times += live(2003)
    shell("/etc/init.d/S60punchd restart")
    wait("the server after a restart", lambda: now() > border)
    times += live(2005)
    seconds = [calendar.timegm(time.strptime(text, "%Y-%m-%d %H:%M:%S")) - 8 * 3600 for text in times]
    bench.figure("times of six punches, from the first second beyond 31 bits", f"{[at - border for at in seconds]}")
    expect(
        begins <= seconds[0] and seconds == sorted(seconds) and seconds[1] < border < seconds[2] and seconds[-1] <= now(),
        f"the times are wrong: {times}",
    )
    bench.boot(clock="2099-06-01T00:00:00")
    wait("the clock of a chip that was far ahead", lambda: abs(bench.machine.number("date +%s") - time.time()) < 100)


def drain(bench, server, how, count, goal):
    store = prefilled(bench.arguments, count)
    before = server.get("/state")["punches"]
    begun = time.time()
    bench.boot(store, server)
    wait(f"{count} punches at the server", lambda: server.get("/state")["punches"] >= before + count, 1800)
    most, words = bench.memory()
    bench.hold(f"VmHWM draining {count} punches over {how}", most, "kB", goal, words=words)
    bench.figure(f"boot and draining {count} punches over {how}", f"{time.time() - begun:.0f} s")


def prefilled(arguments, count):
    """A store with punches that were never sent, made by punchd on this machine."""
    place = arguments.place / "store"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    config = place / "punchd.toml"
    settings = {
        "server": "http://127.0.0.1:9",
        "serial": "QEMU0000001",
        "store": f"{place}/punchd.db",
        "run_dir": str(place),
        "clock": "own",
        "timezone": "+00:00",
    }
    config.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items()) + "[commands]\nput_dirs = []\n")
    with open(place / "log", "wb") as log:
        punchd = subprocess.Popen([arguments.host_punchd, "run", "-c", config], stdout=log, stderr=log)
    wait("punchd on this machine", (place / "driver.sock").exists)
    driver = socket.socket(socket.AF_UNIX)
    driver.connect(str(place / "driver.sock"))
    answers = driver.makefile("rb")
    for begin in range(0, count, 500):
        calls = []
        for nth in range(begin, begin + 500):
            at = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(1_790_000_000 + 7 * nth))
            calls.append(
                json.dumps({"jsonrpc": "2.0", "id": nth, "method": "punch", "params": {"pin": str(count + nth), "time": at, "verify": 1}}) + "\n"
            )
        driver.sendall("".join(calls).encode())
        for _ in calls:
            answer = answers.readline()
            expect(b'"seq"' in answer, f"a punch was refused: {answer}")
    punchd.terminate()
    punchd.wait()
    expect(not (place / "punchd.db-wal").exists(), "punchd left its log behind")
    return place / "punchd.db"


def mass(bench):
    """Users with templates in one list."""
    bench.boot()
    template = "QUJD" * 375
    commands = [f"DATA UPDATE USERINFO PIN={nth}\tName=User {nth}\tCard={nth}" for nth in range(1, USERS + 1)]
    commands += [f"DATA UPDATE FINGERTMP PIN={nth}\tFID=1\tSize={len(template)}\tValid=1\tTMP={template}" for nth in range(1, USERS + 1)]
    answered = bench.server.get("/state")["commands_answered"]
    begun = time.time()
    ids = set(bench.server.queue(*commands))
    wait("all to be answered", lambda: bench.server.get("/state")["commands_answered"] == answered + len(commands), 1800)
    refused = [reply for reply in bench.server.get("/replies") if reply["id"] in ids and reply["ret"] != 0]
    expect(not refused, f"{len(refused)} were refused, first {refused[:1]}")
    bench.figure(f"VmHWM receiving {USERS} users with templates", "{} kB{}".format(*bench.memory()))
    bench.figure(f"{USERS} users with templates", f"{time.time() - begun:.0f} s")


CHECKS = [
    session,
    idle,
    punch_from_a_shell,
    card,
    door,
    enrolment,
    files_and_shell,
    upgrade,
    upgrade_taken_back,
    reboot,
    network,
    damage,
    wear,
    backlog,
    cable,
    https,
    https_kept,
    wrong_clocks,
    year_2038,
    mass,
    fill_ext4,
    fill_ubifs,
]
LONG = [fill_ext4, fill_ubifs]  # not among the quick ones


def test(arguments):
    begun, failed = time.time(), 0
    of_all = CHECKS if arguments.only or not arguments.quick else [check for check in CHECKS if check not in LONG]
    checks = [check for check in of_all if check.__name__.startswith(arguments.only or "")]
    if not checks:
        sys.exit(f"there is no check {arguments.only!r}; there are {', '.join(check.__name__ for check in CHECKS)}")
    (arguments.place / "console.log").unlink(missing_ok=True)
    bench = Bench(arguments)
    try:
        if arguments.only:
            bench.boot()
        for check in checks:
            since = time.time()
            print(f"── {check.__name__}", flush=True)
            try:
                check(bench)
                print(f"   ok, {time.time() - since:.0f} s", flush=True)
            except Failure as failure:
                failed += 1
                print(f"   FAILED: {failure}", flush=True)
            except Exception:
                failed += 1
                traceback.print_exc()
        deviations = bench.deviations()
        if deviations:
            failed += 1
            print(f"   FAILED: the server minds {len(deviations)} things, first {deviations[0]}")
    finally:
        bench.close()
    print("\nFigures, in the emulated terminal:")
    for name, value, goal in bench.figures:
        print(f"   {name:<52} {value}{f'  (goal {goal})' if goal else ''}")
    print(f"qemu: {'FAILED' if failed else 'ok'}, {time.time() - begun:.0f} s; console in {arguments.place}/console.log")
    return 1 if failed else 0


main()
