"""Checks the form of a change log, and that its newest release is the one expected: changelog.py FILE VERSION [--nothing-unreleased]"""

import datetime
import re
import sys

KINDS = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]
NUMBER = r"(0|[1-9]\d*)"
RELEASE = re.compile(rf"\[{NUMBER}\.{NUMBER}\.{NUMBER}\] - (\d{{4}}-\d\d-\d\d)")


def main(path, version, *options):
    with open(path, encoding="utf-8") as file:
        faults = list(check(file.read(), version, "--nothing-unreleased" in options))
    for line, fault in faults:
        print(f"{path}:{line}: {fault}", file=sys.stderr)
    return 1 if faults else 0


def check(text, version, nothing_unreleased):
    """Each fault, with the number of its line."""
    is_head = True
    for number, line in enumerate(text.splitlines(), 1):
        is_head &= not line.startswith("## ")
        if is_head and line.startswith("### "):
            yield number, f"{line!r} is in no section"
        if re.match(r"(#{1,6}[^# ]|<<<<<<<|=======|>>>>>>>)", line):
            yield number, f"{line[:40]!r} is no heading, or what a merge left"
    unreleased, *releases = [*sections(text), (1, "no section", [])]
    if unreleased[1] != "[Unreleased]":
        yield unreleased[0], f"the first section is [Unreleased], not {unreleased[1]!r}"
        releases.insert(0, unreleased)
    elif nothing_unreleased:
        yield from ((number, "this is unreleased: give it a version") for number, line in unreleased[2] if not line.startswith("#"))
    known = []
    for number, title, lines in releases[:-1]:
        yield from check_kinds(lines)
        if not lines:
            yield number, "nothing stands in this release"
        release = RELEASE.fullmatch(title)
        if not release:
            yield number, f"{title!r} is not of the form [1.2.3] - 2026-12-31"
        elif not is_date(release[4]):
            yield number, f"{release[4]} is no date, or one to come"
        else:
            key = tuple(int(part) for part in release.groups()[:3])
            if known and not (key < known[-1][0] and release[4] <= known[-1][1]):
                yield number, "the newest release is first"
            known.append((key, release[4]))
    yield from check_kinds(unreleased[2])
    newest = ".".join(map(str, known[0][0])) if known else "none"
    if newest != version:
        yield releases[0][0], f"the newest release is {newest}, and Cargo.toml has {version}"


def sections(text):
    """The sections of `##`: number of the line and text of each heading, and the numbered lines below it that are not empty."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("## "):
            found.append((number, line.removeprefix("## "), []))
        elif line.strip() and found:
            found[-1][2].append((number, line))
    return found


def check_kinds(lines):
    """Each line stands below a kind, and each kind once in a section."""
    kinds = []
    for number, line in lines:
        if line.startswith("### "):
            kind = line.removeprefix("### ")
            if kind not in KINDS:
                yield number, f"{kind!r} is none of {', '.join(KINDS)}"
            elif kind in kinds:
                yield number, f"{kind} is in this section twice"
            kinds.append(kind)
        elif line.startswith("- ") and not kinds:
            yield number, "this line is of no kind"


def is_date(text):
    try:
        return datetime.date.fromisoformat(text) <= datetime.date.today() + datetime.timedelta(days=1)
    except ValueError:
        return False


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
