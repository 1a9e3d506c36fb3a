"""scripts/mutants: takes mechanisms out, one at a time, and looks whether a test notices."""

import argparse
import sys
import time
from pathlib import Path

import sample
import table
from tree import Tree

PROJECT = Path(__file__).resolve().parents[2]
PLACE = PROJECT / "target" / "mutants"


def main():
    parser = argparse.ArgumentParser(prog="scripts/mutants", description=__doc__.split(": ")[1])
    parser.add_argument("--sample", type=positive, metavar="N", help="instead of the table: N changes drawn at random")
    parser.add_argument("--seed", type=int, default=1, help="of the sample (1)")
    parser.add_argument("--list", action="store_true", help="show what would be tried")
    parser.add_argument("--only", metavar="TEXT", help="those whose file, change or test contains TEXT")
    parser.add_argument("--workers", type=positive, default=2, help="copies of the tree that are built at the same time (2)")
    parser.add_argument("--at-once", type=positive, default=4, help="tests that run at the same time in each (4)")
    parser.add_argument("--most", type=positive, default=10_000, help="of the tests that reach a change, run so many at most")
    options = parser.parse_args()
    PLACE.mkdir(parents=True, exist_ok=True)
    return try_sample(options) if options.sample else try_table(options)


def positive(text):
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("1 or more")
    return number


def try_table(options):
    """Each row of docs/promises.md: the tests that it names must fail."""
    rows = [row for row in table.rows(PROJECT) if not options.only or options.only in str(row)]
    if not rows:
        sys.exit(f"no row of docs/promises.md has {options.only!r} in its file, change or test")
    if options.list:
        print(*rows, sep="\n")
        return 0
    trees = [Tree(PROJECT, PLACE / str(number)) for number in range(options.workers)]
    return 1 if table.repeat(trees, rows, options.at_once) else 0


def try_sample(options):
    """As many changes as wanted that build. Says what lived; ends with 0."""
    drawn = [(source, change) for source, change in sample.draw(PROJECT, options.sample, options.seed)]
    drawn = [pair for pair in drawn if not options.only or options.only in str(pair[1])]
    if options.list:
        for source, change in drawn:
            print(sample.as_line(source, change, ""))
        return 0
    results = PLACE / f"sample-{options.seed}.jsonl"
    # What lived is tried again: there may be a new test.
    known = [line for line in results.read_text().splitlines() if not line.endswith("null}")] if results.exists() else []
    counts = {"caught": 0, "lived": 0, "does not build": 0}
    begun = time.monotonic()

    def report(source, change, what):
        counts["lived" if what is None else "does not build" if what == "does not build" else "caught"] += 1
        line = sample.as_line(source, change, what)
        with results.open("a") as file:
            file.write(line + "\n")
        print(f"{time.monotonic() - begun:6.0f} s  {line}", flush=True)

    known = {line.rsplit(', "caught"', 1)[0] for line in known}
    left = [pair for pair in drawn if sample.as_line(*pair, None).rsplit(', "caught"', 1)[0] not in known]
    sample.Sample(PROJECT, PLACE, options.workers, options.at_once, options.most).run(left, report)
    print(counts)
    return 0


if __name__ == "__main__":
    sys.exit(main())
