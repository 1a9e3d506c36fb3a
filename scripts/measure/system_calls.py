"""System calls of a terminal, by strace; and what they write to the store, in blocks of the file system."""

import itertools
import re

from bench import BLOCK

WRITING = "pwrite64,write,fdatasync,fsync,ftruncate"
CALL = re.compile(r"^\d+ +(\w+)\((?:\d+<([^>]*)>)?")
PWRITE = re.compile(r", (\d+)(?:, (\d+))?\) += (\d+)$")


class TracedTerminal:
    """A terminal whose system calls are written to a file, all of them or those of `calls`. `bench.terminal` takes `how`."""

    def __init__(self, bench, url, calls=None, **how):
        self.out = bench.place / f"strace{bench.terminals}"
        # -D: punchd keeps the process number that was started, strace is its child.
        command = ["strace", "-D", "-f", "-y", "-s", "48", "-o", str(self.out)] + (["--seccomp-bpf", "-e", f"trace={calls}"] if calls else [])
        self.terminal, self.read_up_to = bench.terminal(url, before=command, **how), 0

    def lines(self):
        """What was called since this was asked for last."""
        with open(self.out, encoding="utf-8", errors="replace") as file:
            file.seek(self.read_up_to)
            text = file.read()
            self.read_up_to += len(text.encode())
        return [line for line in text.splitlines() if CALL.match(line)]


class Writes:
    """What some calls wrote to the store."""

    def __init__(self, lines):
        self.bytes = self.blocks = self.commits = self.checkpoints = 0
        since_sync = {}
        for line in lines:
            name, path = CALL.match(line).groups()
            if not path or not re.search(r"punchd\.db(-wal)?$", path):
                continue
            wal = path.endswith("-wal")
            if name == "pwrite64" and (size := PWRITE.search(line)):
                length, offset = int(size[1]), int(size[2] or 0)
                self.bytes += length
                since_sync.setdefault(path, set()).update(range(offset // BLOCK, (offset + length - 1) // BLOCK + 1))
            elif name in ("fdatasync", "fsync"):
                blocks = len(since_sync.pop(path, ()))
                self.blocks += blocks
                self.commits += wal and blocks > 0
                self.checkpoints += not wal
        self.blocks += sum(map(len, since_sync.values()))


def between(lines, marker):
    """The lines from each one with the marker until the next such line; what stands before the first and from the last on is left out."""
    places = [nth for nth, line in enumerate(lines) if marker in line]
    return [lines[begin:end] for begin, end in itertools.pairwise(places)]


def names(lines):
    """How often each call was made, the most frequent first."""
    counts = {}
    for line in lines:
        name = CALL.match(line)[1]
        counts[name] = counts.get(name, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: -item[1]))
