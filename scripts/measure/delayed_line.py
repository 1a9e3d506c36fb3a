"""A line to a server that is far away, for `scripts/bench`: a TCP proxy that delays what it passes on. It needs no privilege.

What it emulates:
- Each byte arrives `ONE_WAY` seconds after it was sent, in order, in both directions. The bandwidth has no limit.
- The set-up of a connection takes a round trip. A proxy cannot delay the SYN of loopback: the client's connect() returns at once. So what the
  client sends within one round trip after the connection was accepted is treated as sent at the end of that round trip. From then on all is
  as late as it would be on a real line. The server sees the connection after `ONE_WAY`, as it would see the SYN.
- TCP's slow start (RFC 5681, RFC 6928): at most ten segments are under way at first, and each acknowledged byte lets one more go, as long as
  the sender makes use of it. After a pause of the retransmission timeout it begins again with ten segments, as Linux does. Without this a
  connection per piece of a file would look cheaper than it is. No packet is ever lost.

It counts connections, bytes in each direction, and round trips: one for the set-up of each connection, and one each time that the client sends
after the server has sent (or at first). Where slow start holds bytes back, that is not counted.
"""

import asyncio
import collections
import contextlib
import threading
import time

ONE_WAY = 0.05  # seconds
ROUND_TRIP = 2 * ONE_WAY
INITIAL_WINDOW = 10 * 1460  # bytes
IDLE_TIMEOUT = ROUND_TRIP + 0.2  # seconds; Linux's shortest retransmission timeout at this round trip
END, RESET = object(), object()  # stand among the bytes for what ends a direction


class DelayedLine:
    """Listens on `port`, and passes on to a port of the same machine. Its counts may be read at any time."""

    loop = None  # one for all lines, in a thread of its own

    def __init__(self, server_port):
        self.server_port = server_port
        self.connections = self.round_trips = self.bytes_up = self.bytes_down = 0
        self.first = None  # when the first connection came
        if not DelayedLine.loop:
            DelayedLine.loop = asyncio.new_event_loop()
            threading.Thread(target=DelayedLine.loop.run_forever, daemon=True).start()
        listening = self.loop.create_server(lambda: Connection(self), "127.0.0.1", 0)
        self.listener = asyncio.run_coroutine_threadsafe(listening, self.loop).result()
        self.port = self.listener.sockets[0].getsockname()[1]

    def close(self):
        self.loop.call_soon_threadsafe(self.listener.close)


class Direction:
    """Bytes of one direction of a connection, on their way to `target`, which is a transport once there is one."""

    def __init__(self, loop, established, at_end):
        self.loop, self.established, self.at_end, self.target = loop, established, at_end, None
        self.waiting = collections.deque()  # not sent yet
        self.arriving, self.acknowledging = collections.deque(), collections.deque()  # (when, what)
        self.window, self.under_way, self.used = INITIAL_WINDOW, 0, 0.0
        self.ended, self.timer = False, None

    def send(self, what):
        self.waiting.append(what)
        if not self.under_way and self.loop.time() - self.used > IDLE_TIMEOUT:
            self.window = INITIAL_WINDOW
        self.turn()

    def turn(self):
        """Does what is due, and has itself called again when something will be."""
        now = self.loop.time()
        while self.acknowledging and self.acknowledging[0][0] <= now:
            size = self.acknowledging.popleft()[1]
            if 2 * self.under_way >= self.window:
                self.window += size
            self.under_way -= size
        while self.arriving and self.arriving[0][0] <= now:
            self.deliver(self.arriving.popleft()[1])
        if now >= self.established:
            self.depart(now)
        due = [queue[0][0] for queue in (self.acknowledging, self.arriving) if queue]
        due += [self.established] if now < self.established and self.waiting else []
        if self.timer:
            self.timer.cancel()
        self.timer = self.loop.call_at(min(due), self.turn) if due else None

    def depart(self, now):
        """Sends what the window has room for."""
        while self.waiting and (self.under_way < self.window or self.waiting[0] in (END, RESET)):
            what = self.waiting.popleft()
            if what not in (END, RESET):
                room = self.window - self.under_way
                if len(what) > room:
                    self.waiting.appendleft(memoryview(what)[room:])
                    what = memoryview(what)[:room]
                self.under_way += len(what)
                self.used = now
                self.acknowledging.append((now + ROUND_TRIP, len(what)))
            self.arriving.append((now + ONE_WAY, what))

    def deliver(self, what):
        if not self.target or self.target.is_closing():
            return
        if what is RESET:
            self.target.abort()
        elif what is END:
            self.ended = True
            with contextlib.suppress(OSError):  # the other end is gone already
                self.target.write_eof()
            self.at_end()
        else:
            self.target.write(what)


class Connection(asyncio.Protocol):
    """The client's side of a connection; makes the server's."""

    def __init__(self, line):
        self.line, self.client_spoke_last = line, False

    def connection_made(self, transport):
        line, now = self.line, self.line.loop.time()
        line.connections += 1
        line.round_trips += 1
        line.first = line.first or time.monotonic()
        self.up, self.down = Direction(line.loop, now + ROUND_TRIP, self.close), Direction(line.loop, now, self.close)
        self.transport = self.down.target = transport
        self.opening = line.loop.create_task(self.open())

    async def open(self):
        await asyncio.sleep(ONE_WAY)
        try:
            self.up.target, _ = await self.line.loop.create_connection(lambda: ServerSide(self), "127.0.0.1", self.line.server_port)
        except OSError:
            self.line.loop.call_later(ONE_WAY, self.transport.abort)

    def close(self):
        """When both directions have ended."""
        if self.up.ended and self.down.ended:
            self.up.target.close()
            self.down.target.close()

    def data_received(self, data):
        self.line.bytes_up += len(data)
        self.line.round_trips += not self.client_spoke_last
        self.client_spoke_last = True
        self.up.send(data)

    def eof_received(self):
        self.up.send(END)
        return True  # the other direction stays open

    def connection_lost(self, error):
        self.up.send(RESET)


class ServerSide(asyncio.Protocol):
    def __init__(self, connection):
        self.connection = connection

    def data_received(self, data):
        self.connection.line.bytes_down += len(data)
        self.connection.client_spoke_last = False
        self.connection.down.send(data)

    def eof_received(self):
        self.connection.down.send(END)
        return True

    def connection_lost(self, error):
        self.connection.down.send(RESET)
