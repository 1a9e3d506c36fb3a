"""A driver that punches every 10 ms beside other work, and what the disk and the machine alone make a program wait at the same time."""

import time

from figures import Figure
from scenarios import DURABLE, end_driver, p99, start, start_driver

LEAST = 5  # seconds that it punches


class DriverWaits:
    """From here until `end`."""

    def __init__(self, terminal):
        self.begun, self.driver, self.disk = time.monotonic(), start_driver(terminal), start(DURABLE, terminal.place)

    def end(self):
        time.sleep(max(0, self.begun + LEAST - time.monotonic()))
        self.waits, self.disk_waits = end_driver(self.driver), end_driver(self.disk)

    def figure(self, work):
        remark = f"of {len(self.waits)} punches; p99 {1000 * p99(self.waits):.1f} ms, the disk alone {1000 * p99(self.disk_waits):.1f} ms"
        return Figure(
            f"slowest answer to a driver, {work}", "ms", [1000 * max(self.waits)], [1000 * max(self.disk_waits)], "the disk alone", remark=remark
        )
