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
    releases, kinds, last, is_empty = [], None, 0, False
    for number, line in enumerate([*text.splitlines(), "## end"], 1):
        heading = re.fullmatch(r"(#{2,3}) (.*)", line)
        if re.match(r"(#{1,6}[^# ]|<<<<<<<|=======|>>>>>>>)", line):
            yield number, f"{line[:40]!r} is no heading, or what a merge left"
        if heading and heading[1] == "##":
            if is_empty:
                yield last, "nothing stands in this release"
            if heading[2] == "end" and number == len(text.splitlines()) + 1:
                break
            kinds = []
            is_empty = heading[2] != "[Unreleased]"
            release = RELEASE.fullmatch(heading[2])
            if heading[2] == "[Unreleased]":
                if last:
                    yield number, "[Unreleased] is the first section, and there is one"
            elif not release:
                yield number, f"{heading[2]!r} is neither [Unreleased] nor [1.2.3] - 2026-12-31"
            elif not is_date(release[4]):
                yield number, f"{release[4]} is no date, or one to come"
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
        elif line.strip() and kinds is not None:
            is_empty = False
            if line.startswith("- ") and not kinds:
                yield number, "this line is of no kind"
            if not releases and nothing_unreleased and not line.startswith("#"):
                yield number, "this is unreleased: give it a version"
    if "\n## [Unreleased]\n" not in text:
        yield 1, "there is no section [Unreleased]"
    newest = ".".join(map(str, releases[0][0])) if releases else "none"
    if newest != version:
        yield last, f"the newest release is {newest}, and Cargo.toml has {version}"


def is_date(text):
    try:
        return datetime.date.fromisoformat(text) <= datetime.date.today() + datetime.timedelta(days=1)
    except ValueError:
        return False


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
