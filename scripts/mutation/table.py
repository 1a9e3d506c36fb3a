"""The table of mechanisms in docs/promises.md, each with the test that fails without it."""

import re
import threading
from dataclasses import dataclass
from pathlib import Path

ROW = re.compile(r"^\| (?P<promise>[^|]+) \| `(?P<file>src/[^`]+)` \| (?P<old>`+ ?.+? ?`+) → (?P<new>`+ ?.+? ?`+|nothing) \| `(?P<test>\w+)` \|$")


@dataclass(frozen=True)
class Row:
    """A mechanism: where it stands, what is put in its place, and the test that must fail then."""

    promise: str
    file: Path
    old: str
    new: str
    test: str

    def __str__(self):
        return f"{self.promise}: {self.file}: {self.old} → {self.new or 'nothing'} ({self.test})"


def rows(project):
    """The rows of the table. A row that is no row is an error."""
    text = (project / "docs" / "promises.md").read_text(encoding="utf-8")
    lines = text.split("\n## Mechanisms")[1].split("\n## ")[0].splitlines()
    lines = [line for line in lines if line.startswith("| ") and not line.startswith("| promise")]
    return [_row(project, line) for line in lines]


def _row(project, line):
    found = ROW.match(line)
    if not found:
        raise SystemExit(f"docs/promises.md: this is no row of the table: {line}")
    row = Row(found["promise"], Path(found["file"]), _code(found["old"]), _code(found["new"]), found["test"])
    count = (project / row.file).read_text(encoding="utf-8").count(row.old)
    if count != 1:
        raise SystemExit(f"docs/promises.md: {row.file} has {count} times and not once: {row.old}")
    return row


def _code(span):
    """What a code span holds. A `|` is escaped in tables."""
    return "" if span == "nothing" else span.strip("`").strip(" ").replace(r"\|", "|")


def repeat(trees, rows, at_once):
    """Takes out each mechanism. Returns how many rows are wrong."""
    # Without a change each test must pass.
    programs = trees[0].build()
    if programs is None:
        raise SystemExit(trees[0].complaint)
    wanted = [_named(trees[0], programs, row) for row in rows]
    failed = trees[0].first_failure(sorted(set(wanted)), at_once, lambda test: 600)
    if failed:
        raise SystemExit(f"{failed[1]} fails without any change")
    left, wrong, lock = list(rows), [], threading.Lock()

    def work(tree):
        while True:
            with lock:
                if not left:
                    return
                row = left.pop(0)
            what = _try(tree, row)
            with lock:
                print(f"{what or 'ok':15} {row}", flush=True)
                wrong.extend([row] if what else [])

    workers = [threading.Thread(target=work, args=(tree,)) for tree in trees]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    print(f"mutants: {len(rows) - len(wrong)} of {len(rows)} were noticed by the test that is named")
    return len(wrong)


def _named(tree, programs, row):
    """The test of a row, by the last part of its name."""
    found = [test for test in tree.tests(programs) if test[1].split("::")[-1] == row.test]
    if len(found) != 1:
        raise SystemExit(f"docs/promises.md: {len(found)} tests are named {row.test}")
    return found[0]


def _try(tree, row):
    """What is wrong with a row; None if its test fails as it should."""
    text = tree.read(row.file)
    tree.write(row.file, text.replace(row.old, row.new))
    try:
        programs = tree.build()
        if programs is None:
            return "DOES NOT BUILD"
        return "LIVED" if tree.run(_named(tree, programs, row), 600)[0] else None
    finally:
        tree.write(row.file, text)
