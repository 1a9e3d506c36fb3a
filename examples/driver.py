#!/usr/bin/env python3
"""A driver for punchd: records a punch for each PIN on stdin, and answers requests of the server.

examples/driver.py /run/punchd/driver.sock
"""

import json
import os
import select
import socket
import sys

punchd = socket.socket(socket.AF_UNIX)
punchd.connect(sys.argv[1] if len(sys.argv) > 1 else "/run/punchd/driver.sock")


def say(**message):
    punchd.sendall(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")


def seen(pin):
    """The sensor recognised a person (verify 4: by card)."""
    say(id=2, method="punch", params={"pin": pin.decode(), "verify": 4})


def heard(line):
    """A request of punchd, or an answer. `result`: what we sent is on the terminal's disk."""
    message = json.loads(line)
    if message.get("method") == "unlock":
        print("the door is open", flush=True)
        say(id=message["id"], result=True)
    elif message.get("method") == "enroll":
        print("enrolled a card of", message["params"]["pin"], flush=True)
        say(id=message["id"], result={"outcome": "done", "card": "1234567"})
    elif "method" not in message:
        print("done:" if "result" in message else "refused:", line.decode(), flush=True)


say(id=1, method="register", params={"name": "driver.py", "provides": ["card", "unlock"]})
halves = {0: b"", punchd.fileno(): b""}
while punchd.fileno() in halves:
    for source in select.select(list(halves), [], [])[0]:
        data = os.read(source, 65536)
        *lines, halves[source] = (halves[source] + data).split(b"\n")
        for line in lines:
            (seen if source == 0 else heard)(line)
        if not data:
            del halves[source]
