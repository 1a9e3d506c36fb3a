//! `punchd init`: a first terminal, in a directory of its own, and what is refused.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::harness::{RawServer, options, says, until};

/// A directory that is removed with its test, and the program in it.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let directory = format!("punchd-init-{}-{name}", std::process::id());
        let directory = std::env::temp_dir().join(directory);
        fs::create_dir_all(&directory).unwrap();
        Self(directory)
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_punchd"));
        command.args(line.split_whitespace()).current_dir(&self.0).stdin(Stdio::null());
        command
    }

    fn punchd(&self, line: &str) -> Output {
        self.command(line).output().unwrap()
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap().map(Result::unwrap);
        let mut names: Vec<_> = entries.map(|it| it.file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn said(output: &Output) -> String {
    let Output { stdout, stderr, .. } = output;
    [stdout, stderr].map(|text| String::from_utf8_lossy(text)).concat()
}

#[test]
fn a_terminal_in_this_directory_needs_nothing_but_a_server() {
    let server = RawServer::start(|request| match request {
        request if request.is_handshake() => options(""),
        request if request.is_poll() => says(200, "OK"),
        request => says(200, format!("OK:{}", request.lines().len())),
    });
    let place = Place::new("here");
    let written = place.punchd(&format!("init --here --server {}", server.url()));
    assert!(written.status.success(), "{written:?}");
    assert_eq!(
        said(&written),
        "punchd.toml: terminal TEST0001; start it with: punchd -c punchd.toml run\n"
    );
    assert_eq!(place.names(), ["files", "punchd.toml"]);
    let text = fs::read_to_string(place.0.join("punchd.toml")).unwrap();
    assert!(text.contains("\nclock = \"own\"\n"), "{text}");
    let checked = place.punchd("-c punchd.toml check");
    assert!(checked.status.success(), "{checked:?}");
    let mut running = place.command("-c punchd.toml run").stderr(Stdio::null()).spawn().unwrap();
    let punch = || place.punchd("-c punchd.toml punch --pin 1001").status.success();
    until("recorded", punch, String::new);
    let came = || server.requests().iter().any(|it| it.is_upload("ATTLOG"));
    until("uploaded", came, || said(&place.punchd("-c punchd.toml status")));
    running.kill().unwrap();
    running.wait().unwrap();
    // Everything is in the directory.
    for name in place.names() {
        assert!(
            name.starts_with("punchd.") || ["files", "driver.sock"].contains(&&name[..]),
            "{name}"
        );
    }
    // What is there stays.
    let again = place.punchd("init --here --serial OTHER1");
    assert_eq!(again.status.code(), Some(73), "{again:?}");
    assert!(said(&again).contains("punchd.toml is there already, and stays as it is"), "{again:?}");
    assert_eq!(fs::read_to_string(place.0.join("punchd.toml")).unwrap(), text);
}

#[test]
fn a_configuration_of_a_device_has_a_server_and_a_serial() {
    let place = Place::new("device");
    let written = place.punchd("-c own.toml init --server https://h:8443/x --serial MADE0007");
    assert!(written.status.success(), "{written:?}");
    let text = fs::read_to_string(place.0.join("own.toml")).unwrap();
    let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(lines, ["server = \"https://h:8443/x\"", "serial = \"MADE0007\""]);
    assert_eq!(place.names(), ["own.toml"]);
}

#[test]
fn config_names_the_file_of_a_terminal_in_this_directory() {
    let place = Place::new("named");
    let written = place.punchd("init --here -c own.toml");
    assert!(said(&written).contains("start it with: punchd -c own.toml run"), "{written:?}");
    assert_eq!(place.names(), ["files", "own.toml"]);
    assert!(place.punchd("-c own.toml check").status.success());
}

#[test]
fn a_password_is_for_the_owner_alone() {
    let place = Place::new("secret");
    let written = place.punchd("init --here --server http://ann:s3cret@h");
    assert!(written.status.success() && !said(&written).contains("s3cret"), "{written:?}");
    let mode = fs::metadata(place.0.join("punchd.toml")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // Nothing is written where there is no room for its directory.
    let other = Place::new("no-room");
    fs::write(other.0.join("files"), "").unwrap();
    assert_eq!(other.punchd("init --here").status.code(), Some(73));
    assert_eq!(other.names(), ["files"]);
}

#[test]
fn a_file_that_cannot_be_written_whole_is_not_left() {
    let place = Place::new("full");
    let punchd = env!("CARGO_BIN_EXE_punchd");
    let line = format!("trap '' XFSZ; ulimit -f 0; exec {punchd} init --here");
    let output = Command::new("sh").args(["-c", &line]).current_dir(&place.0).output().unwrap();
    assert_eq!(output.status.code(), Some(73), "{output:?}");
    assert!(said(&output).contains("punchd.toml: File too large"), "{output:?}");
    assert_eq!(place.names(), ["files"]);
    assert!(place.punchd("init --here").status.success());
}

#[test]
fn what_cannot_be_used_is_not_written() {
    let place = Place::new("refused");
    let deep = place.0.join("d".repeat(120));
    fs::create_dir(&deep).unwrap();
    for (directory, line, code, message) in [
        (&place.0, "init", 64, "--server URL is missing; see punchd help init"),
        (&place.0, "init --server http://h", 64, "--serial SERIAL is missing"),
        (&place.0, "init --here --server ftp://h", 64, "nothing is written: punchd.toml: "),
        (&place.0, "init --here --serial A\"B", 64, "serial"),
        (&place.0, "init --here --serial CHANGE-ME", 64, "serial is still"),
        (&place.0, "init --here --server http://h/iclock/cdata", 64, "ends with a path of the"),
        (&place.0, "init --here now", 64, "\"now\""),
        (&place.0, "-c no/x.toml init --server http://h --serial S", 73, "no/x.toml: No such file"),
        (&deep, "init --here", 64, "run_dir: the path of driver.sock"),
    ] {
        let output = place.command(line).current_dir(Path::new(directory)).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{line}: {output:?}");
        assert!(said(&output).contains(message), "{line}: {output:?}");
    }
    assert_eq!(place.names().len(), 1);
    assert_eq!(fs::read_dir(deep).unwrap().count(), 0);
}

#[test]
fn the_serial_number_may_stand_in_a_file() {
    let place = Place::new("serial");
    let file = place.0.join("serial");
    let configure = |keys: &str| {
        let directory = place.0.display();
        let text = format!(
            "server = \"http://h\"\n{keys}store = \"{directory}/x.db\"\nrun_dir = \"{directory}\"\n"
        );
        fs::write(place.0.join("punchd.toml"), text).unwrap();
        place.punchd("-c punchd.toml check")
    };
    let from_file = format!("serial_file = {:?}\n", file.display().to_string());
    let both = format!("serial = \"A1\"\n{from_file}");
    for (content, keys, message) in [
        (Some("MADE0009\n"), &from_file[..], "terminal MADE0009 of http://h"),
        (Some(" MADE0009 \0"), &from_file, "terminal MADE0009 of"),
        (Some("MADE0009\nand more"), &from_file, "terminal MADE0009 of"),
        (Some(""), &from_file, "serial: serial \"\" does not have 1 to 32"),
        (Some("a b"), &from_file, "serial \"a b\" does not have"),
        (Some("CHANGE-ME"), &from_file, "CHANGE-ME"),
        (
            None,
            &from_file,
            "serial: No such file or directory (os error 2): write the serial number into it",
        ),
        (None, "", "one of `serial` and `serial_file` is needed"),
        (None, &both, "one of `serial` and `serial_file` is needed"),
    ] {
        let _ = fs::remove_file(&file);
        if let Some(content) = content {
            fs::write(&file, content).unwrap();
        }
        let output = configure(keys);
        let expected = if message.starts_with("terminal") { 0 } else { 78 };
        assert_eq!(output.status.code(), Some(expected), "{content:?} {keys}: {output:?}");
        assert!(said(&output).contains(message), "{content:?} {keys}: {output:?}");
    }
}
