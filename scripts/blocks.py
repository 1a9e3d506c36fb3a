#!/usr/bin/env python3
"""Runs the command blocks of the documents as they stand.

    scripts/blocks.py [DOCUMENT...]

Each ```sh block of README.md, CONTRIBUTING.md, docs/*.md and tests/emulator/README.md runs in a bash that ends at the first failure, in the
project's directory (those of README.md and CONTRIBUTING.md) or an empty one, those of a document one after the other, in a network of its own where
only 127.0.0.1 is. A block behind the line `<!-- not run: REASON -->` is passed over; REASON
says what runs it, or what it needs.
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
DOCUMENTS = [
    "README.md",
    "CONTRIBUTING.md",
    *sorted(str(path.relative_to(PROJECT)) for path in (PROJECT / "docs").rglob("*.md")),
    "tests/emulator/README.md",
]
LONGEST = 600  # seconds
BLOCK = re.compile(r"^(?:<!-- not run: (?P<why>[^\n]+) -->\n)?```sh\n(?P<text>.*?)^```$", re.M | re.S)


def run(text, programs, place, log):
    """Runs blocks in a directory; what they leave behind ends with them. The exit code."""
    script = f"set -e\nip link set lo up\n{text}"
    environment = os.environ | {"PATH": f"{programs}:{os.environ['PATH']}", "CURL_HOME": str(PROJECT / "tests/blocks"), "PUNCHD": str(PROJECT)}
    command = ["unshare", "--net", *([] if os.getuid() == 0 else ["--map-root-user"]), "bash", "-c", script]
    process = subprocess.Popen(command, cwd=place, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    try:
        return process.wait(LONGEST)
    except subprocess.TimeoutExpired:
        return f"none within {LONGEST} s"
    finally:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def main():
    if any(argument.startswith("-") for argument in sys.argv[1:]):
        print(__doc__.strip())
        sys.exit(0 if sys.argv[1] in ("-h", "--help") else 64)
    programs = Path(os.environ.get("CARGO_TARGET_DIR", "target")).absolute() / "release"
    ran = passed = failed = 0
    for document in sys.argv[1:] or DOCUMENTS:
        text = (PROJECT / document).read_text()
        blocks = list(BLOCK.finditer(text))
        texts = [block["text"] for block in blocks if not block["why"]]
        passed += len(blocks) - len(texts)
        if not texts:
            continue
        with tempfile.TemporaryFile() as log, tempfile.TemporaryDirectory() as scratch:
            place = PROJECT if "/" not in document else scratch
            code = run("".join(f"(\nset -ex\n{text})\n" for text in texts), programs, place, log)
            ran += len(texts)
            if code != 0:
                failed += 1
                log.seek(0)
                print(f"{document}: exit code {code}\n{log.read().decode(errors='replace')}")
    print(f"blocks: {ran} ran, {failed} documents failed, {passed} are run by others or need what is not here")
    sys.exit(1 if failed else 0)


main()
