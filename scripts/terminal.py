"""An emulated ARM terminal and the server that it talks to: what `scripts/qemu` and `scripts/powercut` are made of.

The terminal is QEMU's `virt` machine with 64 MB, Debian's kernel and busybox, and the overlay. It has two disks: its root, and the data
disk with punchd's store. The server is `iclock-emulator` on this machine.
"""

import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

from disk import SECTOR, Disk

REPO = Path(__file__).resolve().parent.parent
WITH_SBIN = os.environ | {"PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"}
TIMEOUT = 120  # seconds for anything to happen: emulated machines are slow
QUIETLY = "PS1=; stty -echo; export PS1"  # what a shell is told first: it prints neither its prompt nor what it reads
MODULES = ["virtio_mmio", "virtio_blk", "virtio_net", "virtio_input", "virtio_rng", "evdev", "crc32c_generic", "ext4"]
PROBATION, CONNECT = 6, 20  # seconds of a trial, where terminals in use have ten minutes and half an hour
NANDSIM = "nandsim id_bytes=0x20,0xa2,0x00,0x15"  # 64 MB in blocks of 128 KB


class Failure(Exception):
    """What did not happen, or happened otherwise."""


def wait(what, condition, timeout=TIMEOUT):
    """The first true value of `condition`, or a Failure that says `what` was waited for."""
    until = time.monotonic() + timeout
    while time.monotonic() < until:
        if value := condition():
            return value
        time.sleep(0.05)
    raise Failure(f"waited {timeout} s for {what}")


def expect(condition, words):
    if not condition:
        raise Failure(words)


def end_in_order():
    """Whoever ends this program ends with it what it started."""
    for number in signal.SIGTERM, signal.SIGHUP:
        signal.signal(number, lambda number, _: sys.exit(128 + number))


class Server:
    """iclock-emulator; what it prints goes to a file. With `ca` it speaks HTTPS, and that is the certificate to trust."""

    def __init__(self, program, log, *options, ca=None):
        self.log, self.ca = log, ca
        options += ("--tls-private-ca", ca) if ca else ()
        ports = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]
        with open(log, "wb") as out:
            self.process = subprocess.Popen([program, *ports, *options], stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
        self.url = wait("the server to start", lambda: re.search(r"terminals connect to (\S+)", log.read_text()))[1]
        self.admin = wait("the server to start", lambda: re.search(r"admin interface is at (\S+)", log.read_text()))[1]
        self.port = int(self.url.rsplit(":", 1)[1])
        # As the terminal sees it. The certificate is for localhost; on the terminal that is a name of this machine.
        self.there = f"https://localhost:{self.port}" if ca else f"http://10.0.2.2:{self.port}"

    def get(self, path):
        with urllib.request.urlopen(self.admin + path, timeout=TIMEOUT) as answer:
            return json.load(answer)

    def post(self, path, body):
        body = body.encode() if isinstance(body, str) else body
        with urllib.request.urlopen(self.admin + path, body, timeout=TIMEOUT) as answer:
            return json.load(answer)

    def delete(self, path):
        urllib.request.urlopen(urllib.request.Request(self.admin + path, method="DELETE"), timeout=TIMEOUT).close()

    def queue(self, *commands):
        return self.post("/commands", "".join(command + "\n" for command in commands))["ids"]

    def reply(self, command):
        return next((reply for reply in self.get("/replies") if reply["id"] == command), None)

    def ask(self, command, timeout=TIMEOUT):
        """Queues a command and waits for its reply."""
        (wanted,) = self.queue(command)
        return wait(f"a reply to {command!r}", lambda: self.reply(wanted), timeout)

    def requests(self, exchange):
        return [request for request in self.get("/requests") if request["exchange"] == exchange]

    def stop(self):
        self.process.terminate()
        self.process.wait()


def archive(out, members):
    """A cpio archive (newc) of (name, mode, content), as the kernel takes it for its first root."""
    for number, (name, mode, content) in enumerate([*members, ("TRAILER!!!", 0, b"")], 1):
        name = name.encode() + b"\0"
        fields = [number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name), 0]
        head = b"070701" + b"".join(b"%08X" % field for field in fields) + name
        out.write(head + bytes(-len(head) % 4) + content + bytes(-len(content) % 4))


def in_order(names, files):
    """The modules with those that they need, each after what it needs."""
    done = []

    def add(name):
        if name in done or name not in files:
            return
        needs = re.search(rb"\0depends=([^\0]*)\0", files[name].read_bytes())
        for need in needs[1].decode().split(",") if needs else []:
            add(need.replace("-", "_"))
        done.append(name)

    for name in names:
        add(name)
    return done


class Owner:
    """Who signs upgrades, with a key in the directory `place`."""

    target = "armv7-unknown-linux-musleabihf"

    def __init__(self, place, name="upgrade"):
        self.key, self.file = place / f"{name}.key", place / "to-sign"
        for file in [self.key, self.key.with_suffix(".pub")]:
            file.unlink(missing_ok=True)
        self.minisign("-G", "-s", self.key, "-p", self.key.with_suffix(".pub"))
        self.public_key = self.key.with_suffix(".pub").read_text().splitlines()[1]

    @staticmethod
    def minisign(*arguments):
        subprocess.run(["minisign", *arguments, "-W"], check=True, stdout=subprocess.DEVNULL)

    def sign(self, program, version="99.0.0"):
        """The bytes with their signature at their end."""
        self.file.write_bytes(program)
        signature = self.file.with_suffix(".minisig")
        comment = f"version:{version} target:{self.target}"
        self.minisign("-S", "-s", self.key, "-m", self.file, "-x", signature, "-t", comment)
        return program + signature.read_bytes()


# New programs that do not stand their trial: what their shell line does, for how long at most, and what `status` says.
# They tell their version and accept the configuration, as the hook and the old program ask.
NO_GOOD = {
    "cannot start": ("exit 3", "it ended with status 3"),
    "falls over": (f'(sleep {PROBATION // 2}; kill -9 $$) & exec {{real}} "$@"', "it was killed by signal 9"),
    "cannot connect": (
        "sed 's/^server = .*/server = \"http:\\/\\/127.0.0.1:9\"/' /etc/punchd.toml >/run/elsewhere; exec {real} -c /run/elsewhere run",
        "no exchange",
    ),
}


def no_good(kind, number, real="/usr/bin/punchd"):
    """Such a program; each number another one."""
    line = NO_GOOD[kind][0].format(real=real)
    return f"#!/bin/sh\ncase $1 in --version) echo punchd 99 ;; check) ;; *) {line} ;; esac\n# {number}\n".encode()


class Images:
    """Kernel, first root and disks of a terminal, made in the directory `place`."""

    memory = 64  # MB
    modules = MODULES  # each may have parameters behind its name
    first_root = "initrd"  # file name
    data_size = 256  # MB of the data disk

    def __init__(self, debian, punchd, driver, place):
        self.debian, self.punchd, self.driver, self.place = debian, punchd, driver, place
        self.kernel = next((debian / "boot").glob("vmlinuz-*"))
        self.initrd, self.root, self.data = place / self.first_root, place / "root.img", place / "data.img"
        self.owner = Owner(place)
        self.make_initrd()

    def make_initrd(self):
        files = {file.stem.replace("-", "_"): file for file in (self.debian / "lib/modules").rglob("*.ko")}
        parameters = dict(module.partition(" ")[::2] for module in self.modules)
        modules = in_order(parameters, files)
        folders = ["bin", "dev", "proc", "sys", "root", "modules"]
        members = [(folder, stat.S_IFDIR | 0o755, b"") for folder in folders]
        members += [("init", stat.S_IFREG | 0o755, (REPO / "tests/qemu/init").read_bytes())]
        members += [("bin/busybox", stat.S_IFREG | 0o755, (self.debian / "bin/busybox").read_bytes())]
        members += [("modules/order", stat.S_IFREG | 0o644, "".join(f"{name}.ko {parameters.get(name, '')}\n" for name in modules).encode())]
        members += [(f"modules/{name}.ko", stat.S_IFREG | 0o644, files[name].read_bytes()) for name in modules]
        with open(self.initrd, "wb") as out:
            archive(out, members)

    def make_root(self, server, serial="QEMU0000001", drivers=(), programs=()):
        """The root as Buildroot would make it of the overlay, configured for a server on this machine. `programs` are put beside punchd."""
        tree = self.place / "root"
        shutil.rmtree(tree, ignore_errors=True)
        for folder in ["bin", "sbin", "usr/bin", "usr/sbin", "proc", "sys", "dev", "run", "tmp", "root", "mnt", "etc"]:
            (tree / folder).mkdir(parents=True, exist_ok=True)
        for overlay in ["rootfs-overlay", "tests/qemu/rootfs"]:
            shutil.copytree(REPO / overlay, tree, dirs_exist_ok=True)
        shutil.copy(self.debian / "bin/busybox", tree / "bin/busybox")
        shutil.copy(self.punchd, tree / "usr/bin/punchd")
        for program in [self.driver, *programs]:
            shutil.copy(program, tree / "usr/bin" / program.name)
        for name in ["bin/sh", "sbin/init"]:
            (tree / name).symlink_to("/bin/busybox")
        (tree / "var/log").mkdir(parents=True, exist_ok=True)
        self.configure(tree, server, serial)
        (tree / "etc/punchd.drivers").write_text("".join(line + "\n" for line in drivers))
        with open(tree / "etc/default/punchd", "a") as settings:
            settings.write("DISK=/var/lib/punchd\n")
        self.disk(self.root, 32, tree)

    def configure(self, tree, server, serial):
        file = tree / "etc/punchd.toml"
        text = file.read_text()
        text = re.sub(r"(?m)^server = .*$", f'server = "{server.there}"', text)
        text = re.sub(r"(?m)^serial = .*$", f'serial = "{serial}"', text)
        more = 'shell = "allow"\nget_file = "allow"\nget_dirs = ["/var/lib/punchd/files"]\n'
        text = text.replace("[commands]\n", "[commands]\n" + more)
        trial = f"probation_seconds = {PROBATION}\nconnect_seconds = {CONNECT}\n"
        text = text.replace("[upgrade]\n", f'[upgrade]\npublic_key = "{self.owner.public_key}"\n{trial}')
        text += "\n[limits]\nstart_spread = 0\n\n[timeouts]\nretry = 2\n"
        if server.ca:
            shutil.copy(server.ca, tree / "etc/server.pem")
            (tree / "etc/hosts").write_text("10.0.2.2 localhost\n")
            text += '\n[tls]\nca = "/etc/server.pem"\n'
        file.write_text(text)

    def make_data(self, store=None):
        """The data disk, empty or with this store on it."""
        tree = self.place / "data"
        shutil.rmtree(tree, ignore_errors=True)
        tree.mkdir()
        if store:
            shutil.copy(store, tree / "punchd.db")
        self.disk(self.data, self.data_size, tree)

    @staticmethod
    def disk(image, megabytes, tree):
        image.unlink(missing_ok=True)
        command = [
            "mke2fs",
            "-q",
            "-F",
            "-t",
            "ext4",
            "-b",
            "4096",
            "-m",
            "0",
            "-J",
            "size=4",
            "-E",
            "root_owner=0:0",
            "-d",
            tree,
            image,
            f"{megabytes}M",
        ]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=WITH_SBIN)

    def note_errors(self):
        """Has the file system of the data disk say that there were errors, and that it was not unmounted."""
        command = ["debugfs", "-w", "-R", "ssv state 2", self.data]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL, env=WITH_SBIN)


class FlashImages(Images):
    """The store lies on UBIFS, on a raw NAND flash in place of the data disk: the kernel's nandsim, in the terminal's memory."""

    memory = 192
    modules = [*Images.modules, "deflate", "zstd", NANDSIM, "ubi mtd=0", "ubifs"]
    first_root = "initrd-flash"

    def configure(self, tree, server, serial):
        super().configure(tree, server, serial)
        shutil.copy(REPO / "tests/qemu/S50flash", tree / "etc/init.d")
        shutil.copy(self.driver.with_name("flash"), tree / "usr/bin")


class Machine:
    """A terminal that runs. Its power is cut by `kill`."""

    def __init__(self, qemu, images, console=None, cable=True, forgetful=None, clock="1970-01-01T00:00:00"):
        """With `cable` out there is no network at boot. `clock` is what the clock chip says then. `forgetful` is a source of chance: its disks
        forget, when the power is cut, what was not flushed (disk.py)."""
        self.place = images.place
        self.disks = {}
        self.begun = time.time()
        self.qmp_path, self.console_path = (self.place / name for name in ["qmp", "console"])
        for path in [self.qmp_path, self.console_path]:
            path.unlink(missing_ok=True)
        command = [qemu, "-M", "virt,highmem=off", "-cpu", "cortex-a7", "-m", str(images.memory), "-nodefaults", "-display", "none"]
        command += ["-kernel", images.kernel, "-initrd", images.initrd, "-rtc", f"base={clock}"]
        command += ["-global", "virtio-mmio.force-legacy=false"]  # the keyboard is of virtio 1
        command += ["-append", "console=ttyAMA0 quiet loglevel=3 panic=1"]
        for name, image in [("root", images.root), ("data", images.data)]:
            sectors = ""
            if forgetful:
                self.disks[name] = Disk(image, self.place / f"{name}.nbd", forgetful)
                image, sectors = self.disks[name].url, f",logical_block_size={SECTOR},physical_block_size={SECTOR}"
            command += ["-drive", f"if=none,id={name},format=raw,file={image}", "-device", f"virtio-blk-device,drive={name},serial={name}{sectors}"]
        command += ["-netdev", "user,id=net", "-device", "virtio-net-device,netdev=net,id=nic"]
        command += ["-device", "virtio-keyboard-device", "-device", "virtio-rng-device"]
        command += ["-qmp", f"unix:{self.qmp_path},server=on,wait=off"]
        if console == "here":
            self.process = subprocess.Popen([*map(str, command), "-serial", "mon:stdio"])
            return
        command += ["-chardev", f"socket,id=console,path={self.console_path},server=on,wait=off,logfile={self.place}/console.log,logappend=on"]
        command += ["-serial", "chardev:console"]
        with open(self.place / "qemu.log", "ab") as log:
            self.process = subprocess.Popen([*map(str, command)], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        self.qmp = Lines(self.qmp_path, self.process)
        self.qmp.line()  # the greeting
        self.monitor("qmp_capabilities")
        if not cable:
            self.network(False)
        self.console = Lines(self.console_path, self.process)
        self.marks = 0
        self.words = ""  # what a shell is told at its start, so that it knows what commands refer to

    def monitor(self, command, **arguments):
        """Tells QEMU to do something."""
        self.qmp.send(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        while True:
            answer = json.loads(self.qmp.line())
            if "error" in answer:
                raise Failure(f"QEMU refuses {command}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]

    def type(self, text):
        """Types on the terminal's keyboard, which stands for a card reader."""
        for key in [*text, "ret"]:
            self.monitor("send-key", keys=[{"type": "qcode", "data": key}], **{"hold-time": 20})
            time.sleep(0.06)

    def network(self, up):
        self.monitor("set_link", name="nic", up=up)

    def shell(self, line, timeout=TIMEOUT):
        """What a command prints on the terminal's console. The words around it tell it from the echo of the command."""
        self.marks += 1
        command = f"\necho; echo BEGIN''{self.marks}; {line}\necho; echo END''{self.marks} $?\n"
        self.console.send(command)
        got, until, inside = [], time.monotonic() + timeout, False
        while True:
            text = self.console.line(until - time.monotonic()).strip("\r\n")
            if not inside and text.startswith("BusyBox v"):
                # The shell ended before it read the command (it lost its terminal when a job was killed); init started another.
                self.console.send(f"{QUIETLY}; {self.words}{command}")
            if text.startswith(f"END{self.marks} "):
                return "\n".join(row for row in got if row and not re.search(r"# (echo; echo|$)", row))
            if inside:
                got.append(text)
            inside = inside or text == f"BEGIN{self.marks}"

    def wait_for_shell(self):
        """Until the shell of this boot answers. What the console prints before is passed over."""
        self.console.after(b"BusyBox v")
        self.shell(QUIETLY)

    def number(self, line):
        text = self.shell(line)
        found = re.findall(r"-?\d+", text)
        expect(found, f"{line!r} printed no number: {text!r}")
        return int(found[-1])

    def kill(self, in_a_write=False):
        """Power cut; in the middle of something that is written, if so wanted and if anything is."""
        if in_a_write:
            for disk in self.disks.values():
                disk.at_write = self.process.kill
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                pass
        self.process.kill()
        self.process.wait()
        for disk in self.disks.values():
            disk.cut()

    def stop(self):
        if self.process.poll() is None:
            self.kill()


class Lines:
    """Lines of a Unix socket that QEMU opens. They are taken in at all times: a console that nobody reads stops all of QEMU."""

    def __init__(self, path, process):
        def connect():
            expect(process.poll() is None, f"QEMU ended with {process.poll()}; see {path.parent}/qemu.log")
            try:
                self.socket = socket.socket(socket.AF_UNIX)
                self.socket.connect(str(path))
            except OSError:
                return False
            return True

        wait("QEMU to start", connect)
        self.bytes, self.ended, self.more = b"", False, threading.Condition()
        threading.Thread(target=self.take_in, daemon=True).start()

    def take_in(self):
        more = b"-"
        while more:
            try:
                more = self.socket.recv(65536)
            except OSError:
                more = b""
            with self.more:
                self.bytes += more
                self.ended = not more
                self.more.notify()

    def send(self, text):
        self.socket.sendall(text.encode())

    def line(self, timeout=TIMEOUT):
        """The next line."""
        return self.after(b"\n", timeout)

    def after(self, text, timeout=TIMEOUT):
        """What comes before a text; it and the text are taken away."""
        with self.more:
            self.more.wait_for(lambda: text in self.bytes or self.ended, timeout)
            if text not in self.bytes:
                raise Failure(f"the terminal said no {text!r} within {timeout:.0f} s; its last words: {self.bytes[-300:]!r}")
            found, self.bytes = self.bytes.split(text, 1)
        return found.decode(errors="replace")
