"""How long a punch takes: to its driver's answer, and to the server. Each punch beside its floor, one after the other."""

import os
import socket
import time

from bench import BLOCK, p50, punch, waited
from figures import Figure
from local_terminal import Driver

PUNCHES = 200


def answer(bench):
    """A driver's answer, beside the writing of one block that is made durable. The server takes no punches, so that nothing else is written."""
    server = bench.server(refuses=["punches"], Delay=3600, ErrorDelay=3600)
    terminal = bench.terminal(server.url())
    waited(server.wait(lambda: server.of("poll"), 60), "a poll", terminal)
    values, floors = [], []
    with Driver(terminal) as driver, FloorFile(bench) as floor:
        for nth in range(PUNCHES):
            values.append(driver.call("punch", punch(nth)))
            floors.append(floor.write())
    terminal.stop()
    return [
        Figure(
            "a driver's answer, p50",
            "ms",
            [1000 * p50(values)],
            [1000 * p50(floors)],
            "one block and fdatasync",
            "≤ 1.2 ×",
            f"p99 {1000 * sorted(values)[PUNCHES * 99 // 100]:.2f} ms",
        )
    ]


def to_server(bench):
    """From the sensor to the server: until the request with the punch has arrived there. The floor makes one block durable and sends the same request."""
    server = bench.server(light=True, Delay=3600)
    terminal = bench.terminal(server.url())
    waited(server.wait(lambda: server.of("poll"), 60), "a poll", terminal)
    values, floors = [], []
    with Driver(terminal) as driver, FloorFile(bench) as floor, socket.create_connection(("127.0.0.1", server.port)) as plain:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for nth in range(PUNCHES):
            sent = time.monotonic()
            driver.call("punch", punch(nth))
            waited(server.wait(lambda: server.row_count > 2 * nth and server.of("punches")[-1].answered, 60), "the punch", terminal)
            request = server.of("punches")[-1]
            values.append(request.arrived - sent)
            time.sleep(0.02)  # the acknowledgement is stored meanwhile
            sent = time.monotonic()
            floor.write()
            plain.sendall(request.raw)
            plain.recv(65536)
            floors.append(server.of("punches")[-1].arrived - sent)
    terminal.stop()
    return [
        Figure(
            "from the sensor to the server, p50",
            "ms",
            [1000 * p50(values)],
            [1000 * p50(floors)],
            "one block and fdatasync, then the same request",
            "≤ 1.2 ×",
            "until it has arrived",
        )
    ]


class FloorFile:
    """A file of the same file system that is large enough already."""

    def __init__(self, bench):
        self.file, self.written = open(bench.place / "floor", "wb"), 0
        self.file.write(bytes(256 * BLOCK))
        self.file.flush()
        os.fsync(self.file.fileno())

    def __enter__(self):
        return self

    def __exit__(self, *how):
        self.file.close()

    def write(self):
        """Seconds until a block is durable."""
        begun = time.perf_counter()
        os.pwrite(self.file.fileno(), os.urandom(16) * (BLOCK // 16), BLOCK * (self.written % 256))
        os.fdatasync(self.file.fileno())
        self.written += 1
        return time.perf_counter() - begun
