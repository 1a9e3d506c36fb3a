"""Clicks through the page of iclock-emulator in Chromium, with a real punchd as the terminal.

    python3 tests/page/check.py --programs target/debug [--screenshots docs/images]

Needs Debian's chromium and chromium-driver. `--screenshots DIRECTORY` also makes the pictures of tests/emulator/README.md.
"""

import argparse
import contextlib
import json
import os
import re
import socket
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "examples"), str(ROOT / "scripts")]

from audit import audit  # noqa: E402
from browser import ENTER, SPACE, Browser, wait  # noqa: E402
from sensor import Terminal as Driver  # noqa: E402
from terminal import end_in_order  # noqa: E402

SERIAL = "PAGE0001"
EVIL = "<img src=x onerror=\"document.title='run'\">"
MANY = 100_000


class Emulator:
    """iclock-emulator with its page."""

    def __init__(self, place, programs, listen="127.0.0.1:0", page="127.0.0.1:0"):
        log = place / "emulator.log"
        command = [programs / "iclock-emulator", "--listen", listen, "--page", page, "--option", "Delay=1", "--option", "ErrorDelay=1"]
        with open(log, "wb") as out:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        said = wait("the emulator to start", lambda: re.search(r"connect to http://(\S+)\nthe page is at http://(\S+)", log.read_text()))
        self.address, self.page = said[1], said[2]

    def stop(self):
        self.process.kill()
        self.process.wait()

    def send(self, request, body=b""):
        """A request of some other terminal, as bytes; returns the answer as text."""
        host, port = self.address.split(":")
        with socket.create_connection((host, int(port)), timeout=30) as connection:
            head = f"{request} HTTP/1.1\r\nHost: {self.address}\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + body)
            return b"".join(iter(lambda: connection.recv(65536), b"")).decode()


def start_terminal(at_the_end, place, programs, server):
    """punchd, and the connection of a driver to it."""
    settings = {"server": f"http://{server.address}", "serial": SERIAL, "language": 69, "store": f"{place}/punchd.db", "run_dir": str(place)}
    settings |= {"clock": "own", "timezone": "system"}
    config = place / "punchd.toml"
    config.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items()) + "[limits]\nstart_spread = 0\n")
    with open(place / "punchd.log", "wb") as log:
        command = [programs / "punchd", "run", "-c", config]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    at_the_end.callback(process.wait)
    at_the_end.callback(process.terminate)
    wait("punchd to start", (place / "driver.sock").exists)
    return Driver(str(place / "driver.sock"), name="page", provides=["fingerprint"])


def punches_arrive(browser, driver):
    wait("the terminal", lambda: [row[:2] for row in browser.rows("terminals")] == [[SERIAL, "handshake done"]])
    assert "No punch" in browser.text("[data-list=punches] + .pager")
    for n, pin in enumerate(["1001", "1002", "1003"]):
        driver.call("punch", pin=pin, verify=[1, 15, 4][n], status=0)
        wait("a punch", lambda: [row[0] for row in browser.rows("punches")][:1] == [pin])
        wait("what a screen reader says", lambda: f"1 punch arrived: {pin} at " in browser.text("#news"))
    assert browser.rows("punches")[0][2:4] == ["0 in", "4 card"]


def commands_are_answered(browser):
    # By the keyboard alone, from the top of the page.
    browser.tab_to("INFO")
    browser.press(ENTER)
    answered = lambda command: next((row for row in browser.rows("commands") if row[1] == command and row[3]), None)
    assert "UserCount=" in wait("the answer to INFO", lambda: answered("INFO"))[4]
    wait("what a screen reader says", lambda: "was answered with 0" in browser.text("#news"))
    browser.tab_to("DATA UPDATE USERINFO …")
    browser.press(SPACE)
    assert browser.run("return document.activeElement.id") == "text"
    for pin, name in ("1001", "Ada Lovelace"), ("1002", "Grace Hopper"), ("1003", EVIL):
        text = f"DATA UPDATE USERINFO PIN={pin}⇥Name={name}⇥Pri=0"
        browser.fill("#text", text)
        browser.click("#queue button[type=submit]")
        assert wait("the answer", lambda: answered(text))[3] == "0"
    browser.click("button", "DATA QUERY USERINFO (all)")
    assert wait("the answer", lambda: answered("DATA QUERY USERINFO"))[3] == "0"
    browser.fill("#text", "MAKE COFFEE")
    browser.click("#queue button[type=submit]")
    assert wait("the answer", lambda: answered("MAKE COFFEE"))[3] == "-1002"


def names_are_text(browser):
    wait("the people", lambda: [row[:2] for row in browser.rows("people")] == [["1001", "Ada Lovelace"], ["1002", "Grace Hopper"], ["1003", EVIL]])
    assert browser.run("return document.title") == "iclock-emulator"


def faults_are_switched(browser, driver):
    browser.choose("#on", "upload:ATTLOG")
    browser.choose("#act", "answer")
    browser.fill("#status", "503")
    browser.click("#fault-form button")
    wait("the fault", lambda: browser.text("#faults-now") == "1 fault")
    assert browser.text("#faults") == "answer on upload:ATTLOG, 1 time"
    driver.call("punch", pin="1001", verify=1, status=1)
    wait("the fault to be used", lambda: browser.text("#faults-now") == "none")
    wait("the punch all the same", lambda: browser.rows("punches")[0][:4:2] == ["1001", "1 out"])
    # Each of them, for requests that do not come.
    acts = browser.run("return [...document.querySelectorAll('#act option')].map(option => option.value)")
    browser.choose("#on", "verify")
    browser.click("#always")
    for act in acts:
        browser.choose("#act", act)
        browser.click("#fault-form button")
        wait(act, lambda: f"{act} on verify, until removed" in browser.texts("#faults li"))
        assert browser.text("#failure") == "", browser.text("#failure")
    browser.click("#weather-form button[type=submit]")
    wait("random faults", lambda: browser.text("#faults-now") == f"{len(acts)} faults, random faults for 20 % of all requests")
    browser.click("#clear")
    wait("no fault", lambda: browser.text("#faults-now") == "none")
    browser.click("#always")
    # What the server refuses is said.
    browser.run("document.querySelector('#on').options[0].value = 'nothing'; document.querySelector('#on').value = 'nothing'")
    browser.click("#fault-form button")
    wait("the refusal", lambda: browser.text("#failure").startswith('Not done: "nothing" is none of'))
    browser.run("document.querySelector('#on').options[0].value = 'any'")
    complaints = browser.log()
    assert len(complaints) == 1 and "400" in complaints[0], complaints


def personas_are_switched(browser, server):
    handshake = lambda: server.send(f"GET /iclock/cdata?SN={SERIAL}&options=all&pushver=2.4.1&language=69")
    for persona, about, end in ("crlf", "CRLF", "\r\nDelay=1\r\n"), ("document", "As the document says.", "\nDelay=1\n"):
        browser.choose("#persona", persona)
        assert about in browser.text("#persona-about")
        browser.click("#persona-form button")
        wait(persona, lambda: browser.text("#persona-now") == persona)
        assert end in handshake()


def deviations_are_explained(browser, server):
    server.send("POST /iclock/cdata?SN=OTHER&table=ATTLOG&Stamp=1", b"7\t2026-02-30 08:00:00\t0\t1\t0\t0\t0\n<b>\xff</b>\n")
    wait("the deviations", lambda: len(browser.rows("deviations")) >= 3)
    rows = {row[0]: row for row in browser.rows("deviations")}
    assert rows["before-handshake"][1].endswith("A request before the initial exchange succeeded."), rows
    assert rows["time"][1].startswith("row 1 of ATTLOG: "), rows
    browser.click("[data-list=deviations] tbody tr:first-child button[aria-expanded]")
    bytes = wait("the bytes", lambda: browser.text("[data-list=deviations] tbody tr:first-child pre"))
    assert bytes.startswith("POST /iclock/cdata?SN=OTHER&table=ATTLOG&Stamp=1 HTTP/1.1\\r\\n\n"), bytes
    assert bytes.endswith("\n\\r\\n\n7\\t2026-02-30 08:00:00\\t0\\t1\\t0\\t0\\t0\\n\n<b>\\xff</b>\\n\n"), bytes
    browser.click("[aria-label='Permit before-handshake from now on']")
    wait("the permission", lambda: browser.text("#news") == "before-handshake is permitted from now on.")
    server.send("GET /iclock/getrequest?SN=OTHER")
    server.send("GET /iclock/nothing?SN=OTHER")
    kinds = lambda: [row[0] for row in browser.rows("deviations")]
    wait("the next deviation", lambda: kinds()[0] == "unknown-path")
    assert kinds().count("before-handshake") == 1, kinds()


def photos_are_pictures(browser, server):
    for n, picture in enumerate([png(), b"<script>document.title='run'</script>"]):
        head = f"PIN=2026030208000{n}-1001.jpg\nSN={SERIAL}\nsize={len(picture)}\nCMD=uploadphoto\0".encode()
        server.send(f"POST /iclock/cdata?SN={SERIAL}&table=ATTPHOTO&Stamp={n + 1}", head + picture)
    wait("the photo", lambda: browser.run("return document.querySelector('[data-list=punch_photos] img')?.naturalWidth") == 64)
    assert len(browser.find("[data-list=punch_photos] li")) == 2
    assert "not a picture: 37 bytes" in browser.text("[data-list=punch_photos]")


def many_punches_stay_quick(browser, server):
    server.send("GET /iclock/cdata?SN=MANY&options=all&pushver=2.4.1&language=69")
    for stamp in range(MANY // 1000):
        rows = "".join(f"{pin}\t2026-03-02 08:00:00\t0\t1\t0\t0\t0\n" for pin in range(stamp * 1000 + 1, stamp * 1000 + 1001))
        server.send(f"POST /iclock/cdata?SN=MANY&table=ATTLOG&Stamp={stamp + 1}", rows.encode())
    total = MANY + 4
    pager = lambda: browser.text("[data-list=punches] + .pager span")
    wait("the punches", lambda: pager() == f"1 to 50 of {total}")
    assert [row[0] for row in browser.rows("punches")] == [str(MANY - n) for n in range(50)]
    begun = time.monotonic()
    browser.click("[aria-label='Older punches']")
    wait("older punches", lambda: pager() == f"51 to 100 of {total}")
    assert browser.rows("punches")[0][0] == str(MANY - 50)
    browser.click("[aria-label='Newest punches']")
    wait("the newest punches", lambda: pager() == f"1 to 50 of {total}")
    took = time.monotonic() - begun
    assert took < 5, f"two pages took {took:.1f} s"
    size = browser.run("return document.querySelectorAll('*').length")
    assert size < 3000, f"{size} elements"


def another_emulator_is_found(browser, server, place, programs):
    """The emulator ends; another starts in its place."""
    server.stop()
    wait("the loss", lambda: browser.text("#link").startswith("No connection"))
    server = Emulator(place, programs, server.address, server.page)
    wait("the page to be live again", lambda: browser.text("#link") == "Live")
    wait("its lists", lambda: "No punch" in browser.text("[data-list=punches] + .pager"))
    return server


def png():
    """A picture of 64 by 64."""
    rows = b"".join(b"\0" + bytes(c for x in range(64) for c in (40 + 2 * x, 60 + 2 * y, 160)) for y in range(64))
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    head = struct.pack(">IIBBBBB", 64, 64, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")


def check(at_the_end, place, options):
    server = Emulator(place, options.programs)
    at_the_end.callback(lambda: server.stop())
    browser = Browser(at_the_end, place)
    browser.open(f"http://{server.page}/")
    browser.run("window.loaded = 'once'")
    wait("the page", lambda: browser.text("#link") == "Live")
    driver = start_terminal(at_the_end, place, options.programs, server)
    punches_arrive(browser, driver)
    commands_are_answered(browser)
    names_are_text(browser)
    faults_are_switched(browser, driver)
    personas_are_switched(browser, server)
    photos_are_pictures(browser, server)
    deviations_are_explained(browser, server)
    audit(browser)
    complaints = browser.log()
    assert not complaints, complaints
    if options.screenshots:
        options.screenshots.mkdir(parents=True, exist_ok=True)
        for name, selector in ("punches", "body"), ("commands", "#commands"), ("deviations", "#deviations"):
            browser.screenshot(options.screenshots / f"emulator-{name}.png", selector)
    many_punches_stay_quick(browser, server)
    server = another_emulator_is_found(browser, server, place, options.programs)
    assert browser.run("return window.loaded") == "once", "the page was loaded again"
    assert browser.run("return document.title") == "iclock-emulator", "what a terminal sent was run"


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--programs", type=Path, required=True, help="where iclock-emulator and punchd are")
    options.add_argument("--screenshots", type=Path, help="makes the pictures, in this directory")
    options = options.parse_args()
    options.programs = options.programs.resolve()
    os.environ["no_proxy"] = "127.0.0.1"
    end_in_order()
    with contextlib.ExitStack() as at_the_end:
        place = Path(at_the_end.enter_context(tempfile.TemporaryDirectory(prefix="punchd-page-")))
        try:
            check(at_the_end, place, options)
        except BaseException:
            for log in sorted(place.glob("*.log")):
                print(f"\n{log.name}, its last lines:", *log.read_text(errors="replace").splitlines()[-8:], sep="\n  ")
            raise
    print("page: ok")


if __name__ == "__main__":
    main()
