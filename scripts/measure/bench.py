"""What the figures of `scripts/bench` are measured with: servers, terminals, certificates, a network namespace of their own."""

import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from local_terminal import Failure, LocalTerminal
from server import Server

ERROR_DELAY = 60  # seconds
NOT_IN_A_NAMESPACE = "not measured: the kernel gives no network namespace (unshare -n)"
BLOCK = 4096  # bytes, of the file system


class Bench:
    """What one round of a measure is measured with. At its end everything is stopped and deleted that the round made."""

    def __init__(self, arguments, punchd):
        self.punchd, self.rounds, self.namespace = punchd, arguments.rounds, arguments.namespace
        self.kept, self.terminals, self.at_the_end = arguments.place.resolve(), 0, contextlib.ExitStack()

    def __enter__(self):
        self.kept.mkdir(parents=True, exist_ok=True)
        self.place = Path(self.at_the_end.enter_context(tempfile.TemporaryDirectory(prefix="run-", dir=self.kept)))
        self.ca, self.tls = certificates(self.place) if shutil.which("openssl") else (None, None)
        return self

    def __exit__(self, *how):
        self.at_the_end.close()

    def as_on_ethernet(self):
        """For this round, packets are as they are on Ethernet, each with its headers."""
        if self.namespace:
            ip("link", "set", "lo", "mtu", "1500", "gso_max_segs", "1")
            self.at_the_end.callback(ip, "link", "set", "lo", "mtu", "65536", "gso_max_segs", "65535")

    def schemes(self):
        """(name, what a Server takes as `tls`)."""
        return [("HTTP", None)] + ([("HTTPS", self.tls)] if self.tls else [])

    def server(self, **how):
        server = Server(**how)
        self.at_the_end.callback(server.close)
        return server

    def terminal(self, url, **how):
        """One that was never here before."""
        self.terminals += 1
        place = self.place / f"terminal{self.terminals}"
        place.mkdir()
        terminal = LocalTerminal(self.punchd, place, url, f"BENCH{self.terminals:05}", ca=self.ca if url.startswith("https") else None, **how)
        self.at_the_end.callback(terminal.stop)
        return terminal

    def store_with_punches(self, count):
        """A store with punches that no server has."""
        terminal = self.terminal("http://127.0.0.1:9")
        terminal.call("punch", [punch(nth) for nth in range(count)])
        terminal.stop()
        return terminal.place / "punchd.db"

    def fdatasync(self, count):
        """Seconds of so many writes of one block to a file that is large enough already, each made durable."""
        path = self.place / "floor"
        with open(path, "wb") as file:
            file.write(bytes(BLOCK * 64))
            file.flush()
            os.fsync(file.fileno())
            block, begun = bytes(range(256)) * (BLOCK // 256), time.perf_counter()
            for nth in range(count):
                os.pwrite(file.fileno(), block, BLOCK * (nth % 64))
                os.fdatasync(file.fileno())
            return time.perf_counter() - begun


def punch(nth):
    """What a driver tells of the `nth` of many punches."""
    return {"pin": str(1 + nth % 500), "time": time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(1_790_000_000 + 7 * nth)), "verify": 1}


def certificates(place):
    """A certificate authority, and a certificate of it for 127.0.0.1, as (certificate, key)."""
    ca, key, signed = place / "ca.pem", place / "key.pem", place / "certificate.pem"
    (place / "openssl.conf").write_text("subjectAltName = IP:127.0.0.1\nbasicConstraints = CA:FALSE\nextendedKeyUsage = serverAuth\n")
    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    for command in [
        ["req", "-x509", *new_key, "-keyout", place / "ca.key", "-out", ca, "-subj", "/CN=bench authority", "-days", "2"],
        ["req", *new_key, "-keyout", key, "-out", place / "request.pem", "-subj", "/CN=bench server"],
        [
            "x509",
            "-req",
            "-in",
            place / "request.pem",
            "-CA",
            ca,
            "-CAkey",
            place / "ca.key",
            "-CAcreateserial",
            "-out",
            signed,
            "-days",
            "2",
            "-extfile",
            place / "openssl.conf",
        ],
    ]:
        subprocess.run(["openssl", *map(str, command)], check=True, capture_output=True)
    return ca, (signed, key)


def waited(found, what, terminal=None):
    """What was waited for; a Failure where it did not come."""
    if not found:
        raise Failure(f"waited for {what}, in vain" + (f"; punchd's last lines:\n{terminal.last_lines()}" if terminal else ""))
    return found


def p50(values):
    return statistics.median(values)


def ip(*words, where=()):
    subprocess.run([*where, "ip", *words], check=True)


def enter_namespace():
    """Starts this program again in a network namespace of its own, as root or as an owner of one. Returns where there is none."""
    for unshare in ["unshare", "-n"], ["unshare", "-rn"]:
        with contextlib.suppress(OSError):
            if shutil.which("ip") and subprocess.run([*unshare, "true"], capture_output=True).returncode == 0:
                os.execvp(unshare[0], [*unshare, sys.executable, *sys.argv, "--namespace"])
