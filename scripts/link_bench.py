"""What the figures of `scripts/bench link` are measured with: servers, terminals, certificates, a network namespace of their own."""

import contextlib
import os
import shutil
import subprocess
import sys
import time

from link_server import LinkServer
from local_terminal import Failure, LocalTerminal

ERROR_DELAY = 60  # seconds
NOT_IN_A_NAMESPACE = "not measured: the kernel gives no network namespace (unshare -n)"


class Bench:
    """What all figures are measured with."""

    def __init__(self, arguments, place, at_the_end):
        self.punchd, self.rounds, self.namespace = arguments.punchd, arguments.rounds, arguments.namespace
        self.place, self.at_the_end, self.terminals = place, at_the_end, 0
        self.ca, self.tls = certificates(place) if shutil.which("openssl") else (None, None)

    def schemes(self):
        """(name, what a LinkServer takes as `tls`)."""
        return [("HTTP", None)] + ([("HTTPS", self.tls)] if self.tls else [])

    def server(self, **how):
        server = LinkServer(**how)
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
        at = (time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(1_790_000_000 + 7 * nth)) for nth in range(count))
        terminal.call("punch", [{"pin": str(1 + nth % 500), "time": time_of_it, "verify": 1} for nth, time_of_it in enumerate(at)])
        terminal.stop()
        return terminal.place / "punchd.db"


def certificates(place):
    """A certificate authority, and a certificate of it for 127.0.0.1, as (certificate, key)."""
    ca, key, signed = place / "ca.pem", place / "key.pem", place / "certificate.pem"
    (place / "openssl.conf").write_text("subjectAltName = IP:127.0.0.1\nbasicConstraints = CA:FALSE\nextendedKeyUsage = serverAuth\n")
    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    for command in [
        ["req", "-x509", *new_key, "-keyout", place / "ca.key", "-out", ca, "-subj", "/CN=bench authority", "-days", "2"],
        ["req", *new_key, "-keyout", key, "-out", place / "request.pem", "-subj", "/CN=bench server"],
        ["x509", "-req", "-in", place / "request.pem", "-CA", ca, "-CAkey", place / "ca.key", "-CAcreateserial", "-out", signed, "-days", "2"]
        + ["-extfile", place / "openssl.conf"],
    ]:
        subprocess.run(["openssl", *map(str, command)], check=True, capture_output=True)
    return ca, (signed, key)


def waited(found, what, terminal=None):
    """What was waited for; a Failure where it did not come."""
    if not found:
        raise Failure(f"waited for {what}, in vain" + (f"; punchd's last lines:\n{terminal.last_lines()}" if terminal else ""))
    return found


def progress(what, figures):
    """Tells the newest value of each figure, with its floor."""
    shown = ", ".join("/".join(f"{value:.3g}" for value in [figure.values[-1], *figure.floors[-1:]]) for figure in figures if figure.values)
    print(f"   {what}: {shown}", file=sys.stderr, flush=True)


def ip(*words, where=()):
    subprocess.run([*where, "ip", *words], check=True)


def enter_namespace():
    """Starts this program again in a network namespace of its own, as root or as an owner of one. Returns where there is none."""
    for unshare in ["unshare", "-n"], ["unshare", "-rn"]:
        with contextlib.suppress(OSError):
            if shutil.which("ip") and subprocess.run([*unshare, "true"], capture_output=True).returncode == 0:
                os.execvp(unshare[0], [*unshare, sys.executable, *sys.argv, "--namespace"])
