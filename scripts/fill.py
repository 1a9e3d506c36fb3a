"""The checks `fill_ext4` and `fill_ubifs` of `scripts/qemu test`: whatever fills the file system of the store, punches are taken.

One kind fills it after the other: people and pictures of the server; photos that the server does not ask for; photos, operations and errors
that it asks for and does not take just then; downloads. Each goes on until it is refused for want of room; of photos that are not asked for,
the oldest go instead. After each kind punches are taken and the server can delete. Then 10 000 punches come while the server is away. At the
end the server takes everything: it gets each punch once, and all else that was taken and not counted as deleted.
"""

import base64
import itertools
import json
import random
import socket
import time

from terminal import TIMEOUT, Failure, FlashImages, Images, expect, wait

PUNCHES_ONLY = "TransFlag=TransData AttLog\tEnrollUser\tChgUser"
ALL = "TransFlag=TransData AttLog\tOpLog\tAttPhoto\tEnrollUser\tChgUser"
TABLES = ["ATTPHOTO", "OPERLOG", "ERRORLOG"]  # what the server asks for, and does not take for a time
PEOPLE, FIRST_FACES, PICTURE, FACE = 100, 12, 900_000, 60_000  # how many; bytes
PHOTO, UNWANTED_PHOTOS = 500_000, 12
TEXT, ERROR = 48, 12_000  # bytes that make the longest texts of an operation and, about, of an error
FILE = 3_000_000  # bytes
LIST, GROUP = 6, 50  # commands of the server, and calls of a driver, that go together
MOST = 10_000  # rows of which one has to be refused
AFTER_EACH, AT_THE_END = 100, 10_000  # punches
NO_ROOM = -1001
FIRST = 1_000_000  # PIN of the first punch
chance = random.Random(1)


class SmallImages(Images):
    data_size = 40


def fill_ext4(bench):
    """40 MB of ext4."""
    Filling(bench, SmallImages, "ext4").check()


def fill_ubifs(bench):
    """UBIFS on 64 MiB of raw flash."""
    Filling(bench, FlashImages, "UBIFS").check()


def noise(length, begin=b"", end=b""):
    """So many bytes in base64: no file system can make them much smaller, and no two are the same."""
    return base64.b64encode(begin + chance.randbytes(length - len(begin + end)) + end).decode()


def jpeg(length):
    return noise(length, b"\xff\xd8\xff", b"\xff\xd9")


class Driver:
    """A driver of the terminal that runs on this machine."""

    def __init__(self, machine):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.settimeout(TIMEOUT)
            machine.shell(f"driver join 10.0.2.2 {listener.getsockname()[1]} </dev/null >/dev/null 2>&1 &")
            self.socket = listener.accept()[0]
        self.socket.settimeout(TIMEOUT)
        self.answers = self.socket.makefile("rb")

    def call(self, method, *calls):
        """The answers to calls that are sent together."""
        lines = [json.dumps({"jsonrpc": "2.0", "id": nth, "method": method, "params": params}) + "\n" for nth, params in enumerate(calls)]
        try:
            self.socket.sendall("".join(lines).encode())
            return [json.loads(self.answers.readline()) for _ in calls]
        except TimeoutError:
            raise Failure(f"{method} is not answered within {TIMEOUT} s") from None

    def put(self, method, *rows):
        """How many of these rows were taken; the others were refused for want of room."""
        refused = [answer["error"] for answer in self.call(method, *rows) if "error" in answer]
        for error in refused:
            expect(error["code"] == NO_ROOM and "kept for punches" in error["message"], f"{method} is refused with {error}")
        return len(rows) - len(refused)

    def put_until_refused(self, method, row, group=1):
        """How many rows were taken before one was refused."""
        for taken in range(0, MOST, group):
            more = self.put(method, *(row(taken + nth) for nth in range(group)))
            if more < group:
                return taken + more
        raise Failure(f"{MOST} rows of {method} were taken, and none was refused")

    def streams(self):
        return self.call("status", {})[0]["result"]["streams"]


class Filling:
    """A terminal whose file system is filled, and its server."""

    def __init__(self, bench, images, name):
        self.bench, self.name = bench, name
        self.server = bench.serve(f"fill-{name}.log", "--option", PUNCHES_ONLY)
        bench.boot(server=self.server, images=bench.images_of(images))
        self.driver = Driver(bench.machine)
        picture, face = jpeg(PICTURE), jpeg(FACE)
        self.add_picture = f"DATA UPDATE USERPIC PIN={{}}\tSize={len(picture)}\tContent={picture}"
        self.add_face = f"DATA UPDATE BIOPHOTO PIN={{}}\tType=9\tSize={len(face)}\tContent={face}\tFormat=0"
        self.pictures, self.faces = [], [*range(1, FIRST_FACES + 1)]  # whose there are
        self.asked, self.punches, self.kept = 0, 0, {}

    def check(self):
        self.done(f"DATA UPDATE USERINFO PIN={pin}\tName=Full" for pin in range(1, PEOPLE + 1))
        self.done(map(self.add_face.format, self.faces))
        self.step("by the server", self.fill_by_server)
        self.step("by photos that it does not ask for", self.fill_by_unwanted_photos)
        self.ask_for_all_and_take_punches_only()
        self.step("by photos", self.fill_by_photos)
        self.step("by operations", self.fill_by_operations)
        self.step("by errors", self.fill_by_errors)
        self.step("by downloads", self.fill_by_downloads)
        self.step("by the server again", self.fill_by_server)
        self.step("by the terminal again", lambda: f"{self.fill_by_photos()}, {self.fill_by_operations()}")
        self.punch_without_server()
        self.deliver()

    def step(self, what, fill):
        """Fills the room by one kind; then punches are taken, and the server can delete."""
        begun = time.time()
        words, free = fill(), self.free()
        self.punch(AFTER_EACH)
        self.done([f"DATA DELETE BIOPHOTO PIN={self.faces.pop()}\tType=9"])
        self.bench.figure(f"{self.name} filled {what}", f"{words}; {free} KB free, {time.time() - begun:.0f} s")

    def fill_by_server(self):
        """Pictures, and where they find no room, faces, which are smaller."""
        pictures = self.command_until_refused(self.add_picture, self.pictures)
        faces = self.command_until_refused(self.add_face, self.faces)
        return f"{pictures} pictures of {PICTURE // 1000} kB, {faces} faces of {FACE // 1000} kB"

    def fill_by_unwanted_photos(self):
        taken = sum(self.driver.put("photo", self.photo(nth)) for nth in range(UNWANTED_PHOTOS))
        gone = self.driver.streams()["photos"]["dropped"]
        expect(taken == UNWANTED_PHOTOS, f"{UNWANTED_PHOTOS - taken} photos were refused, and older ones are there")
        expect(0 < gone < taken, f"{gone} of {taken} photos that the server does not ask for were deleted")
        return f"{taken} photos of {PHOTO // 1000} kB, {gone} deleted"

    def ask_for_all_and_take_punches_only(self):
        for table in TABLES:
            self.server.post("/faults", json.dumps({"on": f"upload:{table}", "times": 1_000_000, "act": "answer", "status": 503}))
        self.server.post("/handshake", ALL)
        before = len(self.server.requests("handshake"))
        self.done(["RELOAD OPTIONS"])
        wait("another handshake", lambda: len(self.server.requests("handshake")) > before)

    def fill_by_photos(self):
        taken = self.driver.put_until_refused("photo", lambda nth: self.photo(UNWANTED_PHOTOS + nth))
        return f"{taken} photos of {PHOTO // 1000} kB"

    @staticmethod
    def photo(nth):
        return {"pin": str(1 + nth), "data": jpeg(PHOTO)}

    def fill_by_operations(self):
        taken = self.driver.put_until_refused("operation", lambda _: {"op": 4} | {key: noise(TEXT) for key in ["who", "v1", "v2", "v3"]}, GROUP)
        return f"{taken} operations"

    def fill_by_errors(self):
        taken = self.driver.put_until_refused("error", lambda _: {"code": "D02E0001", "message": "made up", "additional": {"text": noise(ERROR)}})
        return f"{taken} errors of {ERROR // 750} kB"

    def fill_by_downloads(self):
        """The pictures make room for them."""
        self.done(f"DATA DELETE USERPIC PIN={pin}" for pin in self.pictures)
        self.pictures.clear()
        self.server.post("/files/file/fill.bin", chance.randbytes(FILE))
        files = self.command_until_refused("PutFile file/fill.bin\t/var/lib/punchd/files/{}.bin", [], FILE)
        return f"{files} files of {FILE // 1000} kB"

    def punch_without_server(self):
        """The most that can come: none of them goes up, and none makes room."""
        begun, free = time.time(), self.free()
        self.kept = {name: stream["pending"] for name, stream in self.driver.streams().items()}
        self.bench.machine.network(False)
        self.punch(AT_THE_END)
        self.bench.figure(f"{self.name}: {AT_THE_END} punches while the server is away", f"{time.time() - begun:.0f} s, {free - self.free()} KB")

    def deliver(self):
        """The server takes everything."""
        begun = time.time()
        self.bench.machine.network(True)
        self.server.delete("/faults")
        wait("all rows to go up", lambda: not any(stream["pending"] for stream in self.driver.streams().values()), 300)
        rows, there = self.server.get("/attlog"), self.server.get("/state")
        pins = sorted(int(row["pin"]) for row in rows for _ in range(row["times"]))
        expect(pins == list(range(FIRST, FIRST + self.punches)), f"{len(pins)} punches came, {self.punches} were taken")
        for name in ["photos", "operations", "errors"]:
            expect(there[name] >= self.kept[name], f"{self.kept[name]} {name} waited, {there[name]} came")
        words = ", ".join(f"{there[name]} {name}" for name in ["punches", "photos", "operations", "errors"])
        self.bench.figure(f"{self.name}: at the server in the end", f"{words}; {time.time() - begun:.0f} s")

    def command_until_refused(self, command, taken, done=0):
        """The server sends a command with 1, 2, … in it until one is refused for want of room. Those that are answered with `done` are added to `taken`."""
        before = len(taken)
        for first in itertools.count(max(taken, default=0) + 1, LIST):
            numbers = range(first, first + LIST)
            codes = self.carry_out(command.format(number) for number in numbers)
            expect({*codes} <= {done, NO_ROOM}, f"{command[:40]}… is answered with {codes}")
            taken += [number for number, code in zip(numbers, codes) if code == done]
            if NO_ROOM in codes:
                return len(taken) - before

    def done(self, commands):
        codes = self.carry_out(commands)
        expect(not any(codes), f"commands are answered with {codes}")

    def carry_out(self, commands):
        """What a list of commands is answered with."""
        ids = self.server.queue(*commands)
        self.asked += len(ids)
        wait("a list of commands to be answered", lambda: self.server.get("/state")["commands_answered"] >= self.asked)
        answers = {reply["id"]: reply["ret"] for reply in self.server.get("/replies")}
        return [answers[id] for id in ids]

    def punch(self, count):
        """So many punches of other people; none may be refused."""
        self.bench.machine.shell(f"driver {count} {GROUP * 2} 0 {FIRST + self.punches} >/run/taken 2>/run/refused", timeout=300)
        taken = self.bench.machine.number("wc -l </run/taken")
        expect(taken == count, f"{count - taken} of {count} punches were refused: {self.bench.machine.shell('head -n 1 /run/refused')}")
        self.punches += count

    def free(self):
        """KB of the disk that are free."""
        return self.bench.machine.number("df -k /var/lib/punchd | awk 'END {print $4}'")
