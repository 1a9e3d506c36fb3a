"""Chromium without a window, driven by Debian's chromedriver: the WebDriver protocol is JSON over HTTP."""

import base64
import json
import re
import subprocess
import time
import urllib.error
import urllib.request
import zlib

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the key of an element's id in JSON
TIMEOUT = 30  # seconds for anything to be seen
TAB, ENTER, SPACE = "\ue004", "\ue007", " "
OPTIONS = {
    # As root, and in containers, Chromium's sandbox cannot be made.
    "args": ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=960,720"],
    "binary": "/usr/bin/chromium",
}


class Browser:
    """One window."""

    def __init__(self, at_the_end, place):
        command = ["chromedriver", "--port=0"]
        with open(place / "chromedriver.log", "wb") as log:
            driver = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=place)
        at_the_end.callback(driver.wait)
        at_the_end.callback(driver.terminate)
        port = wait("chromedriver to start", lambda: re.search(r"successfully on port (\d+)", (place / "chromedriver.log").read_text()))[1]
        self.address = f"http://127.0.0.1:{port}"
        wanted = {"browserName": "chrome", "goog:chromeOptions": OPTIONS, "goog:loggingPrefs": {"browser": "ALL"}}
        session = self.send("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self.address += f"/session/{session['sessionId']}"
        at_the_end.callback(self.send, "DELETE", "")

    def send(self, method, path, body=None):
        data = None if method != "POST" else json.dumps(body or {}).encode()
        request = urllib.request.Request(self.address + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{method} {path}: {json.load(error)['value']['message'].splitlines()[0]}") from None

    def open(self, url):
        self.send("POST", "/url", {"url": url})

    def run(self, script, *arguments):
        """What a script returns in the page."""
        return self.send("POST", "/execute/sync", {"script": script, "args": arguments})

    def find(self, selector, text=None):
        """The elements of a CSS selector; with `text` those whose text it is."""
        found = self.send("POST", "/elements", {"using": "css selector", "value": selector})
        elements = [Element(self, id) for id in (it[ELEMENT] for it in found)]
        return elements if text is None else [it for it in elements if it.text() == text]

    def one(self, selector, text=None):
        found = self.find(selector, text)
        assert len(found) == 1, f"{len(found)} elements {selector} {text or ''}"
        return found[0]

    def click(self, selector, text=None):
        element = self.one(selector, text)
        # Out from under the bar at the top, which covers what scrolls.
        self.run("arguments[0].scrollIntoView({ block: 'center' })", {ELEMENT: element.id})
        element.send("POST", "/click")

    def fill(self, selector, text):
        field = self.one(selector)
        field.send("POST", "/clear")
        field.send("POST", "/value", {"text": text})

    def choose(self, select, option):
        """An option of a select, as the keyboard does it."""
        script = """return [...document.querySelector(arguments[0]).options].map((option) => option.value)"""
        nth = self.run(script, select).index(option) + 1
        self.one(f"{select} option:nth-of-type({nth})").send("POST", "/click")

    def text(self, selector):
        return self.run("return document.querySelector(arguments[0]).textContent", selector)

    def texts(self, selector):
        return self.run("return [...document.querySelectorAll(arguments[0])].map((it) => it.textContent)", selector)

    def rows(self, name):
        """The texts of a list's cells, row by row."""
        script = """return [...document.querySelector(`[data-list=${arguments[0]}] tbody`).rows]
                    .map(row => [...row.cells].map(cell => cell.textContent))"""
        return self.run(script, name)

    def press(self, *keys):
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self.send("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})

    def tab_to(self, text):
        """Presses Tab until an element with this text, or of this id, has the focus."""
        script = "const it = document.activeElement; return [it.id, it.textContent, getComputedStyle(it).outlineStyle]"
        for _ in range(200):
            self.press(TAB)
            id, content, outline = self.run(script)
            if text in (id, content):
                assert outline != "none", f"{text} has the focus, which is not to be seen"
                return
        raise AssertionError(f"Tab does not come to {text}")

    def log(self):
        """What the browser complained about since the last call."""
        return [line["message"] for line in self.send("POST", "/se/log", {"type": "browser"}) if line["level"] == "SEVERE"]

    def screenshot(self, file, selector):
        """What is to be seen from an element on."""
        self.run("document.querySelector(arguments[0]).scrollIntoView()", selector)
        picture = smaller(base64.b64decode(self.send("GET", "/screenshot")))
        assert len(picture) < 100_000, f"{file.name} has {len(picture)} bytes, which is much for the tree"
        file.write_bytes(picture)


class Element:
    """An element of the page."""

    def __init__(self, browser, id):
        self.browser, self.id = browser, id

    def send(self, method, path, body=None):
        return self.browser.send(method, f"/element/{self.id}{path}", body)

    def text(self):
        return self.send("GET", "/property/textContent")

    def label(self):
        """The name that a screen reader says."""
        return self.send("GET", "/computedlabel")


def smaller(png):
    """The same picture, deflated with more effort than a browser takes."""
    at, chunks = 8, []
    while at < len(png):
        length = int.from_bytes(png[at : at + 4], "big")
        chunks.append((png[at + 4 : at + 8], png[at + 8 : at + 8 + length]))
        at += 12 + length
    data = zlib.compress(zlib.decompress(b"".join(data for kind, data in chunks if kind == b"IDAT")), 9)
    chunks = [chunk for chunk in chunks if chunk[0] == b"IHDR"] + [(b"IDAT", data), (b"IEND", b"")]
    parts = ((len(data).to_bytes(4, "big"), kind, data, zlib.crc32(kind + data).to_bytes(4, "big")) for kind, data in chunks)
    return png[:8] + b"".join(b"".join(part) for part in parts)


def wait(what, found, timeout=TIMEOUT):
    """Waits until `found()` is true, and returns that."""
    deadline = time.monotonic() + timeout
    while not (result := found()):
        assert time.monotonic() < deadline, f"waited {timeout} s for {what}"
        time.sleep(0.05)
    return result
