"""Instructions of a program, counted by callgrind."""

import re
import subprocess
import sys
from pathlib import Path

from local_terminal import Failure

CALLGRIND = [sys.executable, str(Path(__file__).with_name("callgrind.py"))]


class CountedTerminal:
    """A terminal whose instructions are counted. `bench.terminal` takes `how`."""

    def __init__(self, bench, url, **how):
        self.out, self.dumps = bench.place / f"callgrind{bench.terminals}", 0
        self.terminal = bench.terminal(url, before=[*CALLGRIND, str(self.out)], **how)

    def count(self):
        """Instructions since the last count, or since the start."""
        self.dumps += 1
        subprocess.run(["vgdb", f"--pid={self.terminal.process.pid}", "dump"], check=True, capture_output=True)
        return total(self.out.with_name(f"{self.out.name}.{self.dumps}"))


def instructions_of(bench, *command):
    """Of a program that ends by itself."""
    out = bench.place / "callgrind-of-program"
    done = subprocess.run([*CALLGRIND, str(out), *map(str, command)], capture_output=True, text=True)
    if done.returncode:
        raise Failure(f"{command[0]} ended with {done.returncode}: {done.stderr[-500:]}")
    return total(out)


def total(path):
    return int(re.search(r"(?m)^(?:summary|totals): (\d+)", path.read_text())[1])
