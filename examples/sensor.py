#!/usr/bin/env python3
"""A driver for punchd: a simulated sensor that eight people walk past.

A driver is any program that connects to punchd's `driver.sock` and speaks JSON-RPC 2.0, one object a
line. This one registers and then reports punches. The answer {"seq": n} says that the punch is on the
terminal's disk: the server will have it, whatever happens, and the driver may forget it.

    examples/sensor.py --socket /run/punchd/driver.sock --count 20 --interval 0.5
"""

import argparse
import itertools
import json
import random
import socket
import sys
import time

PEOPLE = ["1001", "1002", "1003", "1004", "1005", "1006", "1007", "1008"]
VERIFIED_BY = {1: "fingerprint", 4: "card", 15: "face"}  # the protocol's numbers
STATUS = {0: "in", 1: "out"}


class Refused(Exception):
    """punchd answered with an error: nothing was recorded."""


class Terminal:
    """The connection to punchd: calls go up, and what punchd asks of us comes in between."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.lines = self.socket.makefile("r", encoding="utf-8")
        self.ids = itertools.count(1)

    def call(self, method, **params):
        """Sends one request and returns its result."""
        id = next(self.ids)
        self.send({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
        for line in self.lines:
            message = json.loads(line)
            if "method" in message:
                self.asked(message)
            elif message.get("id") == id:
                if "error" in message:
                    raise Refused(message["error"]["message"])
                return message["result"]
        raise ConnectionError("punchd closed the connection")

    def asked(self, message):
        """punchd asks for something, to open a door for instance: this sensor has nothing but eyes."""
        if "id" in message:
            error = {"code": -32601, "message": "this sensor can't do that"}
            self.send({"jsonrpc": "2.0", "id": message["id"], "error": error})

    def send(self, message):
        self.socket.sendall(json.dumps(message).encode() + b"\n")


def main():
    options = argparse.ArgumentParser(description="a simulated sensor for punchd")
    options.add_argument("--socket", default="/run/punchd/driver.sock", help="punchd's socket for drivers")
    options.add_argument("--count", type=int, help="punches to make (without it: no end)")
    options.add_argument("--interval", type=float, default=1.0, help="seconds between two punches")
    options = options.parse_args()

    terminal = Terminal(options.socket)
    terminal.call("register", name="sensor.py")
    for n in itertools.count() if options.count is None else range(options.count):
        pin, status = PEOPLE[n % len(PEOPLE)], n // len(PEOPLE) % len(STATUS)  # all come in, then all go out
        verify = random.choice(list(VERIFIED_BY))
        # No "time": the terminal's clock is the one that counts.
        answer = terminal.call("punch", pin=pin, verify=verify, status=status)
        print(f"seq {answer['seq']:<4}  pin {pin}  {STATUS[status]:<3}  {VERIFIED_BY[verify]}", flush=True)
        time.sleep(options.interval)


if __name__ == "__main__":
    try:
        main()
    except (OSError, Refused) as error:
        sys.exit(f"sensor: {error}")
    except KeyboardInterrupt:
        pass
