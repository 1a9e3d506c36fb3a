"""Changes drawn at random, and whether some test notices each."""

import json
import random
import threading

import reach
from changes import changes
from rust_source import sources
from tree import LONGEST, Tree

# Fails if the text of a row of docs/promises.md is changed, whatever the change does.
COMPARES_THE_TABLE = "documents::each_mechanism_of_the_table_stands_once_in_its_file"


def draw(project, count, seed):
    """`count` changes: of lines with the same chance each, so of files by their size."""
    lines = {}
    for source in sources(project):
        for change in changes(source):
            lines.setdefault((source.path, source.line(change.start)), []).append((source, change))
    chance = random.Random(seed)
    return [chance.choice(lines[line]) for line in chance.sample(sorted(lines), count)]


class Sample:
    """Trials of changes, by some workers with a tree each."""

    def __init__(self, project, place, workers, at_once, most):
        self.place, self.at_once, self.most = place, at_once, most
        self.trees = [Tree(project, place / str(number)) for number in range(workers)]
        self.known = reach.find(self.trees[0], place, at_once * workers)
        self.lock = threading.Lock()

    def run(self, drawn, report):
        """Tries each change; `report(source, change, what)` is called with the test that failed, None, or "does not build"."""
        drawn = list(drawn)

        def work(tree):
            while True:
                with self.lock:
                    if not drawn:
                        return
                    source, change = drawn.pop(0)
                what = self.trial(tree, source, change)
                with self.lock:
                    report(source, change, what)

        workers = [threading.Thread(target=work, args=(tree,)) for tree in self.trees]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

    def trial(self, tree, source, change):
        """What happens with one change."""
        tree.write(change.path, change.applied(source.text))
        try:
            programs = tree.build()
            if programs is None:
                return "does not build"
            return self.caught(tree, programs, source, change)
        finally:
            tree.write(change.path, source.text)

    def caught(self, tree, programs, source, change):
        """The name of the test that fails; None if none of those that come by does."""
        function = source.function_at(change.start)
        if function:
            wanted = {f"{source.path} {source.functions.index(function)}"}
        else:
            wanted = {f"{source.path} {number}" for number in range(len(source.functions))}
        near = str(source.path.with_suffix("")).removeprefix("src/").replace("/", "::").removesuffix("::mod")
        tests = []
        for test in tree.tests(programs):
            if test[1] == COMPARES_THE_TABLE:
                continue
            known = self.known.get(test[1])
            # What is known of no test, or reaches nothing (it reads the sources), is tried as well.
            if known is None or (known["passed"] and (not known["reached"] or wanted & set(known["reached"]) or not source.functions)):
                tests.append(test)
        seconds = lambda test: (self.known.get(test[1]) or {}).get("seconds", LONGEST)
        tests.sort(key=seconds)
        beside = [test for test in tests if test[1].startswith(near)]
        tests = (beside + _spread([test for test in tests if test not in beside]))[: self.most]
        failed = tree.first_failure(tests, self.at_once, lambda test: 60 + 4 * seconds(test))
        return failed[1] if failed else None


def _spread(tests):
    """The same tests, the first of each module before the second of any."""
    seen, places = {}, {}
    for test in tests:
        module = test[1].rsplit("::", 1)[0]
        places[test] = seen[module] = seen.get(module, -1) + 1
    return sorted(tests, key=places.get)


def as_line(source, change, what):
    """A trial as one line of JSON."""
    shown = {"file": str(change.path), "line": source.line(change.start), "old": change.old, "new": change.new}
    return json.dumps({**shown, "caught": what}, ensure_ascii=False)
