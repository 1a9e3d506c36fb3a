#!/usr/bin/env python3
"""Tries scripts/check-server: it names the fault of each persona of the emulator, and none where there is none.

tests/check_server/personas.py ICLOCK_EMULATOR
"""

import http.server
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent.parent
# The checks that go wrong at each.
EXPECTED = {
    "document": [],
    "none-stamps": ["stamp-names"],
    "ok-only": ["handshake"],
    "crlf": ["line-ends", "command-ends"],
    "commands-in-handshake": ["commands-in-handshake"],
    "count-new-only": ["punches-again"],
    "read-once": ["keep-alive", "slow-body"],
    "lf-cr-lf": ["command-ends"],
    "zero-stamps": ["stamps"],
    "keep-stamps": [],
    "stamps-9999": ["stamps"],
    "unix-stamps": ["stamps"],
    "html-on-unknown": ["unknown-path"],
    "userpic-alone": ["kept"],
}
# Faults in what is answered, put in at the admin interface, and what is named then.
FAULTS = {
    '{"on":"upload:ATTLOG","act":"answer","status":201,"body":"OK:2","times":1}': "status",
    '{"on":"upload:ATTLOG","act":"answer","status":200,"body":"OK: 0","times":1}': "count",
    '{"on":"upload:ATTLOG","act":"answer","status":200,"body":"","times":1}': "punches",
    '{"on":"reply","act":"answer","status":404,"body":"","times":1}': "reply",
    '{"on":"poll","act":"no-length","times":1}': "length",
    '{"on":"poll","act":"answer","status":200,"body":"C:1:DATA UPDATE USERINFO PIN=1 Name=x\\n","times":9}': "record-tabs",
}
OPTIONS = {"TimeZone=UTC+5": "TimeZone", "TransFlag=AttLog,OpLog": "TransFlag", "Delay=soon": "Delay", "Realtime=": None}


def wrong(emulator, *options, fault=None):
    """The names of the checks that go wrong at an emulator."""
    with tempfile.TemporaryFile("w+") as log:
        command = [emulator, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", *options]
        server = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            while not (found := re.findall(r"(?:connect to|interface is at) (http\S+)", Path(f"/proc/self/fd/{log.fileno()}").read_text()))[1:]:
                assert server.poll() is None, "the emulator ended"
                time.sleep(0.02)
            url, admin = found
            for path, body in [("/commands", "INFO\n"), *([("/faults", fault)] if fault else [])]:
                urllib.request.urlopen(admin + path, body.encode()).read()
            has = f"{PROJECT}/tests/check_server/has {admin}"
            check = [PROJECT / "scripts/check-server", "--commands", "--has", has, url]
            done = subprocess.run(check, capture_output=True, text=True)
        finally:
            server.kill()
            server.wait()
    names = re.findall(r"^WRONG ([\w-]+):", done.stdout, re.M)
    assert done.returncode == bool(names), done
    return names, done.stdout + done.stderr


class Raw(http.server.BaseHTTPRequestHandler):
    """A server of a few lines, with one fault."""

    protocol_version = "HTTP/1.1"
    fault = None

    def says(self):
        if "options=all" in self.path:
            number = "\u00b2" if self.fault == "digits" else "10"
            serial = "CHECK00019" if self.fault == "serial" else "CHECK0001"
            options = f"ErrorDelay={number}\nDelay=10\nTransTimes=00:00\nTransInterval=1\nTransFlag=1111000000\nTimeZone=8\nRealtime=1\n"
            return f"GET OPTION FROM: {serial}\n{options}"
        return "C:1\n" if self.fault == "command" and "getrequest" in self.path else "OK"

    def do_GET(self):
        if self.path.startswith("/iclock/nothing"):
            return self.send_error(404)
        if self.fault == "keep-alive" and self.headers["Connection"] == "keep-alive":
            self.close_connection = True
            return
        body = self.says().encode()
        self.send_response_only(200)
        if "options=all" in self.path or self.fault != "Date":
            self.send_header("Date", self.date_time_string())
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def log_message(self, *_):
        pass


RAW = {None: [], "keep-alive": ["keep-alive"], "digits": ["ErrorDelay"], "serial": ["handshake"], "command": ["command-form"], "Date": ["Date"]}
REFUSED = ["http://127.0.0.1:99999", "http://[::1", "http://a..b/", "ftp://x", "http://:80"]


def try_raw():
    """How many of the raw servers, and of the command lines that are wrong, are not told as they should be."""
    failed = 0
    for fault, expected in RAW.items():
        handler = type("Faulty", (Raw,), {"fault": fault})
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            url = f"http://127.0.0.1:{server.server_port}"
            done = subprocess.run([PROJECT / "scripts/check-server", url], capture_output=True, text=True)
            server.shutdown()
        found = re.findall(r"^WRONG ([\w-]+):", done.stdout, re.M)
        good = found == expected and done.returncode == bool(expected) and "not looked at: " in done.stdout and not done.stderr
        print(f"{'ok    ' if good else 'FAILED'} raw server, {fault or 'as it should be'}: {', '.join(found) or 'nothing wrong'}")
        failed += not good
    for url in REFUSED:
        done = subprocess.run([PROJECT / "scripts/check-server", url], capture_output=True, text=True)
        good = done.returncode == 64 and done.stderr.startswith(f"check-server: {url}: ") and not done.stdout
        print(f"{'ok    ' if good else 'FAILED'} {done.stderr.strip()}")
        failed += not good
    return failed


def main():
    emulator, failed = sys.argv[1], try_raw()
    cells = re.findall(r"^\| (`[^|]*)\|", (PROJECT / "docs/servers.md").read_text(), re.M)
    documented = set(re.findall(r"`([\w-]+)`", "".join(cells)))
    cases = [(["--persona", name], None, expected) for name, expected in EXPECTED.items()]
    cases += [([], fault, [name]) for fault, name in FAULTS.items()]
    cases += [(["--option", option], None, [name] if name else []) for option, name in OPTIONS.items()]
    for options, fault, expected in cases:
        found, said = wrong(emulator, *options, fault=fault)
        good = found == expected if not fault else expected[0] in found
        good &= set(re.findall(r"^(?:ok   |WRONG|note ) ([\w-]+)", said, re.M)) <= documented
        print(f"{'ok    ' if good else 'FAILED'} {' '.join(options) or fault or 'document'}: {', '.join(found) or 'nothing wrong'}")
        if not good:
            failed += 1
            print(said)
    sys.exit(f"check-server: {failed} cases failed" if failed else 0)


main()
