#!/usr/bin/env python3
"""A driver for punchd: a simulated fingerprint sensor that eight people walk past.

A driver is any program that connects to punchd's `driver.sock` and uses JSON-RPC 2.0, one object per line.
This one does everything that a sensor does: it loads users, enrols new ones, matches fingers, records punches,
enrols a person when the server asks for it, and opens the door. The answer {"seq": n} to a punch means that the
punch is on the terminal's disk. punchd will upload it, and the driver need not keep it. When punchd ends or the
terminal loses power, the driver connects again, and sends what was not answered once more.

    examples/sensor.py --socket /run/punchd/driver.sock --count 20 --interval 0.5
"""

import argparse
import base64
import hashlib
import itertools
import json
import select
import socket
import sys
import time

PEOPLE = ["1001", "1002", "1003", "1004", "1005", "1006", "1007", "1008"]
STATUS = {0: "in", 1: "out"}
FINGERPRINT = 1  # verification by fingerprint (App. 7)
INDEX_FINGER = 6
LONGEST_ABSENCE = 60  # seconds for which punchd may be away


def press(pin, number=INDEX_FINGER):
    """The template of a person's finger: made up, but always the same."""
    return base64.b64encode(hashlib.sha256(f"{pin} {number}".encode()).digest()).decode()


class Refused(Exception):
    """punchd answered with an error: nothing was recorded."""


class Terminal:
    """The connection to punchd. Requests of punchd may come between a call and its answer."""

    def __init__(self, path, **registration):
        self.path, self.registration = path, registration
        self.ids = itertools.count(1)
        self.connect()

    def connect(self):
        """Connects and registers; waits while punchd is not there."""
        self.unread = b""  # bytes of an unfinished line
        self.told = []  # notifications and requests of punchd
        deadline = time.monotonic() + LONGEST_ABSENCE
        while True:
            self.socket = socket.socket(socket.AF_UNIX)
            try:
                self.socket.connect(self.path)
                self.call_once("register", **self.registration)
                return
            except (ConnectionError, FileNotFoundError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def call(self, method, **params):
        """Sends one request and returns its result. What was not answered goes again: it may not be on the disk."""
        try:
            return self.call_once(method, **params)
        except ConnectionError:
            self.connect()
            return self.call_once(method, **params)

    def call_once(self, method, **params):
        id = next(self.ids)
        self.send({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
        while True:
            message = self.receive()
            if "method" in message:
                self.told.append(message)
            elif message.get("id") == id:
                if "error" in message:
                    raise Refused(message["error"]["message"])
                return message["result"]

    def listen(self, seconds):
        """Collects notifications and requests of punchd for some time."""
        deadline = time.monotonic() + seconds
        while True:
            while self.told:
                yield self.told.pop(0)
            left = deadline - time.monotonic()
            if b"\n" in self.unread or select.select([self.socket], [], [], max(left, 0))[0]:
                self.told.append(self.receive())
            elif left <= 0:
                return

    def receive(self):
        while b"\n" not in self.unread:
            piece = self.socket.recv(65536)
            if not piece:
                raise ConnectionError("punchd closed the connection")
            self.unread += piece
        line, self.unread = self.unread.split(b"\n", 1)
        return json.loads(line)

    def send(self, message):
        self.socket.sendall(json.dumps(message).encode() + b"\n")


class Sensor:
    """The sensor. Its memory holds the templates of all users."""

    def __init__(self, terminal):
        self.terminal = terminal
        self.upto = 0
        self.fingers = {}  # (pin, number) -> template

    def load(self):
        """Loads the changes since the last call; everything at the first call."""
        more = True
        while more:
            page = self.terminal.call("changes", after=self.upto)
            if page["anew"]:
                self.fingers.clear()
            for gone in page["gone"]:
                if gone.get("kind") == "fingerprint":
                    self.fingers.pop((gone["pin"], gone["number"]), None)
                elif gone.keys() == {"pin"}:
                    self.fingers = {key: finger for key, finger in self.fingers.items() if key[0] != gone["pin"]}
            for template in page["templates"]:
                if template["kind"] == "fingerprint":
                    self.fingers[template["pin"], template["number"]] = template["data"]
            self.upto, more = page["upto"], page["more"]

    def match(self, finger):
        """The PIN of the finger, if the sensor recognises it."""
        return next((pin for (pin, _), known in self.fingers.items() if known == finger), None)

    def enrol_new(self, people):
        """Enrols the people who are not on the terminal yet."""
        for pin in people:
            if self.match(press(pin)) is None:
                self.terminal.call("user.put", pin=pin)
                self.terminal.call("template.put", pin=pin, kind="fingerprint", number=INDEX_FINGER, data=press(pin))

    def attend(self, seconds):
        """Answers requests of punchd for some time."""
        try:
            self.answer(seconds)
        except ConnectionError:
            self.terminal.connect()
            self.load()

    def answer(self, seconds):
        for message in self.terminal.listen(seconds):
            if message["method"] == "changed":
                self.load()
            elif message["method"] == "enroll":
                result = self.enrol(message["params"])
                self.terminal.send({"jsonrpc": "2.0", "id": message["id"], "result": result})
            elif message["method"] == "unlock":
                print("the door is open", flush=True)
                self.terminal.send({"jsonrpc": "2.0", "id": message["id"], "result": True})
            elif "id" in message:
                error = {"code": -32601, "message": "this sensor can't do that"}
                self.terminal.send({"jsonrpc": "2.0", "id": message["id"], "error": error})

    def enrol(self, asked):
        """Enrols a finger. A real sensor needs three presses, and answers after them."""
        number = asked.get("number", INDEX_FINGER)
        finger = press(asked["pin"], number)
        if self.match(finger) not in (None, asked["pin"]):
            return {"outcome": "duplicate"}
        print(f"enrolled  pin {asked['pin']}  finger {number}", flush=True)
        return {"outcome": "done", "templates": [{"kind": "fingerprint", "number": number, "data": finger}]}


def main():
    options = argparse.ArgumentParser(description="a simulated fingerprint sensor for punchd")
    options.add_argument("--socket", default="/run/punchd/driver.sock", help="punchd's socket for drivers")
    options.add_argument("--count", type=int, help="punches to make (without it: no end)")
    options.add_argument("--interval", type=float, default=1.0, help="seconds between two punches")
    options.add_argument("--stay", action="store_true", help="go on after the last punch, for who is to be enrolled")
    options = options.parse_args()

    terminal = Terminal(options.socket, name="sensor.py", provides=["fingerprint", "unlock"])
    sensor = Sensor(terminal)
    sensor.load()
    sensor.enrol_new(PEOPLE)
    sensor.load()
    for n in itertools.count() if options.count is None else range(options.count):
        # All check in, then all check out.
        person, status = PEOPLE[n % len(PEOPLE)], n // len(PEOPLE) % len(STATUS)
        pin = sensor.match(press(person))
        if pin is not None:
            # No "time": punchd uses the terminal's clock.
            answer = terminal.call("punch", pin=pin, verify=FINGERPRINT, status=status)
            print(f"seq {answer['seq']:<4}  pin {pin}  {STATUS[status]:<3}  fingerprint", flush=True)
        sensor.attend(options.interval)
    while options.stay:
        sensor.attend(60)


if __name__ == "__main__":
    try:
        main()
    except (OSError, Refused) as error:
        sys.exit(f"sensor: {error}")
    except KeyboardInterrupt:
        pass
