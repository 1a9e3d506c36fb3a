"""A copy of the project in which one thing at a time is changed, built and tested."""

import json
import os
import shutil
import signal
import subprocess
import time
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path

# The tests of the workspace's other crate know nothing of src/.
BUILD = ["cargo", "test", "--locked", "--no-run", "--message-format=json", "-p", "punchd"]
# How long a test may take, in seconds, if nobody knows how long it takes.
LONGEST = 300


class Tree:
    """A copy of what git knows of the project, with a target directory of its own."""

    def __init__(self, project: Path, place: Path):
        self.root, self.target = place / "tree", place / "build"
        self.root.mkdir(parents=True, exist_ok=True)
        names = subprocess.run(["git", "ls-files", "-z"], cwd=project, capture_output=True, check=True).stdout
        for name in filter(None, names.decode().split("\0")):
            self._copy(project / name, self.root / name)

    @staticmethod
    def _copy(old, new):
        """Copies a file unless it is the same: what is the same is not built again."""
        if old.is_file() and not (new.is_file() and new.read_bytes() == old.read_bytes()):
            new.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(old, new)

    def write(self, path, text):
        (self.root / path).write_text(text, encoding="utf-8")

    def read(self, path):
        return (self.root / path).read_text(encoding="utf-8")

    def build(self, **environment):
        """The programs that hold tests; None if the tree does not build."""
        # Nobody looks for a line in these programs: without debug information they are built in half the time.
        quick = {"CARGO_PROFILE_DEV_DEBUG": "0", "CARGO_PROFILE_TEST_DEBUG": "0"}
        environment = {**os.environ, "CARGO_TARGET_DIR": str(self.target), **quick, **environment}
        built = subprocess.run(BUILD, cwd=self.root, env=environment, capture_output=True, text=True, check=False)
        if built.returncode != 0:
            self.complaint = built.stdout + built.stderr
            return None
        messages = (json.loads(line) for line in built.stdout.splitlines() if line.startswith("{"))
        return [message["executable"] for message in messages if message.get("executable") and message["profile"]["test"]]

    def tests(self, programs):
        """All tests as (program, name)."""
        found = []
        for program in programs:
            listed = subprocess.run([program, "--list", "--format=terse"], cwd=self.root, capture_output=True, text=True, check=False)
            found += [(program, line.removesuffix(": test")) for line in listed.stdout.splitlines() if line.endswith(": test")]
        return found

    def run(self, test, longest=LONGEST, **environment):
        """Whether a test passes, and how many seconds it took. One that does not end fails."""
        begun = time.monotonic()
        child = subprocess.Popen(
            [test[0], "--exact", test[1], "--include-ignored"],
            cwd=self.root, env={**os.environ, **environment}, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            passed = child.wait(longest) == 0
        except subprocess.TimeoutExpired:
            passed = False
        try:
            os.killpg(child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        child.wait()
        return passed, time.monotonic() - begun

    def first_failure(self, tests, at_once, longest):
        """The first of the tests that fails, and fails again by itself; None if all pass. `longest`: seconds by test."""
        waiting, running = list(tests), {}
        with ThreadPoolExecutor(at_once) as pool:
            while waiting or running:
                while waiting and len(running) < at_once:
                    test = waiting.pop(0)
                    running[pool.submit(self.run, test, longest(test))] = test
                for done in wait(running, return_when=FIRST_COMPLETED).done:
                    test = running.pop(done)
                    if not done.result()[0] and not self.run(test, longest(test))[0]:
                        return test
        return None
