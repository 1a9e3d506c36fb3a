//! Punches as CSV: `export` and `import`.

use crate::harness::{Terminal, second, server};

#[test]
fn punches_are_exported_and_imported_as_csv() {
    let server = server();
    let terminal = Terminal::start(&server, "");
    let mut driver = terminal.driver();
    for nth in 0..1199 {
        driver.punch(&nth.to_string(), &second(nth));
    }
    let seen = ["punch", "--pin", "1199", "--time", &second(1199), "--mask", "1"];
    let recorded = terminal.punchd(&[&seen[..], &["--temperature", "36.55"]].concat());
    assert!(recorded.status.success(), "{recorded:?}");
    let exported = terminal.punchd(&["export"]).stdout;
    let text = String::from_utf8(exported.clone()).unwrap();
    assert_eq!(text.lines().count(), 1201);
    assert_eq!(text.lines().nth(1), Some("0,2026-11-02 00:00:00,0,1,0,,"));
    assert_eq!(text.lines().last(), Some("1199,2026-11-02 00:19:59,0,0,0,1,36.6"));
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

#[test]
fn a_file_that_a_spreadsheet_saved_is_imported() {
    let mut terminal = Terminal::prepare("http://127.0.0.1:1", "");
    terminal.run();
    let file = terminal.path("punches.csv");
    let recorded = |output: &std::process::Output| -> String {
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout.clone()).unwrap()
    };
    let import = || terminal.punchd(&["import", file.to_str().unwrap()]);
    // A byte order mark, quoted fields, CRLF, no line end at the end.
    let text = "\u{feff}\"pin\",\"time\",\"status\",\"verify\",\"workcode\"\r\n\
                \"1001\",\"2026-11-02 08:00:00\",0,\"15\",\"\"\r\n\
                1002,2026-11-02 08:00:01,1,1,\"A7\"";
    std::fs::write(&file, text).unwrap();
    assert_eq!(recorded(&import()), "2 punches recorded\n");
    assert_eq!(
        String::from_utf8(terminal.punchd(&["export"]).stdout).unwrap(),
        "pin,time,status,verify,workcode,mask,temperature\n\
         1001,2026-11-02 08:00:00,0,15,0,,\n1002,2026-11-02 08:00:01,1,1,A7,,\n"
    );
    // The same by standard input, named or not.
    for arguments in [&["import"][..], &["import", "-"]] {
        let mut command = terminal.command(arguments);
        command.stdin(std::fs::File::open(&file).unwrap());
        let output = command.stdout(std::process::Stdio::piped()).output().unwrap();
        assert_eq!(recorded(&output), "2 punches recorded\n");
    }
    // What is wrong is named by its line, and nothing is recorded.
    let cases: [(&[u8], &str); 4] = [
        (b"pin;time;status;verify;workcode\r\n", "the first line is not pin,time,"),
        (b"pin,time,status,verify,workcode\n1,2026-11-02 08:00:00,0,1,\"0\n", "line 2: a quoted"),
        (b"pin,time,status,verify,workcode\r\n\r\n\"1\"x,,,,\r\n", "line 3: after the closing"),
        (b"pin,time,status,verify,workcode\n\xff\n", "this is not UTF-8 text"),
    ];
    for (bytes, message) in cases {
        std::fs::write(&file, bytes).unwrap();
        let output = import();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(65), "{output:?}");
        assert!(said.contains(message), "{output:?}");
        assert!(said.contains("punches.csv: "), "{output:?}");
    }
    assert_eq!(terminal.status()["punches"], 6);
}

#[test]
fn an_export_without_an_answer_prints_nothing() {
    // No punchd runs: a file with a header alone would look like one of a terminal without punches.
    let terminal = Terminal::prepare("http://127.0.0.1:1", "");
    let output = terminal.punchd(&["export"]);
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(69), &b""[..]));
}
