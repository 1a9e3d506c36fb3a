"""punchd on this machine, for `scripts/bench`: started with a configuration of its own, and stopped."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time

TIMEOUT = 60  # seconds for anything to happen


class Failure(Exception):
    """Why a figure cannot be measured."""


class LocalTerminal:
    """`punchd run` in the directory `place`, with an empty store or a copy of `store`. `before` stands before its command line (valgrind, say).
    `start_spread`: None for the default."""

    def __init__(self, punchd, place, server, serial, ca=None, store=None, start_spread=0, before=(), limits=None, commands=None):
        self.punchd, self.place, self.serial, self.before = punchd, place, serial, before
        self.socket_path, self.files = place / "driver.sock", place / "files"
        self.files.mkdir(parents=True)
        if store:
            shutil.copy(store, place / "punchd.db")
        # The machine's clock stays as it is: this program may run as root.
        settings = {"server": server, "serial": serial, "store": f"{place}/punchd.db", "run_dir": str(place), "clock": "own", "timezone": "+00:00"}
        tables = {
            "limits": ({} if start_spread is None else {"start_spread": start_spread}) | (limits or {}),
            "commands": {"put_dirs": [str(self.files)]} | (commands or {}),
            "tls": {"ca": str(ca)} if ca else {},
        }
        self.config = place / "punchd.toml"
        self.config.write_text(lines(settings) + "".join(f"[{name}]\n{lines(table)}" for name, table in tables.items() if table))
        self.log = place / "log"
        self.start()

    def start(self):
        """Again after a stop, too."""
        self.socket_path.unlink(missing_ok=True)
        environment = os.environ | {"no_proxy": "*"}
        with open(self.log, "ab") as log:
            command = [*map(str, self.before), str(self.punchd), "run", "-c", str(self.config)]
            self.started = time.monotonic()
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True)

    def wait_until_ready(self):
        """Until drivers can connect."""
        until = time.monotonic() + TIMEOUT
        while not self.socket_path.exists():
            if self.process.poll() is not None or time.monotonic() > until:
                raise Failure(f"punchd did not start:\n{self.last_lines()}")
            time.sleep(0.01)

    def last_lines(self):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-5:])

    def call(self, method, calls, together=500):
        """What the driver socket answers to many calls of one method, each given by its parameters; so many are sent together."""
        self.wait_until_ready()
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as driver:
            driver.connect(str(self.socket_path))
            answers = driver.makefile("rb")
            results = []
            for begin in range(0, len(calls), together):
                some = calls[begin : begin + together]
                requests = ({"jsonrpc": "2.0", "id": nth, "method": method, "params": params} for nth, params in enumerate(some))
                driver.sendall("".join(json.dumps(request) + "\n" for request in requests).encode())
                results += [json.loads(answers.readline()) for _ in some]
        wrong = [answer for answer in results if "result" not in answer]
        if wrong:
            raise Failure(f"{method} was refused: {wrong[0]}")
        return results

    def stop(self):
        """In order, so that the store is whole."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(TIMEOUT)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def lines(settings):
    """As TOML; what is given are texts, numbers and lists of texts."""
    return "".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items())


class Driver:
    """A driver that stays connected, and waits for each answer."""

    def __init__(self, terminal):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(terminal.socket_path))
        self.answers = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *how):
        self.socket.close()

    def call(self, method, params):
        """Seconds until the answer."""
        return self.ask(method, params)[0]

    def ask(self, method, params):
        """(seconds until the answer, its result)."""
        line = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode() + b"\n"
        begun = time.perf_counter()
        self.socket.sendall(line)
        answer = self.answers.readline()
        taken = time.perf_counter() - begun
        told = json.loads(answer or "{}")
        if "result" not in told:
            raise Failure(f"{method} was refused: {answer[:500]!r}")
        return taken, told["result"]
