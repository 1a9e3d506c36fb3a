"""A small server for `scripts/bench`: what the figures need of the PUSH protocol, and no more. `iclock-emulator` is the strict one.

A thread per connection. It notes when each request had arrived and when its answer had been sent, both on the monotonic clock.
"""

import collections
import contextlib
import dataclasses
import re
import socket
import ssl
import threading
import time
from email.utils import formatdate
from urllib.parse import parse_qs, urlsplit


@dataclasses.dataclass
class Request:
    arrived: float
    connection: int  # the first has the number 1
    kind: str  # "handshake", "punches", "upload", "poll", "reply", "file"
    serial: str
    raw: bytes
    body: bytes
    answered: float = 0.0


class Server:
    """Listens on `port` until it is closed; may be opened again on the same port.

    `keep`: whether it keeps connections. `counts`: whether it answers `OK:n` to punches, or bare `OK`. `hold`: seconds for which it keeps a poll
    without an answer as long as there is no command. `files`: path below /iclock/ to content. `tls`: (certificate, key), files in PEM. `refuses`:
    kinds of requests that are answered with 503. `light`: rows are only counted, and not looked at, where the server's own time would hide what is measured.
    """

    def __init__(self, keep=True, counts=True, hold=0, files=None, tls=None, address="127.0.0.1", refuses=(), light=False, **options):
        self.keep, self.counts, self.hold, self.files, self.address = keep, counts, hold, files or {}, address
        self.refuses, self.light = refuses, light
        self.options = {"ErrorDelay": 60, "Delay": 30, "Realtime": 1, "TimeZone": 0, "PushProtVer": "2.4.1", **options}
        self.context = None
        if tls:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(*tls)
        self.requests, self.commands, self.accepted = [], collections.defaultdict(list), 0
        self.rows, self.rows_again = set(), 0  # punches; how many came more than once
        self.row_count, self.given = 0, {}  # when commands were given, by the serial
        self.before_answer = lambda request: None  # called while the client waits
        self.changed, self.open_connections = threading.Condition(), set()
        self.port = 0
        self.open()

    def open(self):
        self.listener = socket.create_server((self.address, self.port), backlog=512)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, args=[self.listener], daemon=True).start()

    def close(self):
        """Refuses connections from now on, and closes those that there are."""
        with contextlib.suppress(OSError):  # closed before
            self.listener.shutdown(socket.SHUT_RDWR)  # accept() returns
        self.listener.close()
        with self.changed:
            for connection in self.open_connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def url(self, port=None):
        """With the port of what stands before it, if anything does."""
        return f"{'https' if self.context else 'http'}://{self.address}:{port or self.port}"

    def queue(self, serial, command):
        with self.changed:
            self.commands[serial].append(command)
            self.changed.notify_all()

    def wait(self, found, timeout):
        """The first true value of `found`, which is tried after each answer; None when the time is over."""
        with self.changed:
            return self.changed.wait_for(found, timeout) or None

    def of(self, kind, serial=None):
        """The requests of a kind that came so far."""
        return [request for request in list(self.requests) if request.kind == kind and serial in (None, request.serial)]

    def accept(self, listener):
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            self.accepted += 1
            threading.Thread(target=self.serve, args=[connection, self.accepted], daemon=True).start()

    def serve(self, connection, number):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(OSError), connection:
            if self.context:
                connection = self.context.wrap_socket(connection, server_side=True)
            with self.changed:
                self.open_connections.add(connection)
            try:
                received = b""
                while (received := self.exchange(connection, number, received)) is not None:
                    pass
            finally:
                with self.changed:
                    self.open_connections.discard(connection)
                connection.close()

    def exchange(self, connection, number, received):
        """One request and its answer. Returns what was received beyond the request, or None at the end of the connection."""
        while b"\r\n\r\n" not in received:
            if not (more := connection.recv(65536)):
                return None
            received += more
        head = received[: received.index(b"\r\n\r\n") + 4]
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        end = len(head) + int(length[1] if length else 0)
        while len(received) < end:
            if not (more := connection.recv(65536)):
                return None
            received += more
        request = self.request(number, received[:end], received[len(head) : end])
        with self.changed:
            self.requests.append(request)
            self.changed.notify_all()
        self.before_answer(request)
        status, fields, body = self.answer(request)
        keep = self.keep and b"connection: close" not in head.lower()
        fields += f"Content-Type: text/plain\r\nContent-Length: {len(body)}\r\nDate: {formatdate(usegmt=True)}\r\n"
        fields += "" if keep else "Connection: close\r\n"
        connection.sendall(f"HTTP/1.1 {status}\r\n{fields}\r\n".encode() + body)
        with self.changed:
            request.answered = time.monotonic()
            self.changed.notify_all()
        return received[end:] if keep else None

    @staticmethod
    def request(number, raw, body):
        method, target = raw.split(b" ", 2)[:2]
        path, query = urlsplit(target.decode()).path, parse_qs(urlsplit(target.decode()).query)
        kinds = {"/iclock/getrequest": "poll", "/iclock/devicecmd": "reply"}
        kind = kinds.get(path, "file")
        if path == "/iclock/cdata":
            kind = "handshake" if method == b"GET" else "punches" if query.get("table") == ["ATTLOG"] else "upload"
        return Request(time.monotonic(), number, kind, query.get("SN", [""])[0], raw, body)

    def answer(self, request):
        """Status, fields and body."""
        if request.kind in self.refuses:
            return "503 Service Unavailable", "", b""
        if request.kind == "file":
            return self.part_of_file(request)
        return "200 OK", "", getattr(self, f"to_{request.kind}", lambda _: "OK")(request).encode()

    def to_handshake(self, request):
        options = self.options | {"TransFlag": "1111111111", "ATTLOGStamp": "None", "OPERLOGStamp": "None", "ATTPHOTOStamp": "None"}
        return f"GET OPTION FROM: {request.serial}\n" + "".join(f"{key}={value}\n" for key, value in options.items())

    def to_punches(self, request):
        count = request.body.count(b"\n")
        with self.changed:
            self.row_count += count
            if not self.light:
                rows = request.body.splitlines()
                self.rows_again += sum(row in self.rows for row in rows)
                self.rows.update(rows)
        return f"OK:{count}" if self.counts else "OK"

    def to_poll(self, request):
        with self.changed:
            commands = self.commands[request.serial]
            if self.hold:
                self.changed.wait_for(lambda: commands, self.hold)
            text = "".join(command + "\n" for command in commands) or "OK"
            if commands:
                self.given[request.serial] = time.monotonic()
            commands.clear()
        return text

    def part_of_file(self, request):
        path = urlsplit(request.raw.split(b" ", 2)[1].decode()).path.removeprefix("/iclock/")
        content = self.files.get(path)
        if content is None:
            return "404 Not Found", "", b""
        wanted = re.search(rb"(?i)\r\nrange: *bytes=(\d+)-(\d*)", request.raw)
        if not wanted:
            return "200 OK", "Accept-Ranges: bytes\r\n", content
        first, last = int(wanted[1]), min(int(wanted[2] or len(content)), len(content) - 1)
        if first > last:
            return "416 Range Not Satisfiable", f"Content-Range: bytes */{len(content)}\r\n", b""
        return "206 Partial Content", f"Content-Range: bytes {first}-{last}/{len(content)}\r\n", content[first : last + 1]
