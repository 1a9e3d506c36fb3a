//! `UPGRADE` (X5, X6): fetched, verified, handed to the owner's program, and confirmed by
//! what comes back.

use std::fs;
use std::time::Duration;

use iclock_emulator::{Act, Emulator, Fault, Kind, On, Received};
use md5::{Digest, Md5};
use serde_json::json;

use crate::harness::{
    TIMEOUT, Terminal, answer, base64, copy_punchd, noise, script, second, server, targets, until,
};

/// A terminal with a program that installs upgrades.
fn terminal(server: &Emulator, hook: &str, more: &str) -> Terminal {
    let mut terminal = Terminal::prepare(&server.url(), "");
    let path = terminal.path("hook");
    script(&path, hook);
    let upgrade = format!("[upgrade]\ncommand = [\"{}\", \"now\"]\n{more}", path.display());
    terminal.configure(&server.url(), &upgrade);
    terminal.run();
    terminal
}

/// The text of an `UPGRADE` of the second way.
fn upgrade(firmware: &[u8], url: &str) -> String {
    format!("UPGRADE type=1,{},size={},url={url}", checksum(firmware), firmware.len())
}

fn checksum(firmware: &[u8]) -> String {
    let digest = Md5::digest(firmware);
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("checksum={hex}")
}

fn starts(terminal: &Terminal) -> usize {
    terminal.log().matches("runs as").count()
}

#[test]
fn both_ways_bring_the_same_firmware_and_the_answer_comes_after_the_restart() {
    let server = server();
    let terminal = terminal(&server, "cp \"$2\" \"$0.got\"; echo \"$2\" > \"$0.name\"", "");
    let firmware = noise(700_001);
    let url = "http://192.168.0.13:89/data/emfw.cfg";
    server.serve_file("data/emfw.cfg", firmware.clone());
    let id = server.queue(&upgrade(&firmware, url));
    assert_eq!(answer(&server, &id).0, 0);
    assert!(fs::read(terminal.path("hook.got")).unwrap() == firmware);
    let name = fs::read_to_string(terminal.path("hook.name")).unwrap();
    assert!(name.trim().ends_with("/emfw.cfg"), "{name}");
    assert_eq!(starts(&terminal), 2);
    // The server's URL goes back to it as it came.
    let asked = targets(&server, "file");
    let parameter = "/iclock/file?SN=MADE0001&url=http%3A%2F%2F192.168.0.13%3A89%2Fdata%2Femfw.cfg";
    assert!(asked.iter().all(|target| target == parameter), "{asked:?}");

    // The first way: base64, with line ends as such encoders make them.
    fs::remove_file(terminal.path("hook.got")).unwrap();
    let text: Vec<u8> = base64(&firmware).into_bytes();
    let lines: Vec<&[u8]> = text.chunks(76).collect();
    server.serve_file("F20/emfw.cfg", lines.join(&b"\r\n"[..]));
    let way = format!("{},url=http://h/F20/emfw.cfg,size={}", checksum(&firmware), firmware.len());
    let id = server.queue(&format!("UPGRADE {way}"));
    assert_eq!(answer(&server, &id).0, 0);
    assert!(fs::read(terminal.path("hook.got")).unwrap() == firmware);
    assert_eq!(starts(&terminal), 3);
    assert_eq!(fs::read_dir(terminal.path("punchd.db.files")).unwrap().count(), 0);
    server.assert_strict();
}

/// A terminal that runs a copy of punchd, with a program that puts the fetched file in its
/// place: beside the old one first, as installers do it.
fn terminal_that_is_replaced(server: &Emulator) -> Terminal {
    let mut terminal = Terminal::prepare(&server.url(), "");
    let (hook, program) = (terminal.path("hook"), terminal.path("punchd"));
    copy_punchd(&program);
    let place = program.display();
    script(
        &hook,
        &format!("cp \"$1\" {place}.new && chmod 755 {place}.new && mv {place}.new {place}"),
    );
    terminal.configure(&server.url(), &format!("[upgrade]\ncommand = [\"{}\"]", hook.display()));
    terminal.run();
    terminal
}

/// The codes of all operations that were recorded so far, once they have reached the server.
fn operations(server: &Emulator, terminal: &Terminal) -> Vec<i64> {
    const MENU: i64 = 4;
    terminal.driver().call("operation", json!({"op": MENU})).unwrap();
    let codes = |received: &Received| -> Vec<i64> {
        received.oplog().iter().map(|row| row.record.op).collect()
    };
    assert!(server.wait_until(TIMEOUT, |received| codes(received).contains(&MENU)));
    server.received(codes)
}

#[test]
fn the_program_that_comes_back_is_the_new_one() {
    let server = server();
    let terminal = terminal_that_is_replaced(&server);
    let mut new = fs::read(env!("CARGO_BIN_EXE_punchd")).unwrap();
    new.extend_from_slice(b"what stands after the end of a program does it no harm");
    server.serve_file("emfw.cfg", new.clone());
    let id = server.queue(&upgrade(&new, "emfw.cfg"));
    assert_eq!(answer(&server, &id).0, 0);
    let runs = fs::read(format!("/proc/{}/exe", terminal.pid())).unwrap();
    assert!(runs == new);
    // It writes its log where the earlier one did.
    let log = terminal.log();
    assert_eq!(log.matches(" runs as MADE0001").count(), 2, "{log}");
    // Switched on, off for the upgrade, and on.
    assert_eq!(operations(&server, &terminal), [0, 1, 0, 4]);
    server.assert_strict();
}

#[test]
fn a_program_that_cannot_run_replaces_nothing() {
    let server = server();
    let terminal = terminal_that_is_replaced(&server);
    let broken = b"\x7fELF but no program".to_vec();
    server.serve_file("emfw.cfg", broken.clone());
    let id = server.queue(&upgrade(&broken, "emfw.cfg"));
    assert_eq!(answer(&server, &id).0, -3);
    fs::remove_file(terminal.path("punchd")).unwrap();
    assert_eq!(terminal.status()["online"], true);
    assert_eq!(starts(&terminal), 1);
    assert_eq!(operations(&server, &terminal), [0, 4]);
    server.assert_strict();
}

#[test]
fn drivers_are_served_while_the_new_program_hangs() {
    let server = server();
    let terminal = terminal_that_is_replaced(&server);
    let (asked, end) = (terminal.path("asked"), terminal.path("end"));
    // Asked for its version, it hangs until the test ends it; then it has no version.
    let hangs = format!(
        "#!/bin/sh\ntouch {}\nuntil [ -e {} ]; do sleep 0.02; done\nexit 1\n",
        asked.display(),
        end.display()
    );
    server.serve_file("emfw.cfg", hangs.clone());
    let id = server.queue(&upgrade(hangs.as_bytes(), "emfw.cfg"));
    until("the new program is started", || asked.exists(), || terminal.log());
    let mut driver = terminal.driver();
    // It hangs until these are answered.
    for nth in 0..21 {
        driver.punch("1", &second(nth));
    }
    fs::write(end, "").unwrap();
    assert_eq!(answer(&server, &id).0, -3);
    assert!(terminal.log().contains("its --version ended with status 1"), "{}", terminal.log());
    assert_eq!(operations(&server, &terminal), [0, 4]);
    server.assert_strict();
}

#[test]
fn an_upgrade_that_fails_says_so() {
    let server = server();
    let terminal = terminal(&server, "echo no room on the flash; exit 7", "seconds = 1");
    let firmware = noise(1000);
    server.serve_file("emfw.cfg", firmware.clone());
    let run = |text: &str| {
        let id = server.queue(text);
        answer(&server, &id).0
    };
    assert_eq!(run(&upgrade(&firmware, "1/emfw.cfg")), -3);
    assert!(terminal.log().contains("no room on the flash"));
    script(&terminal.path("hook"), "sleep 100");
    assert_eq!(run(&upgrade(&firmware, "2/emfw.cfg")), -1003);
    fs::remove_file(terminal.path("hook")).unwrap();
    assert_eq!(run(&upgrade(&firmware, "3/emfw.cfg")), -3);
    assert_eq!(starts(&terminal), 1);
    let sum = checksum(&firmware);
    for (text, code) in [
        (format!("UPGRADE type=1,{sum},size=1000"), -1),
        (format!("UPGRADE type=3,{sum},size=1000,url=emfw.cfg"), -1002),
        ("UPGRADE type=1,checksum=zz,size=1000,url=emfw.cfg".into(), -1),
        (format!("UPGRADE type=1,{sum},size=99999999999,url=emfw.cfg"), -1006),
        (format!("UPGRADE type=1,{sum},size=999,url=emfw.cfg"), -1006),
        // Not base64, where the first way is meant.
        (format!("UPGRADE {sum},size=1000,url=emfw.cfg"), -1008),
    ] {
        assert_eq!(run(&text), code, "{text}");
    }
    server.assert_strict();
}

#[test]
fn a_wrong_checksum_is_fetched_again_and_given_up() {
    let server = server();
    let terminal = terminal(&server, "touch \"$0.ran\"", "");
    let firmware = noise(1000);
    server.serve_file("emfw.cfg", firmware);
    let id = server.queue(&upgrade(&noise(1001)[1..], "emfw.cfg"));
    assert_eq!(answer(&server, &id).0, -1008);
    assert!(!terminal.path("hook.ran").exists());
    assert!(targets(&server, "file").len() <= 4);
    server.assert_strict();
}

#[test]
fn a_program_that_never_ends_is_tried_three_times() {
    let server = server();
    server.allow(Kind::CutShort);
    // As a program that reboots, again and again, without ever saying that it is done.
    let hook = "echo x >> \"$0.ran\"; kill -9 $PPID; sleep 100";
    let mut terminal = terminal(&server, hook, "");
    let firmware = noise(1000);
    server.serve_file("emfw.cfg", firmware.clone());
    let id = server.queue(&upgrade(&firmware, "emfw.cfg"));
    let mut ends = 0;
    while !server.wait_until(Duration::from_millis(50), |received| received.reply(&id).is_some()) {
        if terminal.has_ended() {
            ends += 1;
            terminal.run();
        }
    }
    assert_eq!((ends, answer(&server, &id).0), (3, -1003));
    assert_eq!(fs::read_to_string(terminal.path("hook.ran")).unwrap(), "x\nx\nx\n");
    server.assert_strict();
}

#[test]
#[ignore = "slow: twice a hundred megabytes"]
fn a_hundred_megabytes_come_through_twenty_cuts() {
    cuts(100 << 20, 10);
}

#[test]
fn eight_megabytes_come_through_six_cuts() {
    cuts(8 << 20, 3);
}

/// A `PutFile` and an `UPGRADE`, cut off by SIGKILL and by the server in turns.
fn cuts(size: usize, each: u32) {
    let server = server();
    server.allow(Kind::CutShort);
    let mut terminal = Terminal::prepare(&server.url(), "");
    let (hook, files) = (terminal.path("hook"), terminal.path("files"));
    fs::create_dir(&files).unwrap();
    script(&hook, "mv \"$1\" \"$0.got\"");
    let more = format!(
        "[upgrade]\ncommand = [\"{}\"]\n[commands]\nput_dirs = [\"{}\"]",
        hook.display(),
        files.display()
    );
    terminal.configure(&server.url(), &more);
    terminal.run();
    let content = noise(size);
    server.serve_file("large", content.clone());
    for (text, result, place) in [
        ("PutFile large\tlarge".to_owned(), size as i64, files.join("large")),
        (upgrade(&content, "large"), 0, terminal.path("hook.got")),
    ] {
        let before = server.received(|received| received.file_bytes());
        let id = server.queue(&text);
        for nth in 1..=each {
            let until = (size as u64) * u64::from(nth) / u64::from(each + 1);
            let far =
                |received: &iclock_emulator::Received| received.file_bytes() - before >= until;
            assert!(server.wait_until(TIMEOUT, far));
            terminal.kill();
            terminal.run();
            server.pause();
            terminal.wait_for("offline", |status| !status["trouble"].is_null());
            server.resume().unwrap();
        }
        let came =
            server.wait_until(Duration::from_secs(600), |received| received.reply(&id).is_some());
        assert!(came, "{text} was never answered");
        assert_eq!(answer(&server, &id).0, result);
        assert!(fs::read(place).unwrap() == content);
        let fetched = server.received(|received| received.file_bytes()) - before;
        let ratio = fetched as f64 / size as f64;
        println!("{size} bytes, {each} kills, {each} times no server: {ratio:.3} times fetched");
        // The goal is 1.1; of a small file a single chunk is more than that.
        let lost_pieces = u64::from(each) * 2 * (512 << 10);
        assert!(fetched <= size as u64 + lost_pieces.max(size as u64 / 10), "{ratio}");
    }
    server.assert_strict();
}

#[test]
fn an_upgrade_whose_installer_was_taken_away_ends() {
    let server = server();
    let mut terminal = terminal(&server, "", "");
    let firmware = noise(100);
    // The file comes only when the configuration is another.
    server.fault(Fault::new(On::file(), Act::status(503, "later")).always());
    let id = server.queue(&upgrade(&firmware, "emfw.cfg"));
    terminal.wait_for("fetching", |status| status["jobs"][0]["what"].is_string());
    terminal.configure(&server.url(), "");
    server.serve_file("emfw.cfg", firmware);
    terminal.kill();
    server.clear_faults();
    terminal.run();
    assert_eq!(answer(&server, &id).0, -1002);
    assert_eq!(starts(&terminal), 2);
}
