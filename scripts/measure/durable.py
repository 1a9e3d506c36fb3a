"""What the disk alone makes a writer wait: `durable.py DIRECTORY` writes a block and makes it durable, every 10 ms. When its standard input ends, it
prints its waits as JSON, in seconds.

It runs beside a driver that punches (`punching.py`): other programs use the disk, too.
"""

import json
import os
import select
import sys
import tempfile
import time

BLOCKS, BLOCK = 64, 4096
PAUSE = 0.01  # seconds


def main():
    waits, begun = [], 0
    with tempfile.TemporaryFile(dir=sys.argv[1]) as file:
        os.pwrite(file.fileno(), bytes(BLOCK * BLOCKS), 0)
        os.fsync(file.fileno())
        while not select.select([sys.stdin], [], [], max(0, begun + PAUSE - time.monotonic()))[0]:
            begun = time.monotonic()
            os.pwrite(file.fileno(), os.urandom(BLOCK), BLOCK * (len(waits) % BLOCKS))
            os.fdatasync(file.fileno())
            waits.append(time.monotonic() - begun)
    print(json.dumps({"waits": waits, "refused": 0}))


if __name__ == "__main__":
    main()
