"""Lets somebody else's parser read what punchd sends: `iclockhelper` from PyPI, which knows nothing of this project.

    python3 tests/independent/check.py target/debug/punchd    (with requirements.txt installed)

A real punchd gets punches, operations, users, fingerprints and photos by its driver socket and uploads them to a server in
this process, which says OK. What iclockhelper makes of those very requests is compared with what was put in.

It reads the handshake, INFO (its first five values), ATTLOG (six of the seven fields), OPLOG with the codes 0 to 32, USER, FP
and ATTPHOTO. Two of its ways are minded here: it takes what stands after the last line end for one more punch, a blank one; and
it decodes bodies as ASCII or GB18030 alone, so the terminal speaks Chinese, and photos go in base64. It can't read FACE, FVEIN,
BIODATA, IDCARD, ERRORLOG, pictures of users, replies to commands and packed bodies.
"""

import base64
import itertools
import json
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.request import Request

from iclockhelper import CdataRequest, GetRequest, TableEnum

SERIAL = "MADE0001"
OPTIONS = f"GET OPTION FROM: {SERIAL}\nDelay=1\nErrorDelay=1\nRealtime=1\nTransFlag=1111111111\nPushProtVer=2.4.1\nATTPHOTOBase64=1\n"
TIMEOUT = 60  # seconds for everything to arrive


class Server(BaseHTTPRequestHandler):
    """Takes everything, and keeps it in `seen` as iclockhelper wants to have it."""

    protocol_version = "HTTP/1.1"
    seen = []

    def do_GET(self):
        self.seen.append(Request(self.url(), method="GET"))
        self.answer(OPTIONS if "options=all" in self.path else "OK")

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        # Kept before it is answered: the next request may be in another thread.
        self.seen.append(Request(self.url(), body, method="POST"))
        self.answer("OK" if "table=ATTPHOTO" in self.path else f"OK:{body.count(10)}")

    def url(self):
        return f"http://{self.headers['Host']}{self.path}"

    def answer(self, text):
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        pass


class Driver:
    """A driver of the terminal."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.lines = self.socket.makefile("r", encoding="utf-8")
        self.ids = itertools.count(1)

    def call(self, method, **params):
        call = {"jsonrpc": "2.0", "id": next(self.ids), "method": method, "params": params}
        self.socket.sendall(json.dumps(call).encode() + b"\n")
        answer = json.loads(self.lines.readline())
        if "error" in answer:
            raise SystemExit(f"{method} {params}: {answer['error']}")
        return answer["result"]


def made_up():
    """The calls to the driver socket, by method; the same in every run."""
    dice = random.Random(20261102)
    start = datetime(2026, 11, 2)

    def moments(count):
        return [str(start + timedelta(seconds=second)) for second in sorted(dice.sample(range(86_400), count))]

    def pin(nth):
        return f"{dice.choice(['', 'A', 'x'])}{1000 + nth}"

    def data():
        return base64.b64encode(dice.randbytes(dice.randrange(1, 700))).decode()

    names = ["Ada", "O'Neil = x", "王小明", "", "Li Na"]
    return {
        "punch": [
            dict(pin=pin(nth), time=at, status=dice.randrange(6), verify=dice.choice([0, 1, 4, 15]), workcode=str(dice.randrange(100)))
            for nth, at in enumerate(moments(500))
        ],
        "operation": [
            dict(op=code, operator=str(dice.randrange(3)), time=at, who=str(dice.randrange(70)), v1=nth, v2=7, v3=dice.randrange(1000))
            for nth, (at, code) in enumerate(zip(moments(66), [*range(33)] * 2))
        ],
        "user.put": [
            dict(
                pin=pin(nth),
                name=dice.choice(names),
                pri=dice.choice([0, 14]),
                passwd=str(dice.randrange(9999)),
                card=str(dice.randrange(1, 10**9)),
                grp=dice.randrange(1, 9),
                tz="0001000100000000",
                verify=-1,
                vicecard="",
            )
            for nth in range(60)
        ],
        "template.put": [dict(pin=pin(nth), kind="fingerprint", number=nth % 10, data=data()) for nth in range(40)],
        "photo": [
            dict(pin=str(1000 + nth), time=at, data=base64.b64encode(b"\xff\xd8\xff" + dice.randbytes(300) + b"\xff\xd9").decode())
            for nth, at in enumerate(moments(5))
        ],
    }


def read_back():
    """What iclockhelper reads in the requests, in the words of the calls."""
    found = {"punch": [], "operation": [], "user.put": [], "template.put": [], "photo": []}
    uploads = [request for request in Server.seen if request.get_method() == "POST" and "/iclock/cdata" in request.full_url]
    for read in map(CdataRequest.from_req, uploads):
        assert read.sn == SERIAL and read.stamp.isdigit(), read
        if read.table == TableEnum.attlog:
            *rows, blank = read.attendance_log.transactions
            assert blank.raw == "", blank
            found["punch"] += [
                dict(pin=row.pin, time=str(row.server_datetime), status=int(row.check_type), verify=int(row.verify_code), workcode=row.work_code)
                for row in rows
            ]
        elif read.table == TableEnum.operlog:
            log = read.operation_log
            found["operation"] += [
                dict(
                    op=int(row.operation.value),
                    operator=row.admin,
                    time=str(row.server_datetime),
                    who=row.object,
                    v1=int(row.param_1),
                    v2=int(row.param_2),
                    v3=int(row.param_3),
                )
                for row in log.operations
            ]
            found["user.put"] += [
                dict(
                    pin=row.pin,
                    name=row.name,
                    pri=int(row.privileges),
                    passwd=row.password,
                    card=row.card,
                    grp=int(row.group),
                    tz=row.tz,
                    verify=int(row.verify),
                    vicecard=row.vice_card,
                )
                for row in log.users
            ]
            found["template.put"] += [dict(pin=row.pin, kind="fingerprint", number=int(row.fid), data=row.tmp) for row in log.fingerprints]
        elif read.table == TableEnum.attphoto:
            photo = read.attendance_photo_log
            assert photo.is_uploadphoto, photo
            found["photo"].append(dict(pin=photo.pin, time=str(photo.server_datetime), data=photo.data.lstrip("\0")))
    # The terminal's own start is an operation too, the only one without our second value.
    found["operation"] = [row for row in found["operation"] if row["v2"] == 7]
    return found


def run(punchd, place, port):
    """Starts punchd, calls the driver socket, and waits until the server has everything."""
    calls = made_up()
    config = place / "punchd.toml"
    config.write_text(
        f'server = "http://127.0.0.1:{port}"\nserial = "{SERIAL}"\nlanguage = 83\nclock = "own"\nstore = "{place}/punchd.db"\n'
        f'run_dir = "{place}/run"\n[limits]\nstart_spread = 0\n[device]\nfirmware = "made, up"\n'
    )
    with open(place / "log", "w") as log:
        process = subprocess.Popen([punchd, "-c", config, "run"], stderr=log)
    try:
        wait_until(lambda: (place / "run/driver.sock").exists() or process.poll() is not None, place)
        driver = Driver(str(place / "run/driver.sock"))
        for method, many in calls.items():
            for params in many:
                driver.call(method, **params)
        told = ["made  up", len(calls["user.put"]), len(calls["template.put"]), len(calls["punch"])]
        wait_until(lambda: told in map(info, Server.seen), place)
        wait_until(lambda: all(stream["pending"] == 0 for stream in driver.call("status")["streams"].values()), place)
    finally:
        process.terminate()
        process.wait()
    return calls


def info(request):
    """The values of INFO that iclockhelper reads; the address differs from machine to machine."""
    if "INFO=" not in request.full_url:
        return None
    read = GetRequest.from_req(request).info
    return [read.fw_version, read.user_count, read.fp_count, read.transaction_count]


def wait_until(done, place):
    until = time.monotonic() + TIMEOUT
    while not done():
        if time.monotonic() > until:
            raise SystemExit(f"this takes too long; the terminal's log:\n{(place / 'log').read_text()}")
        time.sleep(0.05)


def main():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as place:
        calls = run(sys.argv[1], Path(place), server.server_port)
    handshake = CdataRequest.from_req(Server.seen[0])
    assert (handshake.method, handshake.sn, handshake.push_version) == ("GET", SERIAL, "2.4.1"), handshake
    read = read_back()
    for method, many in calls.items():
        for sent, got in itertools.zip_longest(many, read[method]):
            if sent != got:
                raise SystemExit(f"{method}\n  sent {sent}\n  read {got}")
    print("iclockhelper reads what was sent:", ", ".join(f"{len(many)} {method}" for method, many in calls.items()))


main()
