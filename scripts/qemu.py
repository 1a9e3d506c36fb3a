"""What `scripts/qemu` does once everything is built: boots the terminal for a person, or checks it and prints its figures."""

import argparse
import hashlib
import json
import re
import shutil
import socket
import subprocess
import sys
import time
import traceback
from pathlib import Path

from terminal import Failure, Images, Machine, Server, expect, wait

PUNCHES = 100_000
USERS, USERS_QUICKLY = 20_000, 1_000
SINGLE, IN_BURSTS = 1_200, 6_000  # punches whose bytes are counted: more than one checkpoint
CARD = "4711"
READER = "punchd card-reader /dev/input/event0"


def main():
    parser = argparse.ArgumentParser()
    for name in ["qemu", "debian", "punchd", "driver", "emulator", "host-punchd", "place"]:
        parser.add_argument(f"--{name}", required=True, type=Path)
    parser.add_argument("--only", help="one of the checks, by the beginning of its name")
    parser.add_argument("--quick", action="store_true", help="fewer users and punches")
    parser.add_argument("what", choices=["run", "test"])
    arguments = parser.parse_args()
    arguments.place.mkdir(parents=True, exist_ok=True)
    run(arguments) if arguments.what == "run" else sys.exit(test(arguments))


def drivers(arguments):
    """The card reader, if this punchd has one."""
    help_text = subprocess.run([arguments.host_punchd, "--help"], capture_output=True, text=True, check=True).stdout
    return [READER] if "card-reader" in help_text else []


def run(arguments):
    server = Server(arguments.emulator, arguments.place / "server.log", "--option", "Delay=2")
    try:
        images = Images(arguments.debian, arguments.punchd, arguments.driver, arguments.place)
        images.make_root(server.port, drivers=drivers(arguments))
        if not images.data.exists():
            images.make_data()
        print(f"""
The server has its log in {server.log} (tail -f it beside this) and answers at {server.admin}:
    curl {server.admin}/attlog;  curl -d 'DATA UPDATE USERINFO PIN=7\tName=Ann' {server.admin}/commands
On the terminal: punchd status; punchd punch --pin 7; tail -f /run/messages. Its store is kept in {images.data}.
Ctrl-A X ends it.
""", flush=True)
        Machine(arguments.qemu, images, console="here").process.wait()
    finally:
        server.stop()


class Bench:
    """A server, a terminal that talks to it, and the figures that come of it."""

    def __init__(self, arguments):
        self.arguments, self.figures = arguments, []
        self.server = Server(arguments.emulator, arguments.place / "server.log", "--option", "Delay=1")
        self.images = Images(arguments.debian, arguments.punchd, arguments.driver, arguments.place)
        self.machine, self.terminals = None, 0

    def boot(self, store=None):
        """A terminal that was never here before, with this store or an empty one. Returns the seconds to its first handshake."""
        if self.machine:
            self.machine.stop()
        self.terminals += 1
        self.images.make_root(self.server.port, f"QEMU{self.terminals:07}", drivers(self.arguments))
        self.images.make_data(store)
        before = len(self.server.requests("handshake"))
        self.machine = Machine(self.arguments.qemu, self.images)
        self.machine.wait_for_shell()
        shake = wait("the first handshake", lambda: self.server.requests("handshake")[before:])[0]
        return shake["at_ms"] / 1000 - self.machine.begun

    def figure(self, name, value, goal=""):
        self.figures.append((name, value, goal))
        print(f"   {name}: {value}{f'  (goal {goal})' if goal else ''}", flush=True)

    def pid(self):
        return self.machine.number("for p in $(pidof punchd); do grep -qs '^.*run' /proc/$p/cmdline && ls -l /proc/$p/exe | grep -q bin/punchd && echo $p; done | head -n 1")

    def memory(self):
        """VmHWM, and what of the memory is the program's own and what pages of its file."""
        text = self.machine.shell(f"grep -E 'VmHWM|RssAnon|RssFile' /proc/{self.pid()}/status")
        most, own, file = re.findall(r"(\d+) kB", text)
        return f"{most} kB; now {own} kB its own, {file} kB pages of the program"

    def written(self):
        """Bytes that were written to the data disk, when all is written."""
        return 512 * self.machine.number("sync; for d in /sys/block/vd*; do [ $(cat $d/serial) != data ] || awk '{print $7}' $d/stat; done")

    def punches(self):
        return self.server.get("/state")["punches"]

    def close(self):
        if self.machine:
            self.machine.stop()
        self.server.stop()


def session(bench):
    """It boots, and the server sets its clock."""
    bench.figure("boot to first handshake", f"{bench.boot():.1f} s of the host's")
    bench.figure("uptime at the first handshake", bench.machine.shell("grep -m 1 -o 'runs as.*' /run/messages; cut -d' ' -f1 /proc/uptime").split("\n")[-1] + " s or less")
    wait("the clock", lambda: abs(bench.machine.number("date +%s") - time.time()) < 100)
    expect("MemTotal" in bench.machine.shell("head -n 1 /proc/meminfo"), "no memory")
    expect(bench.machine.number("head -n 1 /proc/meminfo") < 65536, "more than 64 MB")


def idle(bench):
    """What an idle minute costs, at the end of which it is still there."""
    time.sleep(5)
    bench.figure("VmHWM idle", bench.memory())
    pid = bench.pid()
    stat = f"awk '{{print $14 + $15}}' /proc/{pid}/stat"
    switches = f"awk '/voluntary/ {{n += $2}} END {{print n}}' /proc/{pid}/status"
    before, woken, polls = bench.machine.number(stat), bench.machine.number(switches), len(bench.server.requests("poll"))
    time.sleep(60)
    ticks, woken = bench.machine.number(stat) - before, bench.machine.number(switches) - woken
    polls = len(bench.server.requests("poll")) - polls
    bench.figure("CPU time of an idle minute", f"{ticks * 10} ms for {polls} polls, {woken} switches (emulated: the CPU is some ten times slower than a terminal's)")


def punch_from_a_shell(bench):
    before = bench.punches()
    bench.machine.shell("punchd punch --pin 1001 --verify 4")
    wait("the punch at the server", lambda: bench.punches() == before + 1)


def card(bench):
    """A card typed on the keyboard becomes a punch of its person at the server."""
    if not drivers(bench.arguments):
        print("   skipped: this punchd has no card-reader")
        return
    reply = bench.server.ask(f"DATA UPDATE USERINFO PIN=77\tName=Card\tCard={CARD}")
    expect(reply["ret"] == 0, f"the user was refused: {reply}")
    bench.machine.type(CARD)
    wait("the card's punch at the server", lambda: [row for row in bench.server.get("/attlog") if row["pin"] == "77"])


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
    """UPGRADE installs another punchd, which answers for it. The other one differs by its version only."""
    old = bench.machine.shell("punchd --version").split()[-1]
    new = old[:-1] + chr(ord(old[-1]) + 1)
    program = bench.arguments.punchd.read_bytes().replace(old.encode(), new.encode())
    bench.server.post("/files/fw/emfw.cfg", program)
    bench.server.post("/files/data/emfw.cfg", program)
    pid = bench.pid()
    command = f"UPGRADE type=1,checksum={hashlib.md5(program).hexdigest()},size={len(program)},url={bench.server.url.replace('127.0.0.1', '10.0.2.2')}/data/emfw.cfg"
    begun = time.time()
    reply = bench.server.ask(command)
    expect(reply["ret"] == 0, f"UPGRADE: {reply}; {bench.machine.shell('tail -n 5 /run/messages')}")
    bench.figure("UPGRADE, to its answer", f"{time.time() - begun:.1f} s for {len(program)} bytes")
    expect(bench.machine.shell("punchd --version").split()[-1] == new, "the program is the old one")
    expect(bench.pid() == pid, "it is another process")
    expect(new in bench.server.ask("INFO")["body"], "INFO does not say the new version")
    # A file that is no punchd changes nothing.
    bad = b"#!/bin/sh\nexit 1\n"
    bench.server.post("/files/data/emfw.cfg", bad)
    reply = bench.server.ask(re.sub(r"checksum=\w+,size=\d+", f"checksum={hashlib.md5(bad).hexdigest()},size={len(bad)}", command))
    expect(reply["ret"] == -3, f"UPGRADE of nonsense: {reply}")
    expect(bench.machine.shell("punchd --version").split()[-1] == new, "nonsense was installed")


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


def damage(bench):
    """Without its data disk it says so, goes on trying, and goes on when it is there."""
    shell = bench.machine.shell
    shell("/etc/init.d/S60punchd stop; umount /var/lib/punchd")
    shell("mount -t tmpfs -o ro none /var/lib/punchd; /etc/init.d/S60punchd start")
    wait("words about the disk", lambda: re.search(r"punchd:.*/var/lib/punchd", shell("tail -n 3 /run/messages")))
    shell("umount /var/lib/punchd; for d in /sys/block/vd*; do [ $(cat $d/serial) != data ] || mount -t ext4 -o noatime /dev/${d##*/} /var/lib/punchd; done")
    wait("punchd to be there again", lambda: "recorded" in shell("punchd punch --pin 300"))


def wear(bench):
    """Bytes at the disk for each punch, uploads and checkpoints included."""
    for name, count, group, goal in [("singly", SINGLE, 1, 6 * 1024), ("in bursts of ten", IN_BURSTS, 10, 1536)]:
        time.sleep(3)
        if bench.arguments.quick:
            count //= 10
        for server, words in [(False, "while the server is away"), (True, "with the uploads")]:
            bench.machine.network(server)
            time.sleep(3)
            before, there = bench.written(), bench.punches()
            bench.machine.shell(f"driver {count} {group} {200 if server else 20} 100000 >/run/answered", patience=1800)
            expect(bench.machine.number("wc -l </run/answered") == count, "not all were answered")
            if server:
                wait("all punches at the server", lambda: bench.punches() == there + count)
                time.sleep(2)
            each = (bench.written() - before) / count
            bench.figure(f"bytes to the disk per punch, {name}, {words}", f"{each:.0f}", f"{goal}")
            bench.machine.network(True)
            if not server:
                wait("all punches at the server", lambda: bench.punches() == there + count, 300)


def backlog(bench):
    """A hundred thousand punches wait when it boots."""
    for count in [1_000, PUNCHES]:
        store = prefilled(bench.arguments, count)
        before = bench.punches()
        begun = time.time()
        bench.boot(store)
        wait(f"{count} punches at the server", lambda: bench.punches() >= before + count, 1800)
        bench.figure(f"VmHWM draining {count} punches", bench.memory(), "3584 kB")
        bench.figure(f"boot and draining {count} punches", f"{time.time() - begun:.0f} s")


def prefilled(arguments, count):
    """A store with punches that were never sent, made by punchd on this machine."""
    place = arguments.place / "store"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    config = place / "punchd.toml"
    settings = {"server": "http://127.0.0.1:9", "serial": "QEMU0000001", "store": f"{place}/punchd.db", "run_dir": str(place), "clock": "own", "timezone": "+00:00"}
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
            calls.append(json.dumps({"jsonrpc": "2.0", "id": nth, "method": "punch", "params": {"pin": str(count + nth), "time": at, "verify": 1}}) + "\n")
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
    users = USERS_QUICKLY if bench.arguments.quick else USERS
    template = "QUJD" * 375
    commands = [f"DATA UPDATE USERINFO PIN={nth}\tName=User {nth}\tCard={nth}" for nth in range(1, users + 1)]
    commands += [f"DATA UPDATE FINGERTMP PIN={nth}\tFID=1\tSize={len(template)}\tValid=1\tTMP={template}" for nth in range(1, users + 1)]
    answered = bench.server.get("/state")["commands_answered"]
    begun = time.time()
    bench.server.queue(*commands)
    wait("all to be answered", lambda: bench.server.get("/state")["commands_answered"] == answered + len(commands), 1800)
    bench.figure(f"VmHWM receiving {users} users with templates", bench.memory())
    bench.figure(f"{users} users with templates", f"{time.time() - begun:.0f} s")


CHECKS = [session, idle, punch_from_a_shell, card, files_and_shell, upgrade, reboot, network, damage, wear, backlog, mass]


def test(arguments):
    begun, failed = time.time(), 0
    (arguments.place / "console.log").unlink(missing_ok=True)
    bench = Bench(arguments)
    try:
        if arguments.only:
            bench.boot()
        for check in CHECKS:
            if arguments.only and not check.__name__.startswith(arguments.only):
                continue
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
        deviations = bench.server.get("/deviations")
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
