//! Upgrades that the owner signed: what is refused before a program sees it, and the trial of a new program.

use std::fs;
use std::io::Cursor;
use std::path::Path;
use std::time::Duration;

use iclock_emulator::{Emulator, Kind};
use md5::{Digest, Md5};
use minisign::KeyPair;
use serde_json::json;

use crate::harness::{Driver, TIMEOUT, Terminal, answer, second, server, targets, until};

/// Seconds that a new program has to run here, and within which it has to reach the server.
pub const TRIAL: &str = "probation_seconds = 1\nconnect_seconds = 4";

/// The owner, who signs.
pub struct Owner(KeyPair);

impl Owner {
    pub fn new() -> Self {
        Self(KeyPair::generate_unencrypted_keypair().unwrap())
    }

    fn public_key(&self) -> String {
        self.0.pk.to_base64()
    }

    fn sign(&self, file: &[u8], comment: &str) -> String {
        let signature = minisign::sign(None, &self.0.sk, Cursor::new(file), Some(comment), None);
        signature.unwrap().into_string()
    }

    /// A file with its signature at its end.
    pub fn signed(&self, file: &[u8]) -> Vec<u8> {
        [file, self.sign(file, &comment()).as_bytes()].concat()
    }
}

/// A comment that fits: this program's own version and target.
fn comment() -> String {
    format!("version:{} target:{}", env!("CARGO_PKG_VERSION"), target())
}

fn target() -> String {
    let version =
        std::process::Command::new(env!("CARGO_BIN_EXE_punchd")).arg("--version").output();
    let text = String::from_utf8(version.unwrap().stdout).unwrap();
    text.split(['(', ',']).nth(1).unwrap().to_owned()
}

pub fn upgrade(file: &[u8], url: &str) -> String {
    let sum: String = Md5::digest(file).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("UPGRADE type=1,checksum={sum},size={},url={url}", file.len())
}

/// A terminal of this owner that runs a copy of punchd, with more lines in `[upgrade]`.
pub fn terminal(server: &Emulator, owner: &Owner, more: &str) -> Terminal {
    let mut terminal = Terminal::prepare(&server.url(), "");
    terminal.copy_program();
    configure(&terminal, server, owner, more);
    terminal.run();
    terminal
}

fn configure(terminal: &Terminal, server: &Emulator, owner: &Owner, more: &str) {
    let key = owner.public_key();
    terminal
        .configure(&server.url(), &format!("[upgrade]\npublic_key = \"{key}\"\n{TRIAL}\n{more}"));
}

/// This punchd, with bytes behind its end that nobody reads.
pub fn another(mark: &str) -> Vec<u8> {
    [&fs::read(env!("CARGO_BIN_EXE_punchd")).unwrap(), mark.as_bytes()].concat()
}

/// A program that can use every configuration, and runs this shell line; `$REAL` is a punchd that works.
pub fn script(line: &str) -> Vec<u8> {
    let real = env!("CARGO_BIN_EXE_punchd");
    format!("#!/bin/sh\ncase $1 in check) exit 0 ;; esac\nREAL={real}\n{line}\n").into_bytes()
}

/// Serves a file and asks for its installation. Returns the id of the command.
pub fn offer(server: &Emulator, file: &[u8]) -> String {
    server.serve_file("emfw.cfg", file.to_vec());
    server.queue(&upgrade(file, "emfw.cfg"))
}

/// The same, and waits for the answer. Returns its code.
fn install(server: &Emulator, file: &[u8]) -> i64 {
    answer(server, &offer(server, file)).0
}

pub fn has_program(terminal: &Terminal, expected: &[u8]) -> bool {
    fs::read(terminal.path("punchd")).unwrap() == expected
}

/// Nothing of an upgrade is left but what `status` says.
pub fn assert_as_before(terminal: &Terminal, why: &str) {
    assert!(has_program(terminal, &another("")), "the program is another");
    assert!(!terminal.path("punchd.new").exists(), "a program is left");
    let status = terminal.wait_for("online", |status| status["online"] == true);
    assert_eq!(status["jobs"], serde_json::json!([]));
    let reason = status["upgrade_failed"].as_str().unwrap_or_default();
    assert!(reason.contains(why), "{reason:?} does not say {why:?}");
    assert!(status["attention"].to_string().contains(why), "{}", status["attention"]);
    assert!(status["audit"][0]["what"].to_string().contains(why), "{}", status["audit"][0]);
    assert!(terminal.log().contains(why), "{}", terminal.log());
}

#[test]
fn a_signed_program_takes_the_place_of_the_old_one_after_its_trial() {
    let server = server();
    let owner = Owner::new();
    let terminal = terminal(&server, &owner, "");
    // Its signature is at its end, and no byte of that is in what runs.
    let new = another("new");
    assert_eq!(install(&server, &owner.signed(&new)), 0);
    assert!(has_program(&terminal, &new));
    let runs = fs::read(format!("/proc/{}/exe", terminal.pid())).unwrap();
    assert!(runs == new, "another program runs");
    assert!(fs::read(terminal.path("punchd.old")).unwrap() == another(""));
    assert!(!terminal.path("punchd.new").exists());
    assert_eq!(terminal.status()["upgrade_failed"], serde_json::Value::Null);

    // And beside the file, at its URL.
    let newer = another("newer");
    let url = "http://192.168.0.13:89/data/emfw.cfg";
    server.serve_file("data/emfw.cfg", newer.clone());
    server.serve_file("data/emfw.cfg.minisig", owner.sign(&newer, &comment()));
    let id = server.queue(&upgrade(&newer, url));
    assert_eq!(answer(&server, &id).0, 0);
    assert!(has_program(&terminal, &newer));
    let asked = targets(&server, "file");
    assert!(asked.last().unwrap().ends_with("emfw.cfg.minisig"), "{asked:?}");
    server.assert_strict();
}

#[test]
fn what_the_owner_did_not_sign_is_seen_by_no_program() {
    let server = server();
    let owner = Owner::new();
    // A signature is asked for that is not there.
    server.allow(Kind::UnknownPath);
    let ran = |terminal: &Terminal| terminal.path("ran").exists();
    let terminal = terminal(&server, &owner, "");
    // Whoever runs it can be seen.
    let program = format!("#!/bin/sh\ntouch {}\n", terminal.path("ran").display()).into_bytes();
    let sign = |comment: &str| [&program[..], owner.sign(&program, comment).as_bytes()].concat();
    let signed = owner.signed(&program);
    let mut changed = signed.clone();
    changed[12] ^= 1;
    let with_other_comment = String::from_utf8(signed.clone()).unwrap();
    let version = format!("version:{}", env!("CARGO_PKG_VERSION"));
    let with_other_comment = with_other_comment.replace(&version, "version:9.9.9").into_bytes();
    let end = signed.len();
    let of_another_file = [&program[..], owner.sign(b"another", &comment()).as_bytes()].concat();
    let too_old = format!("version:0.0.9 target:{}", target());
    let for_another = format!("{version} target:m68k-unknown-linux-gnu");
    for (what, file, why) in [
        ("no signature", program.clone(), "it is not signed"),
        ("another's", Owner::new().signed(&program), "another key"),
        ("changed after it was signed", changed, "does not fit"),
        ("another file's signature", of_another_file, "does not fit"),
        ("a comment that was changed", with_other_comment, "does not fit"),
        ("a comment without a version", sign(&format!("target:{}", target())), "version:N.N.N"),
        ("a comment without a target", sign(&version), "target"),
        ("older than what runs", sign(&too_old), "older than"),
        ("for another machine", sign(&for_another), "m68k"),
        ("cut within the signature", signed[..end - 40].to_vec(), "cannot be read"),
        ("cut by a line", signed[..end - 90].to_vec(), "it is not signed"),
        ("bytes behind the signature", [&signed[..], b"more"].concat(), "it is not signed"),
    ] {
        assert_eq!(install(&server, &file), -3, "{what}");
        assert!(!ran(&terminal), "{what}: a program ran");
        assert_as_before(&terminal, why);
    }
    // A signature beside the file that is none, too long, or another file's.
    for (what, signature, why) in [
        ("nonsense", b"untrusted".to_vec(), "cannot be read"),
        ("a megabyte", vec![b'u'; 1 << 20], "2048 are allowed"),
        ("another's", Owner::new().sign(&program, &comment()).into_bytes(), "another key"),
    ] {
        server.serve_file("emfw.cfg.minisig", signature);
        assert_eq!(install(&server, &program), -3, "{what}");
        assert!(!ran(&terminal), "{what}: a program ran");
        assert_as_before(&terminal, why);
    }
    server.assert_strict();
}

#[test]
fn a_file_that_changes_after_its_check_is_not_installed() {
    let server = server();
    server.allow(Kind::CutShort);
    let owner = Owner::new();
    let mut terminal = Terminal::prepare(&server.url(), "");
    let hook = terminal.path("hook");
    // It has no time to end.
    crate::harness::script(&hook, "echo x >> \"$0.ran\"; sleep 100");
    let command = format!("command = [\"{}\"]", hook.display());
    configure(&terminal, &server, &owner, &command);
    terminal.run();
    let file = owner.signed(b"an image");
    let id = offer(&server, &file);
    until("the owner's program runs", || terminal.path("hook.ran").exists(), || terminal.log());
    terminal.kill();
    let files = fs::read_dir(terminal.path("punchd.db.files")).unwrap();
    let dir = files.flatten().map(|entry| entry.path()).find(|path| path.is_dir()).unwrap();
    assert_eq!(fs::read(dir.join("emfw.cfg")).unwrap(), b"an image");
    fs::write(dir.join("emfw.cfg"), b"an imagf").unwrap();
    terminal.run();
    assert_eq!(answer(&server, &id).0, -3);
    assert_eq!(fs::read_to_string(terminal.path("hook.ran")).unwrap(), "x\n");
    assert!(terminal.log().contains("does not fit"), "{}", terminal.log());
}

#[test]
fn the_owners_program_gets_what_was_signed_and_may_leave_a_program_to_be_tried() {
    let server = server();
    let owner = Owner::new();
    let mut terminal = Terminal::prepare(&server.url(), "");
    terminal.copy_program();
    let hook = terminal.path("hook");
    let install =
        "[ $PUNCHD_UPGRADE_SIGNED = 1 ]; cp \"$1\" $PUNCHD_TRIAL; chmod 755 $PUNCHD_TRIAL";
    crate::harness::script(&hook, install);
    configure(&terminal, &server, &owner, &format!("command = [\"{}\"]", hook.display()));
    terminal.run();
    let new = another("new");
    assert_eq!(install_signed(&server, &owner, &new), 0);
    assert!(has_program(&terminal, &new));
    assert!(terminal.log().contains("stood its trial"), "{}", terminal.log());
}

pub fn install_signed(server: &Emulator, owner: &Owner, file: &[u8]) -> i64 {
    install(server, &owner.signed(file))
}

#[test]
fn what_stands_in_the_place_of_the_new_program_is_no_harm() {
    let server = server();
    let owner = Owner::new();
    let terminal = terminal(&server, &owner, "");
    let place = terminal.path("punchd.new");
    // What is left of an earlier upgrade.
    fs::write(&place, "half a program").unwrap();
    let new = another("new");
    assert_eq!(install_signed(&server, &owner, &new), 0);
    assert!(has_program(&terminal, &new));
    // What cannot be removed.
    fs::create_dir_all(place.join("full")).unwrap();
    assert_eq!(install_signed(&server, &owner, &another("newer")), -3);
    let reason = terminal.status()["upgrade_failed"].to_string();
    assert!(reason.contains("punchd.new cannot be written"), "{reason}");
    assert!(has_program(&terminal, &new));
}

#[test]
fn of_two_upgrades_at_once_the_second_comes_after_the_first() {
    let server = server();
    let owner = Owner::new();
    let terminal = terminal(&server, &owner, "");
    let files = [another("one"), another("two")];
    let ids: Vec<String> = files
        .iter()
        .enumerate()
        .map(|(nth, file)| {
            let file = owner.signed(file);
            server.serve_file(&format!("{nth}"), file.clone());
            server.queue(&upgrade(&file, &nth.to_string()))
        })
        .collect();
    assert_eq!(answer(&server, &ids[1]).0, 0);
    assert_eq!(answer(&server, &ids[0]).0, 0);
    assert!(has_program(&terminal, &files[1]));
    assert!(fs::read(terminal.path("punchd.old")).unwrap() == files[0]);
}

#[test]
fn an_older_program_is_installed_where_the_owner_allows_it() {
    let server = server();
    let owner = Owner::new();
    let terminal = terminal(&server, &owner, "downgrade = \"allow\"");
    let old = another("old");
    let comment = format!("version:0.0.9 target:{}", target());
    let file = [&old[..], owner.sign(&old, &comment).as_bytes()].concat();
    assert_eq!(install(&server, &file), 0);
    assert!(has_program(&terminal, &old));
}

#[test]
fn a_program_that_does_not_stand_its_trial_is_taken_back_and_no_punch_is_lost() {
    let server = server();
    server.allow(Kind::CutShort);
    let owner = Owner::new();
    let terminal = terminal(&server, &owner, "");
    // A configuration of the same store with a server that is not there.
    let elsewhere = fs::read_to_string(terminal.path("punchd.toml")).unwrap();
    let elsewhere = elsewhere.replace(&server.url(), "http://127.0.0.1:9");
    fs::write(terminal.path("elsewhere.toml"), elsewhere).unwrap();
    let other = terminal.path("elsewhere.toml");
    let mut nth = 0;
    for (what, program, why) in [
        ("cannot start", script("exit 3"), "it ended with status 3"),
        ("is killed at once", script("kill -11 $$"), "it was killed by signal 11"),
        (
            "falls over while it works",
            script("(sleep 0.7; kill -9 $$) & exec $REAL \"$@\""),
            "it was killed by signal 9",
        ),
        (
            "does not reach the server",
            script(&format!("exec $REAL -c {} run", other.display())),
            "no exchange with the server",
        ),
        ("cannot use the configuration", b"#!/bin/sh\nexit 78\n".to_vec(), "its check"),
        ("is no program", b"\x7fELF but no program".to_vec(), "cannot"),
    ] {
        let file = owner.signed(&program);
        let id = offer(&server, &file);
        let mut pins = Vec::new();
        let answered = || server.received(|received| received.reply(&id).is_some());
        // Punches go on: a driver connects again, as drivers do, and sends what was not answered.
        while !answered() {
            nth += 1;
            let pin = nth.to_string();
            if try_punch(&terminal, &pin, &second(nth)) {
                pins.push(pin);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(answer(&server, &id).0, -3, "{what}");
        assert_as_before(&terminal, why);
        assert!(!pins.is_empty(), "{what}: no punch was answered");
        let arrived = |received: &iclock_emulator::Received| {
            pins.iter().all(|pin| received.attlog().iter().any(|row| row.record.pin == *pin))
        };
        assert!(server.wait_until(TIMEOUT, arrived), "{what}: punches are lost");
    }
    server.assert_strict();
}

#[test]
fn a_store_that_the_new_program_brought_to_a_later_version_is_read_by_the_old_one() {
    let server = server();
    server.allow(Kind::CutShort);
    let owner = Owner::new();
    let terminal = terminal(&server, &owner, "");
    terminal.driver().punch("1", &second(1));
    let (asked, go) = (terminal.path("asked"), terminal.path("go"));
    let line = format!(
        "touch {}; until [ -e {} ]; do sleep 0.02; done; exit 1",
        asked.display(),
        go.display()
    );
    let file = owner.signed(&script(&line));
    let id = offer(&server, &file);
    until("the new program runs", || asked.exists(), || terminal.log());
    // What a later version does to the store, and a punch that it answers.
    let db = rusqlite::Connection::open(terminal.path("punchd.db")).unwrap();
    db.execute_batch(
        "BEGIN; ALTER TABLE punch ADD COLUMN later TEXT; CREATE TABLE later (x ANY);
         INSERT INTO punch (seq, pin, time, status, verify, workcode, later)
            SELECT max(seq) + 1000, '2', max(time), 0, 1, '0', 'x' FROM punch;
         PRAGMA user_version = 8; COMMIT;",
    )
    .unwrap();
    drop(db);
    fs::write(go, "").unwrap();
    assert_eq!(answer(&server, &id).0, -3);
    assert_as_before(&terminal, "it ended with status 1");
    terminal.driver().punch("3", &second(3));
    let has = |received: &iclock_emulator::Received, pin: &str| {
        received.attlog().iter().any(|row| row.record.pin == pin)
    };
    let all =
        |received: &iclock_emulator::Received| ["1", "2", "3"].iter().all(|pin| has(received, pin));
    assert!(server.wait_until(TIMEOUT, all), "punches are lost");
}

#[test]
fn the_network_is_not_the_new_programs_fault() {
    for (away_for_long, code) in [(false, -3), (true, 0)] {
        let server = server();
        server.allow(Kind::CutShort);
        let owner = Owner::new();
        let terminal = terminal(&server, &owner, "");
        let (asked, go) = (terminal.path("asked"), terminal.path("go"));
        let check = format!(
            "touch {}; until [ -e {} ]; do sleep 0.02; done",
            asked.display(),
            go.display()
        );
        let real = env!("CARGO_BIN_EXE_punchd");
        let new =
            format!("#!/bin/sh\ncase $1 in check) {check}; exit 0 ;; esac\nexec {real} \"$@\"\n");
        let file = owner.signed(new.as_bytes());
        let id = offer(&server, &file);
        until("the new program is asked", || asked.exists(), || terminal.log());
        // The network is away before it starts.
        server.pause();
        fs::write(go, "").unwrap();
        let is_back = || terminal.log().contains("no exchange with the server");
        until("the old program is back", is_back, || terminal.log());
        if away_for_long {
            // More than a third of connect_seconds.
            std::thread::sleep(Duration::from_secs(3));
        }
        server.resume().unwrap();
        assert_eq!(answer(&server, &id).0, code, "{}", terminal.log());
        match away_for_long {
            true => assert!(has_program(&terminal, new.as_bytes()), "it was not installed"),
            false => assert_as_before(&terminal, "the program before it has at once"),
        }
    }
}

#[test]
fn a_kill_at_any_moment_of_an_upgrade_leaves_one_program_and_one_answer() {
    for after in [
        "size and MD5 are right",
        "checks the configuration",
        "is on trial: start",
        "has reached the server",
        "stood its trial",
    ] {
        let server = server();
        server.allow(Kind::CutShort);
        let owner = Owner::new();
        let mut terminal = terminal(&server, &owner, "");
        let new = another("new");
        let file = owner.signed(&new);
        let id = offer(&server, &file);
        until(after, || terminal.log().contains(after), || terminal.log());
        terminal.kill();
        terminal.run();
        assert_eq!(answer(&server, &id).0, 0, "killed when it said {after:?}: {}", terminal.log());
        assert!(has_program(&terminal, &new), "{after}");
        let replies = server.replies().into_iter().filter(|reply| reply.id == id);
        assert_eq!(replies.count(), 1, "{after}");
        server.assert_strict();
    }
}

#[test]
fn a_trial_that_a_person_stops_goes_on_with_the_next_start() {
    let server = server();
    let owner = Owner::new();
    let mut terminal = terminal(&server, &owner, "");
    let new = another("new");
    let file = owner.signed(&new);
    let id = offer(&server, &file);
    let reached = || terminal.log().contains("has reached the server");
    until("the trial", reached, || terminal.log());
    terminal.stop();
    assert!(!is_running(&terminal.path("punchd.new")), "the new program runs on");
    terminal.run();
    assert_eq!(answer(&server, &id).0, 0);
    assert!(has_program(&terminal, &new));
}

/// Records a punch, if anybody answers.
pub fn try_punch(terminal: &Terminal, pin: &str, time: &str) -> bool {
    let driver = Driver::try_connect(&terminal.path("run/driver.sock"));
    let punch = json!({"pin": pin, "time": time, "verify": 1});
    driver.and_then(|mut driver| driver.try_call("punch", &punch)).is_some_and(|done| done.is_ok())
}

/// Whether a process runs this file.
fn is_running(program: &Path) -> bool {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|entry| fs::read_link(entry.path().join("exe")).ok())
        .any(|exe| exe == program)
}
