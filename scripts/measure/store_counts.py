"""Instructions of what drivers and the server ask most, with small and large stores: it shall not grow with the rows that it does not concern."""

import base64

import stores
from bench import punch, waited
from callgrind_run import CountedTerminal, instructions_of
from figures import Figure, number, once
from local_terminal import Driver, Failure

PUNCHES = [1_000, 100_000, 1_000_000]
UNCHECKED = 1_300_000  # punches of a store that is larger than 32 MiB
FEW_PEOPLE, MANY_PEOPLE = 1_000, 50_000  # with ten templates each
CALLS, WINDOWS = 20, 3  # are counted together; the least of so many counts: the others may have work of the terminal's own in them
LIMITS = {"punches": 2_000_000, "store_mib": 4096}  # so that no retention goes on


@once
def status(bench):
    """`status` while few or many rows wait."""
    few, many = PUNCHES[0], PUNCHES[-1]
    small, large = (calls(bench, stores.with_punches(bench, rows), rows, Call("status")) for rows in (few, many))
    return [
        Figure(f"instructions of status, {number(few)} rows pending", values=[small], goal="≤ 2 M", key="status"),
        Figure(
            f"instructions of status, {number(many)} rows pending",
            values=[large],
            floors=[small],
            floor_name=f"{number(few)} pending",
            goal="≤ 1.1 ×",
            key="status-large",
        ),
    ]


class Call:
    """What a driver calls: the parameters of its nth call with a store of a size, and how many rows an answer has."""

    def __init__(self, method, params=lambda nth, size: {}, rows=1):
        self.method, self.params, self.rows = method, params, rows


PUNCH = Call("punch", lambda nth, size: punch(nth))
EXPORT = Call("export", lambda nth, size: {"after": size // 2 - WINDOWS * CALLS - 2 + nth}, 500)  # a page
USER_GET = Call("user.get", lambda nth, size: {"pin": str(size // 2 + nth)})
USER_BY_CARD = Call("user.get", lambda nth, size: {"card": str(1_000_000 + size // 2 + nth)})
CHANGES = Call("changes", lambda nth, size: {"after": 6 * size + nth, "most": 30}, 30)  # in the middle of the templates
TEMPLATE = Call(
    "template.put",
    lambda nth, size: {"pin": str(size // 2 + nth), "kind": "fingerprint", "number": 1, "data": base64.b64encode(bytes(stores.TEMPLATE)).decode()},
)


@once
def with_punches(bench):
    """Calls that concern punches, with 1 000, 100 000 and 1 000 000 punches."""
    return compared(bench, [("a punch", "punch", PUNCH), ("a row of export", "export", EXPORT)], stores.with_punches, PUNCHES, "punches")


@once
def with_people(bench):
    """Calls that concern people, with few people and with 50 000, each with ten templates."""
    those = [
        ("user.get by PIN", "user-get", USER_GET),
        ("user.get by card", "user-card", USER_BY_CARD),
        ("a row of changes", "changes", CHANGES),
        ("template.put", "template", TEMPLATE),
    ]
    return compared(bench, those, stores.with_people, [FEW_PEOPLE, MANY_PEOPLE], "people")


def compared(bench, those, make, sizes, what):
    """A figure for each call and each size but the smallest, which is the floor."""
    measured = {}
    for size in sizes:
        store = make(bench, size)
        for name, _, call in those:
            measured[name, size] = calls(bench, store, size, call)
    return [
        Figure(
            f"instructions of {name}, {number(size)} {what}",
            values=[measured[name, size]],
            floors=[measured[name, sizes[0]]],
            floor_name=f"{number(sizes[0])} {what}",
            goal="≤ 1.1 ×",
            key=f"{key}-{size}",
        )
        for name, key, _ in those
        for size in sizes[1:]
    ]


@once
def acknowledgement(bench):
    """A row that goes up and is acknowledged, with the commits of both, while many others were acknowledged before."""
    measured = [acknowledged(bench, stores.with_punches(bench, size)) for size in PUNCHES]
    return [
        Figure(
            f"instructions of a punch, its upload and its acknowledgement, {number(size)} punches",
            values=[value],
            floors=[measured[0]],
            floor_name=f"{number(PUNCHES[0])} punches",
            goal="≤ 1.1 ×",
            key=f"acknowledgement-{size}",
        )
        for size, value in zip(PUNCHES[1:], measured[1:])
    ]


def acknowledged(bench, store):
    """Instructions of a punch that goes up at once. All punches of the store were acknowledged before."""
    store = stores.acknowledged(bench, store)
    server = bench.server(light=True, Delay=3600)
    counted = CountedTerminal(bench, server.url(), store=store, limits=LIMITS)
    waited(server.wait(lambda: server.of("poll"), 600), "a poll", counted.terminal)
    windows = []
    with Driver(counted.terminal) as driver:
        for nth in range(1 + WINDOWS * CALLS):
            driver.call("punch", punch(nth))
            waited(server.wait(lambda: server.row_count > nth and server.of("punches")[-1].answered, 60), "the punch", counted.terminal)
            if nth % CALLS == 0:
                driver.call("user.get", {"pin": "1"})  # is answered when the acknowledgement was stored
                windows.append(counted.count())
    counted.terminal.stop()
    return min(windows[1:]) / CALLS


@once
def start(bench):
    """From the start until drivers can connect. A store of up to 32 MiB is checked whole; a larger one shows what a start costs without."""
    few, checked, unchecked = PUNCHES[0], PUNCHES[-1], UNCHECKED
    small, with_check, without = (start_of(bench, stores.with_punches(bench, rows)) for rows in (few, checked, unchecked))
    by_sqlite = instructions_of(bench, "sqlite3", stores.with_punches(bench, checked), "PRAGMA quick_check(1)")
    return [
        Figure(
            f"instructions of a start, {number(unchecked)} punches, file not checked",
            values=[without],
            floors=[small],
            floor_name=f"{number(few)} punches",
            goal="≤ 1.2 ×",
            key="start",
        ),
        Figure(
            f"instructions of a start, {number(checked)} punches, file checked",
            values=[with_check],
            floors=[by_sqlite],
            floor_name="the check by the sqlite3 program",
            key="start-checked",
        ),
    ]


def start_of(bench, store):
    server = bench.server(refuses=["handshake"])
    counted = CountedTerminal(bench, server.url(), store=store, limits=LIMITS)
    counted.terminal.wait_until_ready()
    instructions = counted.count()
    counted.terminal.stop()
    return instructions


def calls(bench, store, size, call):
    """Instructions of a call for each row of its answer. The calls are made one after the other; the server takes no rows, and no poll comes meanwhile."""
    server = bench.server(refuses=["punches", "upload"], Delay=3600, ErrorDelay=3600)
    counted = CountedTerminal(bench, server.url(), store=store, limits=LIMITS)
    waited(server.wait(lambda: server.of("punches") and server.of("poll"), 600), "an upload and a poll", counted.terminal)
    first = counted.terminal.call(call.method, [call.params(0, size)], together=1)[0]["result"]  # and what only a first call does
    if call.method == "status" and first["streams"]["punches"]["pending"] != size:
        raise Failure(f"{first['streams']['punches']['pending']} rows are pending")
    counted.count()
    windows = []
    for window in range(WINDOWS):
        numbers = range(1 + window * CALLS, 1 + (window + 1) * CALLS)
        answers = counted.terminal.call(call.method, [call.params(nth, size) for nth in numbers], together=1)
        windows.append(counted.count())
    counted.terminal.stop()
    rows = [len(answer["result"].get("rows", [])) + len(answer["result"].get("templates", [])) for answer in answers if call.rows > 1]
    if any(count != call.rows for count in rows):
        raise Failure(f"pages of {call.method} have {rows} rows")
    return min(windows) / CALLS / call.rows
