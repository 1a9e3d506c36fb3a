//! The command line: what it takes, what it prints, the exit codes.

use std::process::Output;

use iclock_emulator::{Act, Fault, On};
use serde_json::json;

use crate::harness::{TIMEOUT, Terminal, copy_punchd, second, server, set_aside};

const COMMANDS: [&str; 12] = [
    "init",
    "run",
    "check",
    "status",
    "doctor",
    "quarantine",
    "export",
    "import",
    "punch",
    "card-reader",
    "relay",
    "help",
];

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The text before the program's end, which was a success.
fn done(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    stdout(output)
}

#[test]
fn a_wrong_command_line_ends_with_64_and_names_what_is_wrong() {
    let terminal = Terminal::prepare("http://127.0.0.1:1", "");
    for (line, message) in [
        ("", "a command is missing; see punchd --help"),
        ("fly", "there is no command \"fly\"; see punchd --help"),
        ("Run", "\"Run\""),
        ("--json", "--json"),
        ("--json status", "--json"),
        ("-x status", "-x"),
        ("status -c", "-c"),
        ("status --config", "--config"),
        ("--verbose=5 status", "--verbose"),
        ("run --json", "unknown option --json; see punchd help run"),
        ("run twice", "unexpected argument \"twice\""),
        ("run --set-aside-damaged-store=yes", "--set-aside-damaged-store"),
        ("check it", "\"it\""),
        ("check --json", "--json"),
        ("status --jso", "--jso"),
        ("status --json=1", "--json"),
        ("status all", "\"all\""),
        ("doctor all", "\"all\""),
        ("doctor --check", "unknown option --check; see punchd help doctor"),
        ("export a.csv", "\"a.csv\""),
        ("import a.csv b.csv", "\"b.csv\""),
        ("import --file a.csv", "--file"),
        ("punch", "--pin PIN is missing"),
        ("punch --status 1", "--pin PIN is missing"),
        ("punch 1001", "\"1001\""),
        ("punch --pin", "--pin"),
        ("punch --pin 1 --status in", "--status in is not a whole number from 0 to 255"),
        ("punch --pin 1 --status 256", "--status 256 is not a whole number from 0 to 255"),
        ("punch --pin 1 --verify 29", "--verify 29 is not a whole number from 0 to 28"),
        ("punch --pin 1 --verify=", "--verify"),
        ("punch --pin 1 --baud 1", "--baud"),
        ("quarantine throw", "\"throw\" is none of list, retry, drop; see punchd help quarantine"),
        ("quarantine drop all", "\"all\" after drop is not the number of a row"),
        ("quarantine drop 5 x 6", "\"x\""),
        ("quarantine drop retry", "\"retry\" after drop"),
        ("quarantine drop 0", "\"0\""),
        ("quarantine drop 5,6", "\"5,6\""),
        ("quarantine drop 99999999999999999999", "\"99999999999999999999\""),
        ("quarantine drop -5", "-5"),
        ("quarantine list 5", "row 5"),
        ("quarantine 5", "row 5"),
        ("quarantine drop --all", "--all"),
        ("card-reader", "DEVICE is missing"),
        ("card-reader x y", "\"y\""),
        ("card-reader x --baud 49", "--baud 49 is not a whole number from 50 to 4000000"),
        ("card-reader x --again 1.5", "--again 1.5"),
        ("card-reader x --pulse 1", "--pulse"),
        ("relay", "LINE is missing"),
        ("relay gpiochip0", "\"gpiochip0\""),
        ("relay gpiochip0:1 gpiochip0:2", "\"gpiochip0:2\""),
        ("relay file:/x --alarm 5", "--alarm"),
        ("relay gpiochip0:1 --pulse 9", "--pulse 9 is not a whole number from 10 to 600000"),
        ("relay gpiochip0:1 --hex", "--hex"),
        ("help fly", "there is no command \"fly\"; see punchd help help"),
        ("help run check", "\"check\""),
        ("help --json", "--json"),
        ("fly --help", "\"fly\""),
    ] {
        let output = terminal.punchd(&line.split_whitespace().collect::<Vec<_>>());
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(64), "{line}: {said}");
        assert!(said.starts_with("punchd: ") && said.contains(message), "{line}: {said}");
        assert!(said.contains("; see punchd ") && said.lines().count() == 1, "{line}: {said}");
        assert_eq!(stdout(&output), "", "{line}");
    }
}

#[test]
fn without_a_running_punchd_the_exit_code_is_69() {
    let terminal = Terminal::prepare("http://127.0.0.1:1", "");
    for line in ["status", "punch --pin 1", "export", "quarantine", "quarantine drop 5"] {
        let output = terminal.punchd(&line.split_whitespace().collect::<Vec<_>>());
        assert_eq!(output.status.code(), Some(69), "{line}: {output:?}");
        assert!(stderr(&output).contains("Is `punchd run` running"), "{line}: {output:?}");
    }
}

#[test]
fn without_permission_on_the_socket_the_exit_code_is_77() {
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::process::CommandExt as _;
    let mut terminal = Terminal::prepare("http://127.0.0.1:1", "[drivers]\nmode = \"0600\"\n");
    terminal.run();
    let is_root = rustix::process::getuid().is_root();
    let mut command = terminal.command(&["status"]);
    if is_root {
        // Nobody's program and configuration have to be readable to nobody.
        let program = terminal.path("program");
        copy_punchd(&program);
        command = std::process::Command::new(program);
        command.arg("-c").arg(terminal.path("punchd.toml")).arg("status").uid(65534).gid(65534);
    } else {
        let none = std::fs::Permissions::from_mode(0o0);
        std::fs::set_permissions(terminal.path("run/driver.sock"), none).unwrap();
    }
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(77), "{output:?}");
    assert!(stderr(&output).contains("no permission to use"), "{output:?}");
    assert!(!stderr(&output).contains("`punchd run`"), "{output:?}");
}

/// What a user who may not look everywhere gets to know, of a configuration that is good.
#[test]
fn what_this_user_may_not_look_at_is_a_warning() {
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::process::CommandExt as _;
    let terminal = Terminal::prepare("http://127.0.0.1:1", "");
    let closed = terminal.path("closed");
    std::fs::create_dir_all(closed.join("files")).unwrap();
    let (shown, run) = (closed.display(), terminal.path("run"));
    let text = format!(
        "server = \"http://127.0.0.1:1\"\nserial = \"A1\"\nstore = \"{shown}/punchd.db\"\nrun_dir = \
         {run:?}\n[commands]\nput_dirs = [\"{shown}/files\"]\n"
    );
    std::fs::write(terminal.path("punchd.toml"), text).unwrap();
    let program = terminal.path("program");
    copy_punchd(&program);
    let mode = |mode| std::fs::Permissions::from_mode(mode);
    let is_root = rustix::process::getuid().is_root();
    std::fs::set_permissions(&closed, mode(if is_root { 0o700 } else { 0 })).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = std::process::Command::new(&program);
        command.arg("-c").arg(terminal.path("punchd.toml")).args(arguments);
        if is_root {
            command.uid(65534).gid(65534);
        }
        command.output().unwrap()
    };
    let (check, doctor) = (run(&["check"]), run(&["doctor"]));
    std::fs::set_permissions(&closed, mode(0o700)).unwrap();
    let words = format!("[commands] put_dirs: this user may not look at {shown}/files\n");
    done(&check);
    assert!(stderr(&check).contains(&words), "{check:?}");
    let doctor = String::from_utf8(doctor.stdout).unwrap();
    let words = [
        format!("warning configuration {words}"),
        format!("warning store         cannot open the store {shown}/punchd.db: Permission denied"),
    ];
    for words in words {
        assert!(doctor.contains(&words), "{words}: {doctor}");
    }
    assert!(!doctor.contains("fault   configuration"), "{doctor}");
}

#[test]
fn check_names_the_first_value_that_cannot_be_used_or_all_else() {
    let check = |more: &str| {
        let terminal = Terminal::prepare("http://127.0.0.1:1/iclock", more);
        stderr(&terminal.punchd(&["check"]))
    };
    let missing = "[commands]\nput_dirs = [\"/no/put\"]\n";
    let both = check(missing);
    assert!(both.contains("/no/put") && both.contains("path of the protocol"), "{both}");
    let first = check(&format!("[limits]\npunches = 0\n[upload]\nrows = 0\n{missing}"));
    assert!(first.contains("rows = 0") && first.lines().count() == 1, "{first}");
}

#[test]
fn help_shows_the_options_of_each_command() {
    let terminal = Terminal::prepare("http://127.0.0.1:1", "");
    let version = done(&terminal.punchd(&["--version"]));
    let tls = if cfg!(feature = "tls") { "with TLS" } else { "without TLS" };
    assert!(version.starts_with(concat!("punchd ", env!("CARGO_PKG_VERSION"), " (")), "{version}");
    assert!(version.ends_with(&format!(", debug build, {tls})\n")), "{version}");
    let all = done(&terminal.punchd(&["help"]));
    assert_eq!(done(&terminal.punchd(&["--help"])), all);
    assert_eq!(done(&terminal.punchd(&["-h"])), all);
    assert!(all.contains("\n  -c, --config FILE ") && all.contains("\n  -V, --version "), "{all}");
    for code in ["64", "65", "66", "69", "71", "73", "77", "78"] {
        assert!(all.contains(&format!("\n  {code}  ")), "{code}: {all}");
    }
    for command in COMMANDS {
        assert!(all.contains(&format!("\n  {command} ")), "{command}: {all}");
        let page = done(&terminal.punchd(&["help", command]));
        assert_eq!(done(&terminal.punchd(&[command, "--help"])), page);
        assert!(page.starts_with(&format!("Usage: punchd {command}")), "{page}");
        assert!(page.contains("\n  -c, --config FILE "), "{page}");
    }
    let status = done(&terminal.punchd(&["help", "status"]));
    assert!(
        ["1 if", "0 if", "69 if", "77 if"].iter().all(|code| status.contains(code)),
        "{status}"
    );
    for (command, options) in [
        ("run", &["--set-aside-damaged-store"][..]),
        ("status", &["--json"]),
        ("doctor", &["--json"]),
        ("punch", &["--pin", "--time", "--status", "--verify", "--workcode"]),
        ("quarantine", &["list", "retry", "drop"]),
        ("card-reader", &["--again", "--status", "--hex", "--hex-reversed", "--baud"]),
        ("relay", &["--pulse", "--alarm", "--active-low"]),
    ] {
        let page = done(&terminal.punchd(&["help", command]));
        for option in options {
            assert!(
                page.contains(&format!("\n  {option} "))
                    || page.contains(&format!("\n  {option}\n")),
                "{option}: {page}"
            );
        }
    }
}

#[test]
fn several_rows_leave_quarantine_by_their_numbers() {
    let server = server();
    let refuse = Act::status(400, "bad row");
    server.fault(Fault::new(On::table("ATTLOG"), refuse).containing("bad\t").always());
    let terminal = Terminal::start(&server, "");
    terminal.wait_until_online();
    let mut driver = terminal.driver();
    let refused: Vec<String> = (0..4)
        .map(|nth| {
            let seq = driver.punch("bad", &second(2 * nth));
            driver.punch("good", &second(2 * nth + 1));
            terminal.wait_for("passed over", |status| {
                status["streams"]["punches"]["suspect"] == nth + 1
                    && status["streams"]["punches"]["pending"] == nth + 1
            });
            seq.to_string()
        })
        .collect();
    let shown = done(&terminal.punchd(&["status"]));
    assert!(shown.contains("\npunches     4 pending, 4 of them passed over\n"), "{shown}");
    let mut more = 0;
    set_aside(&server, &terminal, "punches", 4, || {
        driver.punch("good", &crate::harness::second(100 + more));
        more += 1;
    });
    terminal.wait_for("good ones sent", |status| status["streams"]["punches"]["pending"] == 0);
    let [first, second, third, fourth] = &refused[..] else { panic!("{refused:?}") };
    let numbers = || -> Vec<String> {
        let rows = terminal.status()["quarantine"].take();
        rows.as_array().unwrap().iter().map(|row| row["seq"].to_string()).collect()
    };

    let shown = done(&terminal.punchd(&["status"]));
    assert!(shown.contains("\npunches    0 pending, 4 in quarantine\n"), "{shown}");
    assert!(shown.contains(&format!("\nrefused    row {first} of the punches: ")), "{shown}");

    let output = terminal.punchd(&["quarantine", "drop", first, third]);
    assert_eq!(done(&output), "2 rows\n");
    assert_eq!(numbers(), [second.as_str(), fourth]);

    // What is not in quarantine is named, and does not keep the others from being dropped.
    let output = terminal.punchd(&["quarantine", "drop", "999998", second, first]);
    assert_eq!(output.status.code(), Some(66), "{output:?}");
    assert_eq!(stdout(&output), "1 row\n");
    let named = format!("punchd: not in quarantine: 999998, {first}; see punchd quarantine list\n");
    assert_eq!(stderr(&output), named);
    assert_eq!(numbers(), [fourth.as_str()]);

    // A word that is no number keeps all of them from being dropped.
    let output = terminal.punchd(&["quarantine", "drop", fourth, "x"]);
    assert_eq!(output.status.code(), Some(64), "{output:?}");
    assert_eq!(numbers(), [fourth.as_str()]);

    server.clear_faults();
    let output = terminal.punchd(&["quarantine", "retry", fourth, "999999"]);
    assert_eq!(output.status.code(), Some(66), "{output:?}");
    assert_eq!(stdout(&output), "1 row\n");
    assert!(server.wait_until(TIMEOUT, |received| received.attlog().len() as u32 == 5 + more));
    let bad = server.attlog().into_iter().filter(|row| row.record.pin == "bad");
    assert_eq!(bad.count(), 1);
    terminal.wait_for("empty", |status| status["quarantine"] == json!([]));
}

#[test]
fn status_for_people_is_aligned_and_begins_with_the_punches() {
    let mut terminal = Terminal::prepare("http://127.0.0.1:1", "");
    terminal.run();
    let mut driver = terminal.driver();
    driver.punch("1001", &second(1));
    driver.punch("1002", &second(2));
    let streams = |text: &str| -> Vec<String> {
        let shown = text.lines().filter(|line| line.contains("pending"));
        shown.filter(|line| !line.starts_with("replies")).map(str::to_owned).collect()
    };
    assert_eq!(
        streams(&done(&terminal.punchd(&["status"]))),
        [
            "punches    2 pending",
            "operations 1 pending",
            "nothing pending: card punches, card verifications, users, fingerprints, faces, finger veins, templates, \
             user pictures, comparison photos, identity cards, errors, photos, card photos",
        ]
    );
    // The longest name makes the column wider.
    let picture = json!({"pin": "1001", "kind": "comparison", "type": 9, "data": "/9j/2Q=="});
    driver.call("picture.put", picture).unwrap();
    let text = done(&terminal.punchd(&["status"]));
    assert_eq!(
        streams(&text),
        [
            "punches           2 pending",
            "operations        1 pending",
            "comparison photos 1 pending",
            "nothing pending: card punches, card verifications, users, fingerprints, faces, finger veins, templates, \
             user pictures, identity cards, errors, photos, card photos",
        ]
    );
    for line in text.lines().filter(|line| !line.starts_with("nothing pending: ")) {
        let (label, value) = line.split_at(18);
        assert!(label.ends_with(' ') && !value.starts_with(' '), "{text}");
    }
}
