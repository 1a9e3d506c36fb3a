"""A driver that punches every 10 ms: `punching.py SOCKET`. When its standard input ends, it prints its waits as JSON, in seconds.

A process of its own, so that the servers of the benchmark do not make it late.
"""

import json
import select
import socket
import sys
import time

PAUSE = 0.01  # seconds


def main():
    driver = socket.socket(socket.AF_UNIX)
    driver.connect(sys.argv[1])
    waits, refused, begun = [], 0, time.monotonic()
    while not select.select([sys.stdin], [], [], max(0, begun + PAUSE - time.monotonic()))[0]:
        begun = time.monotonic()
        driver.sendall(b'{"jsonrpc":"2.0","id":1,"method":"punch","params":{"pin":"9000001"}}\n')
        answer = b""
        while not answer.endswith(b"\n"):
            more = driver.recv(65536)
            if not more:
                sys.exit("the driver was disconnected")
            answer += more
        waits.append(time.monotonic() - begun)
        refused += b'"result"' not in answer
    print(json.dumps({"waits": waits, "refused": refused}))


if __name__ == "__main__":
    main()
