"""Which tests reach which function: each function writes its number to a file when it is called first."""

import json
from concurrent.futures import ThreadPoolExecutor

from rust_source import sources

NOTE = """
/// Writes the number of a function to the file that PUNCHD_REACH names, once.
pub fn reached(number: usize) {
    use std::io::Write as _;
    use std::sync::atomic::{AtomicBool, Ordering};
    static SEEN: [AtomicBool; 65536] = [const { AtomicBool::new(false) }; 65536];
    if !SEEN[number].swap(true, Ordering::Relaxed) {
        if let Some(path) = std::env::var_os("PUNCHD_REACH") {
            if let Ok(mut file) = std::fs::OpenOptions::new().append(true).create(true).open(path) {
                let _ = file.write_all(format!("{number}\\n").as_bytes());
            }
        }
    }
}
"""


def find(tree, place, at_once):
    """Runs each test alone. Returns functions as (file, name, number in the file) with the tests that reach them,
    and the seconds of each test. Kept in `place`, since it takes as long as all tests."""
    kept = place / "reach.json"
    if not kept.exists():
        kept.write_text(json.dumps(_find(tree, place, at_once, {})))
    return json.loads(kept.read_text())


def _find(tree, place, at_once, known):
    numbers, originals = [], {}
    for source in sources(tree.root):
        text = originals[source.path] = source.text
        crate = "::punchd" if str(source.path) == "src/main.rs" else "crate"
        for number, function in reversed(list(enumerate(source.functions))):
            text = f"{text[: function.body]} {crate}::reached({len(numbers)}); {text[function.body :]}"
            numbers.append(f"{source.path} {number}")
        tree.write(source.path, text + (NOTE if str(source.path) == "src/lib.rs" else ""))
    programs = tree.build()
    assert programs, tree.complaint
    tests = [test for test in tree.tests(programs) if test[1] not in known]
    (place / "reach").mkdir(exist_ok=True)

    def run(number):
        file = place / "reach" / str(number)
        file.unlink(missing_ok=True)
        passed, seconds = tree.run(tests[number], PUNCHD_REACH=str(file))
        # A test that makes writes short leaves parts of numbers.
        lines = file.read_text().split() if file.exists() else []
        reached = {numbers[int(line)] for line in lines if int(line) < len(numbers)}
        return passed, seconds, sorted(reached)

    with ThreadPoolExecutor(at_once) as pool:
        results = list(pool.map(run, range(len(tests))))
    # On a busy machine a test may need a second try.
    results = [result if result[0] else run(number) for number, result in enumerate(results)]
    for path, text in originals.items():
        tree.write(path, text)
    return {tests[number][1]: {"passed": passed, "seconds": seconds, "reached": reached} for number, (passed, seconds, reached) in enumerate(results)}
