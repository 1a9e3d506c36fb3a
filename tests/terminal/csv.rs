//! Punches as CSV: `export` and `import`.

use crate::harness::{Terminal, second, server};

#[test]
fn punches_are_exported_and_imported_as_csv() {
    let server = server();
    let terminal = Terminal::start(&server, "");
    let mut driver = terminal.driver();
    for nth in 0..1200 {
        driver.punch(&nth.to_string(), &second(nth));
    }
    let exported = terminal.punchd(&["export"]).stdout;
    let text = String::from_utf8(exported.clone()).unwrap();
    assert_eq!(text.lines().count(), 1201);
    assert_eq!(text.lines().nth(1), Some("0,2026-11-02 00:00:00,0,1,0"));
    // Another terminal records the same.
    let other_server = crate::harness::server();
    let other = Terminal::start(&other_server, "");
    std::fs::write(other.path("punches.csv"), &exported).unwrap();
    let file = other.path("punches.csv");
    let done = other.punchd(&["import", file.to_str().unwrap()]);
    assert_eq!(String::from_utf8_lossy(&done.stdout), "1200 punches recorded\n", "{done:?}");
    assert_eq!(other.punchd(&["export"]).stdout, exported);
    // A file with one bad line changes nothing.
    std::fs::write(&file, text.replace("7,2026-11-02 00:00:07", "7,2026-11-32 00:00:07")).unwrap();
    let refused = other.punchd(&["import", file.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(65));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("line 9: time"), "{refused:?}");
    assert_eq!(other.status()["punches"], 1200);
}
