"""Large stores, made once with Python's sqlite3 from a store that punchd made, and kept below target/ for the next run.

A row that punchd wrote is copied with other numbers, so that the rows look as this version writes them. The name of a store has the digest of the
schema in it: another schema gets stores of its own.
"""

import contextlib
import hashlib
import shutil
import sqlite3
import sys

from bench import punch

TEMPLATE = 512  # bytes


def with_punches(bench, count):
    """A store with one person and so many punches that no server has."""
    return kept(bench, f"punches-{count}", lambda db: add_punches(db, count))


def with_people(bench, people, templates=10):
    """A store with so many people with so many fingerprints each, which the server knows, and one punch."""
    return kept(bench, f"people-{people}-{templates}", lambda db: add_people(db, people, templates))


def acknowledged(bench, store):
    """A copy for this round, all of whose punches the server has."""
    path = bench.place / "acknowledged.db"
    shutil.copy(store, path)
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("INSERT OR REPLACE INTO cursor (stream, sent) SELECT 'punch', max(seq) FROM punch")
        db.commit()
    return path


def kept(bench, name, fill):
    """The path of a store, which is made if it is not there."""
    base = bench.place / "base.db"
    terminal = bench.terminal("http://127.0.0.1:9")
    terminal.call("user.put", [{"pin": "1", "name": "Made up", "card": "1000001"}])
    terminal.call("punch", [punch(0)])
    terminal.stop()
    (terminal.place / "punchd.db").rename(base)
    with contextlib.closing(sqlite3.connect(base)) as db:
        schema = "\n".join(sql for (sql,) in db.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name"))
    path = bench.kept / f"{name}-{hashlib.sha256(schema.encode()).hexdigest()[:8]}.db"
    if not path.exists():
        print(f"   making {path.name}", file=sys.stderr, flush=True)
        db = sqlite3.connect(base, isolation_level=None)
        for statement in "PRAGMA journal_mode = MEMORY", "PRAGMA synchronous = OFF", "BEGIN":
            db.execute(statement)
        fill(db)
        db.execute("COMMIT")
        db.execute("PRAGMA journal_mode = WAL")
        db.close()
        base.rename(path)
    return path


def add_punches(db, count):
    copy(db, "punch", count - 1, {"seq": "(SELECT max(seq) FROM punch) + n", "pin": "1 + n % 500", "time": "time + 7 * n"})


def add_people(db, people, templates):
    """The numbers of changes go on behind those that are there."""
    first = db.execute("SELECT max(changed) FROM user").fetchone()[0]
    copy(db, "user", people - 1, {"pin": "1 + n", "card": "1000001 + n", "changed": f"{first} + n", "local": "0"})
    fields = {"kind": 0, "type": 1, "idx": 0, "valid": 1, "duress": 0, "major": 0, "minor": 0, "format": 0, "local": 0, "is_new": 0}
    first += people
    db.execute(
        f"WITH RECURSIVE counting(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM counting WHERE n + 1 < ?)"
        f" INSERT INTO template (pin, number, changed, data, {', '.join(fields)})"
        f" SELECT 1 + n / {templates}, n % {templates}, {first} + n, randomblob({TEMPLATE}), {', '.join(map(str, fields.values()))} FROM counting",
        [people * templates],
    )


def copy(db, table, count, changes):
    """Adds so many copies of the table's one row, in which columns are expressions of n = 1, 2, … and of the row."""
    columns = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
    values = ", ".join(str(changes.get(column, column)) for column in columns)
    db.execute(
        f"WITH RECURSIVE counting(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counting WHERE n < ?)"
        f" INSERT INTO {table} ({', '.join(columns)}) SELECT {values} FROM counting CROSS JOIN (SELECT * FROM {table} LIMIT 1) WHERE n <= ?",
        [count, count],
    )
