"""A driver that punches every 10 ms: `punching.py SOCKET`. When its standard input ends, it prints its waits as JSON, in seconds. The work code of a
punch is its number, from 1.

A process of its own, so that the servers of the benchmark do not make it late.
"""

import json
import select
import socket
import sys
import time

PAUSE = 0.01  # seconds
PIN = "9000001"


def main():
    driver = socket.socket(socket.AF_UNIX)
    driver.connect(sys.argv[1])
    waits, refused, begun = [], 0, 0
    while not ends(max(0, begun + PAUSE - time.monotonic())):
        call = {"jsonrpc": "2.0", "id": 1, "method": "punch", "params": {"pin": PIN, "workcode": str(len(waits) + 1)}}
        begun = time.monotonic()
        driver.sendall(json.dumps(call).encode() + b"\n")
        answer = b""
        while not answer.endswith(b"\n") and not ends(None, driver):
            more = driver.recv(65536)
            if not more:
                sys.exit("the driver was disconnected")
            answer += more
        waits.append(time.monotonic() - begun)  # so far, if there is no answer yet
        refused += b'"error"' in answer
    print(json.dumps({"waits": waits, "refused": refused}))


def ends(seconds, *others):
    """Whether standard input has ended, or ends within so many seconds; waits for other files meanwhile."""
    return sys.stdin in select.select([sys.stdin, *others], [], [], seconds)[0]


if __name__ == "__main__":
    main()
