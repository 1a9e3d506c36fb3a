//! Faults of the configuration, and of the way from a command to the punchd that runs.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use super::document::{self, fits};
use crate::harness::{NOWHERE, Terminal};

/// A user that owns nothing; taken if the tests run as root, who may use every socket.
const NOBODY: u32 = 65_534;

#[test]
fn each_fault_of_the_configuration_has_the_words_of_the_document() {
    let base = "server = \"http://192.0.2.7:8081\"\nserial = \"MADE0001\"\n";
    let server = |url: &str| base.replace("http://192.0.2.7:8081", url);
    let and = |more: &str| format!("{base}{more}\n");
    let cases = [
        ("`…/iclock`", server("http://192.0.2.7:8081/iclock")),
        ("`…/iclock/cdata`", server("http://192.0.2.7:8081/iclock/cdata")),
        ("no scheme", server("192.0.2.7:8081")),
        ("a port that is none", server("http://192.0.2.7:80811")),
        ("a name that is none", server("http://my server:8081")),
        ("`CHANGE-ME`", base.replace("MADE0001", "CHANGE-ME")),
        ("a key that does not exist", and("sever = 1")),
        ("`https://` to the proxy", and("[proxy]\nurl = \"https://proxy:3128\"")),
        ("a proxy without a port", and("[proxy]\nurl = \"http://proxy\"")),
        ("a pin that is none", and("[tls]\npin = \"sha256/abc\"")),
        ("`cert` without `key`", and("[tls]\ncert = \"/etc/terminal.pem\"")),
    ];
    let rows = document::cells("Configuration");
    let documented: Vec<_> = rows.iter().map(|cells| &*cells[0]).collect();
    assert_eq!(cases.iter().map(|(name, _)| *name).collect::<Vec<_>>(), documented);
    let terminal = Terminal::prepare(NOWHERE, "");
    let directory = terminal.path("").display().to_string();
    let mut wrong = Vec::new();
    for ((name, text), cells) in cases.into_iter().zip(&rows) {
        let places = format!(
            "store = \"{directory}/punchd.db\"\nrun_dir = \"{directory}\"\nclock = \"own\"\n"
        );
        fs::write(terminal.path("punchd.toml"), format!("{places}{text}")).unwrap();
        let expected = format!("…{}", document::plain(&cells[1]));
        let said = error_of(&terminal.punchd(&["check"]));
        let doctor = found(terminal.command(&["doctor", "--json"]), "configuration");
        if ![&said, &doctor].iter().all(|said| fits(&expected, said, "")) {
            wrong.push(format!("{name}\n  {said}\n  {doctor}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn each_fault_on_the_way_to_the_running_punchd_has_the_words_of_the_document() {
    let mut terminal = Terminal::prepare(NOWHERE, "");
    let rows = document::rows("The running punchd");
    let documented: Vec<_> = rows.iter().map(|row| &*row.fault).collect();
    assert_eq!(documented, ["none runs", "no permission on the socket"]);
    let socket = terminal.path("run/driver.sock");
    for row in rows {
        let is_denied = row.fault == "no permission on the socket";
        if is_denied {
            terminal.run();
            fs::set_permissions(&socket, Permissions::from_mode(0o600)).unwrap();
        }
        let command = |arguments: &[&str]| {
            let mut command = terminal.command(arguments);
            if is_denied && rustix::process::getuid().is_root() {
                command.uid(NOBODY).gid(NOBODY);
            } else if is_denied {
                fs::set_permissions(&socket, Permissions::from_mode(0o000)).unwrap();
            }
            command
        };
        let status = command(&["status"]).stderr(Stdio::piped()).output().unwrap();
        let said = error_of(&status);
        let doctor = found(command(&["doctor", "--json"]), "punchd");
        let found = [("warning punchd".to_owned(), doctor)];
        let is_right = row.fits(&said, &found, &socket.display().to_string());
        assert!(is_right, "{}\n{said}\n{found:?}", row.fault);
    }
}

/// What a command says on standard error, in one line.
fn error_of(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).trim().replace('\n', " ")
}

/// What the doctor complains of in this check.
fn found(mut command: Command, check: &str) -> String {
    let output = command.stdout(Stdio::piped()).stderr(Stdio::null()).output().unwrap();
    let found: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let it = found.iter().find(|it| it["check"] == check).unwrap();
    let text = |key: &str| it[key].as_str().unwrap_or_default().replace('\n', " ");
    match it["remedy"].is_string() {
        true => format!("{}: {}", text("message"), text("remedy")),
        false => text("message").trim().to_owned(),
    }
}
