"""Checks the form of a change log, and that its newest release is the one expected: changelog.py FILE VERSION [--nothing-unreleased]"""

import datetime
import re
import sys

KINDS = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]
RELEASE = re.compile(r"\[(\d+)\.(\d+)\.(\d+)\] - (\d{4}-\d\d-\d\d)")


def main(path, version, *options):
    with open(path, encoding="utf-8") as file:
        faults = list(check(file.read(), version, "--nothing-unreleased" in options))
    for line, fault in faults:
        print(f"{path}:{line}: {fault}", file=sys.stderr)
    return 1 if faults else 0


def check(text, version, nothing_unreleased):
    """Each fault, with the number of its line."""
    releases, kinds, last = [], None, 0
    for number, line in enumerate(text.splitlines(), 1):
        heading = re.fullmatch(r"(#{2,3}) (.*)", line)
        if heading and heading[1] == "##":
            kinds = []
            release = RELEASE.fullmatch(heading[2])
            if heading[2] == "[Unreleased]":
                if last:
                    yield number, "[Unreleased] is the first section, and there is one"
            elif not release:
                yield number, f"{heading[2]!r} is neither [Unreleased] nor [1.2.3] - 2026-12-31"
            elif not is_date(release[4]):
                yield number, f"{release[4]} is no date"
            else:
                key = tuple(int(part) for part in release.groups()[:3])
                if releases and not (key < releases[-1][0] and release[4] <= releases[-1][1]):
                    yield number, "the newest release is first"
                releases.append((key, release[4]))
            last = number
        elif heading:
            if heading[2] not in KINDS:
                yield number, f"{heading[2]!r} is none of {', '.join(KINDS)}"
            elif kinds is None or heading[2] in kinds:
                yield number, f"{heading[2]} is in no release, or in one twice"
            else:
                kinds.append(heading[2])
        elif line.startswith("- ") and not releases and nothing_unreleased:
            yield number, "this is unreleased: give it a version"
    newest = ".".join(map(str, releases[0][0])) if releases else "none"
    if newest != version:
        yield last, f"the newest release is {newest}, and Cargo.toml has {version}"


def is_date(text):
    try:
        return bool(datetime.date.fromisoformat(text))
    except ValueError:
        return False


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
