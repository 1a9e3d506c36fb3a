"""A server that exchanges keys and encrypts, by `exchange`, and a real punchd that talks to it."""

import json
import os
import socket
import subprocess
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa

import exchange

SERIAL = "MADE0001"
OPTIONS = f"GET OPTION FROM: {SERIAL}\nDelay=1\nErrorDelay=1\nRealtime=1\nTransFlag=1111111111\nEncrypt=1\nPushProtVer=2.4.1\n"
TIMEOUT = 60
FILE = bytes(range(256)) * 1200
PIN = "471147114711"


class Server(BaseHTTPRequestHandler):
    """What it is asked, decrypted, is kept in `seen`; answers are in `answer_to`."""

    protocol_version = "HTTP/1.1"
    seen, raw, secrets, numbers, commands = [], [], {}, {}, []
    lock = threading.Lock()
    private_key, terminal_key = None, None

    def do_GET(self):
        self.raw.append(self.path.encode() + str(self.headers).encode())
        if "options=all" in self.path:
            self.seen.append("handshake")
            return self.answer(OPTIONS.encode())
        self.encrypted("GET", exchange.base64.b64decode(self.headers["Sealed"] or ""))

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.raw.append(body)
        if "/iclock/exchange?" in self.path:
            return self.exchange(body.decode())
        self.encrypted("POST", body)

    def exchange(self, body):
        name, value = body.split("=", 1)
        self.seen.append(name)
        if name == "PublicKey":
            exchange.key_bytes(value)
            Server.terminal_key = value
            Server.private_key = rsa.generate_private_key(65537, 2048)
            return self.answer(f"PublicKey={exchange.public_key_text(self.private_key)}\r\n".encode())
        theirs, ours = exchange.unwrap(self.private_key, value), os.urandom(32)
        secret = exchange.derive(self.terminal_key, exchange.public_key_text(self.private_key), theirs, ours)
        self.secrets[exchange.session_of(secret)] = secret
        self.numbers[exchange.session_of(secret)] = exchange.Numbers()
        confirmation = exchange.encode(exchange.seal(secret, b"S", 0, [b"200 2\nOK"]))
        self.answer(f"Confirm={confirmation}\nFactors={exchange.wrap(ours, self.terminal_key)}\n".encode())

    def encrypted(self, method, message):
        with self.lock:
            try:
                session, number = exchange.head_of(message, b"T")
                secret = self.secrets[session]
                line, body = exchange.open_message(secret, b"T", number, message)
                self.numbers[session].take(number)
                exchange.need(line.split(" ")[:2] == [method, self.path], "another request")
            except (exchange.Refused, KeyError) as why:
                self.seen.append(f"refused: {why}")
                return self.answer(str(why).encode(), 409)
            status, chunks, extent = self.answer_to(line, body)
            self.seen.append((line, body))
        known = "-" if len(chunks) > 1 else str(len(chunks[0]))
        chunks[0] = f"{status} {known}{extent}\n".encode() + chunks[0]
        chunks = chunks if len(chunks) > 1 else exchange.chunks_of(chunks[0])
        self.answer(exchange.seal(secret, b"S", number, chunks), status)

    def answer_to(self, line, body):
        """Status, chunks, and what is said of a part of a file."""
        if "/getrequest" in line and self.commands:
            # Each command in a chunk of its own, and one that is divided.
            text = "".join(self.commands).encode()
            self.commands.clear()
            return 200, [text[:7], text[7:20], text[20:]], ""
        if "made-up.bin" in line:
            first, last = (int(number) for number in line.split(" ")[2].split("-"))
            part = FILE[first : last + 1]
            return 206, [part], f" {first}-{first + len(part) - 1}/{len(FILE)}"
        return 200, [f"OK:{body.count(10)}".encode() if "table=ATTLOG" in line else b"OK"], ""

    def answer(self, body, status=200):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def call(path, method, **params):
    with socket.socket(socket.AF_UNIX) as driver:
        driver.connect(path)
        driver.sendall(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode() + b"\n")
        answer = json.loads(driver.makefile().readline())
    if "error" in answer:
        raise SystemExit(f"{method}: {answer['error']}")
    return answer["result"]


def wait_until(what, done, place):
    until = time.monotonic() + TIMEOUT
    while not done():
        if time.monotonic() > until:
            raise SystemExit(f"encryption: never {what}; {Server.seen[-5:]}; the terminal's log:\n{(place / 'log').read_text()}")
        time.sleep(0.05)


def check(punchd):
    """Lets punchd exchange keys, upload a punch, carry out commands and fetch a file."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        config = place / "punchd.toml"
        config.write_text(
            f'server = "http://127.0.0.1:{server.server_port}"\nserial = "{SERIAL}"\nclock = "own"\nstore = "{place}/punchd.db"\n'
            f'run_dir = "{place}/run"\n[limits]\nstart_spread = 0\n[encryption]\nexchange = "required"\n[commands]\nput_dirs = ["{place}/files"]\n'
        )
        (place / "files").mkdir()
        with open(place / "log", "w") as log:
            process = subprocess.Popen([punchd, "-c", config, "run"], stderr=log)
        try:
            session(str(place / "run/driver.sock"), place)
        finally:
            process.terminate()
            process.wait()
    server.shutdown()


def session(driver, place):
    asked = lambda part: [body for seen in Server.seen if isinstance(seen, tuple) for line, body in [seen] if part in line]
    wait_until("started", lambda: Path(driver).exists(), place)
    call(driver, "punch", pin=PIN, time="2026-11-02 08:00:00")
    wait_until("uploaded", lambda: asked("table=ATTLOG"), place)
    with Server.lock:
        Server.commands += ["C:1:DATA UPDATE USERINFO PIN=7\tName=Zoë\n", f"C:2:PutFile made-up.bin\t{place}/files/put\n"]
    wait_until("answered", lambda: sum(body.count(b"Return=") for body in asked("/devicecmd")) >= 2, place)
    if Server.seen[:3] != ["handshake", "PublicKey", "Factors"]:
        raise SystemExit(f"encryption: the session begins with {Server.seen[:3]}")
    refused = [seen for seen in Server.seen if isinstance(seen, str) and seen.startswith("refused")]
    if refused:
        raise SystemExit(f"encryption: {refused}")
    if (place / "files/put").read_bytes() != FILE:
        raise SystemExit("encryption: the file is not what was sent")
    if call(driver, "user.get", pin="7")["name"] != "Zoë" or not asked("table=ATTLOG")[0].startswith(PIN.encode()):
        raise SystemExit("encryption: something was lost")
    if any(PIN.encode() in raw or b"DATA UPDATE" in raw for raw in Server.raw):
        raise SystemExit("encryption: something went in plain")
    parts = len(asked("made-up.bin"))
    print(f"encryption: punchd exchanged keys, and uploaded, took commands and a file of {len(FILE)} bytes in {parts} parts")
