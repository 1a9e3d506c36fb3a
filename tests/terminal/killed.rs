//! SIGKILL at random moments, under punches and commands: nothing lost, nothing done twice.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use iclock_emulator::{Emulator, Kind, Received, Repeat};
use serde_json::json;

use crate::harness::{Driver, TIMEOUT, Terminal, noise, script, second, server};

/// A small generator; the moments differ from kill to kill, not from run to run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

#[test]
#[ignore = "slow: a hundred kills"]
fn a_hundred_kills_lose_nothing_and_double_nothing_but_what_was_cut() {
    kills(100);
}

#[test]
fn five_kills_lose_nothing_and_double_nothing_but_what_was_cut() {
    kills(5);
}

/// Renames at the keypad who was made by a command that is answered.
fn rename(
    server: &Emulator,
    terminal: &Terminal,
    commands: &[(String, String)],
    renamed: &mut BTreeSet<String>,
) {
    let mut keypad = terminal.driver();
    for (id, pin) in commands {
        let is_answered = server.received(|received| received.reply(id).is_some());
        if is_answered && renamed.insert(pin.clone()) {
            keypad.call("user.put", json!({"pin": pin, "name": "Keypad"})).unwrap();
        }
    }
}

fn kills(count: u32) {
    let server = server();
    server.allow(Kind::CutShort); // A kill in the middle of a request is the point.
    let mut terminal = Terminal::start(&server, "");
    let socket = terminal.path("run/driver.sock");
    let answered = Arc::new(Mutex::new(BTreeSet::new()));
    let stop = Arc::new(AtomicBool::new(false));

    // A steady flow of punches. A punch without an answer is not repeated: whether it was
    // recorded is open, and both are right.
    let sensor = std::thread::spawn({
        let (answered, stop) = (Arc::clone(&answered), Arc::clone(&stop));
        move || {
            let mut nth = 0;
            while !stop.load(Ordering::Relaxed) {
                let Some(mut driver) = Driver::try_connect(&socket) else {
                    std::thread::sleep(Duration::from_millis(1));
                    continue;
                };
                loop {
                    nth += 1;
                    let pin = format!("{nth}");
                    let params = json!({"pin": pin, "time": second(nth)});
                    match driver.try_call("punch", &params) {
                        Some(done) => {
                            done.unwrap();
                            answered.lock().unwrap().insert(pin);
                        }
                        None => break,
                    }
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    std::thread::sleep(Duration::from_millis(3));
                }
            }
        }
    });

    // Commands whose effect can be counted: the server makes a user, the keypad renames them
    // once the command is answered, and the server, whose ids rise, sends the command again, twice, at
    // the end. Carried out a second time, it would undo the renaming.
    let mut dice = Dice(7);
    let text = |pin: &str| format!("DATA UPDATE USERINFO PIN={pin}\tName=Server");
    let mut commands = Vec::new();
    let mut renamed = BTreeSet::new();
    for nth in 0..count {
        for (id, pin) in [(1000 + 2 * nth, format!("a{nth}")), (1001 + 2 * nth, format!("b{nth}"))]
        {
            server.queue_repeated(&id.to_string(), &text(&pin), Repeat::UntilAnswered);
            commands.push((id.to_string(), pin));
        }
        std::thread::sleep(Duration::from_millis(dice.roll(150)));
        terminal.kill();
        terminal.run();
        rename(&server, &terminal, &commands, &mut renamed);
    }
    let all_answered =
        |received: &Received| commands.iter().all(|(id, _)| received.reply(id).is_some());
    assert!(server.wait_until(TIMEOUT, all_answered));
    rename(&server, &terminal, &commands, &mut renamed);
    for (id, pin) in &commands {
        server.queue_repeated(id, &text(pin), Repeat::Times(2));
    }
    server.queue_as("5000", "INFO");
    assert!(server.wait_until(TIMEOUT, |received| received.reply("5000").is_some()));
    stop.store(true, Ordering::Relaxed);
    sensor.join().unwrap();
    terminal.wait_for("all sent", |status| status["streams"]["punches"]["pending"] == 0);

    let answered = answered.lock().unwrap();
    let received: BTreeSet<String> =
        server.attlog().iter().map(|row| row.record.pin.clone()).collect();
    let lost: Vec<_> = answered.difference(&received).collect();
    assert!(lost.is_empty(), "lost: {lost:?}");
    // What came twice came in requests whose acknowledgement a kill cut off: rows that
    // stand together, one such run of rows a kill at most.
    let times: Vec<u32> = server.attlog().iter().map(|row| row.times).collect();
    let runs = times.windows(2).filter(|pair| pair[0] == 1 && pair[1] > 1).count()
        + usize::from(times.first().is_some_and(|times| *times > 1));
    let doubled = times.iter().filter(|times| **times > 1).count();
    println!(
        "{count} kills: {} punches answered, {} received, {doubled} of them twice, in {runs} requests; {} commands",
        answered.len(),
        received.len(),
        commands.len()
    );
    assert!(runs <= count as usize, "{runs} requests were sent twice in {count} kills");
    let mut keypad = terminal.driver();
    for pin in &renamed {
        let user = keypad.call("user.get", json!({"pin": pin})).unwrap();
        assert_eq!(user["name"], "Keypad", "the command for {pin} was carried out twice");
    }
    assert_eq!(renamed.len(), commands.len());
    let again: Vec<String> = server
        .replies()
        .iter()
        .filter(|reply| reply.ret != 0)
        .map(|reply| format!("{reply:?}"))
        .collect();
    assert!(again.is_empty(), "{again:?}");
    server.assert_strict();
}

#[test]
#[ignore = "slow: sixty kills"]
fn every_command_five_times_through_sixty_kills() {
    every_command_five_times(60);
}

#[test]
fn every_command_five_times_through_kills() {
    every_command_five_times(8);
}

/// Every command is delivered five times, in any order, while the terminal is killed at
/// random moments: each is answered, always with the same code, and has its effect once.
fn every_command_five_times(kills: u32) {
    let server = server();
    server.allow(Kind::CutShort);
    let mut terminal = Terminal::prepare(&server.url(), "");
    let files = terminal.path("files");
    std::fs::create_dir(&files).unwrap();
    let at = |name: &str| files.join(name).display().to_string();
    for name in ["reboot", "hook"] {
        script(&files.join(name), "echo x >> \"$0.ran\"");
    }
    let config = format!(
        "[device]\nreboot = [\"{}\"]\n[commands]\nget_file = \"allow\"\nshell = \"allow\"\n\
         clear_data = \"allow\"\nput_dirs = [\"{files}\"]\nget_dirs = [\"{files}\"]\n\
         [upgrade]\ncommand = [\"{}\"]",
        at("reboot"),
        at("hook"),
        files = files.display()
    );
    terminal.configure(&server.url(), &config);
    terminal.run();
    let firmware = noise(300_000);
    server.serve_file("emfw.cfg", firmware.clone());
    server.serve_file("list", "C:1:DATA UPDATE USERINFO PIN=90\tName=List\n");
    server.serve_file("fingers", "DATA UPDATE FACE PIN=9\tFID=1\tSize=4\tValid=1\tTMP=QUJD\n");
    let sum: String = md5::Digest::finalize(<md5::Md5 as md5::Digest>::new_with_prefix(&firmware))
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    std::fs::write(at("got"), "content").unwrap();
    let commands: Vec<(String, Vec<i64>)> = vec![
        ("DATA UPDATE USERINFO PIN=9\tName=Nine".into(), vec![0]),
        ("DATA UPDATE USERINFO Name=Nobody".into(), vec![-1]),
        ("DATA UPDATE FINGERTMP PIN=9\tFID=1\tSize=4\tValid=1\tTMP=QUJD".into(), vec![0]),
        ("DATA UPDATE WORKCODE PIN=1\tCODE=7\tNAME=Work".into(), vec![0, -1]),
        ("DATA DELETE USERINFO PIN=8".into(), vec![0]),
        ("DATA QUERY USERINFO PIN=9".into(), vec![0]),
        (
            "DATA QUERY ATTLOG StartTime=2026-01-01 00:00:00\tEndTime=2026-01-02 00:00:00".into(),
            vec![0],
        ),
        (
            "VERIFY SUM ATTLOG StartTime=2026-01-01 00:00:00\tEndTime=2026-01-02 00:00:00".into(),
            vec![0],
        ),
        ("CLEAR LOG".into(), vec![0]),
        ("CLEAR PHOTO".into(), vec![0]),
        ("SET OPTION Volume=7".into(), vec![0]),
        ("RELOAD OPTIONS".into(), vec![0]),
        ("CHECK".into(), vec![0]),
        ("LOG".into(), vec![0]),
        ("INFO".into(), vec![0]),
        ("FLY".into(), vec![-1002]),
        (format!("GetFile {}", at("got")), vec![7]),
        (format!("PutFile emfw.cfg\t{}", at("put")), vec![300_000]),
        ("PutFile list\t\tAction=AppendData".into(), vec![42]),
        ("PutFile fingers\t\tAction=SyncData\tTableName=FACE\tRecordCount=1".into(), vec![1]),
        // What cannot be repeated says so if it was cut off.
        (format!("SHELL echo x >> {}; sleep 0.2", at("shell")), vec![0, -1003]),
        (format!("UPGRADE type=1,checksum={sum},size=300000,url=emfw.cfg"), vec![0, -1003]),
        ("REBOOT".into(), vec![0]),
    ];
    let ids: Vec<String> = (0..commands.len()).map(|nth| format!("five{nth}")).collect();
    // The user whom the others need comes first, and is there before anything else.
    for (id, (text, _)) in ids.iter().zip(&commands) {
        server.queue_repeated(id, text, Repeat::Times(5));
        if id == "five0" {
            assert!(server.wait_until(TIMEOUT, |received| received.reply(id).is_some()));
        }
    }
    let mut dice = Dice(11);
    for _ in 0..kills {
        std::thread::sleep(Duration::from_millis(dice.roll(700)));
        terminal.kill();
        terminal.run();
        // A terminal that was up for a while has its polls behind it.
        let at = server.received(|received| received.count("poll"));
        assert!(server.wait_until(TIMEOUT, |received| received.count("poll") > at));
    }
    // All five times of a command may have met a kill: a server sends it until it is answered.
    let last = server.queue("INFO");
    assert!(server.wait_until(TIMEOUT, |received| received.reply(&last).is_some()));
    for (id, (text, _)) in ids.iter().zip(&commands) {
        if server.received(|received| received.reply(id).is_none()) {
            server.queue_repeated(id, text, Repeat::Times(1));
        }
    }
    let all = |received: &Received| ids.iter().all(|id| received.reply(id).is_some());
    assert!(server.wait_until(TIMEOUT, all), "{:?}", {
        let missing = |received: &Received| {
            ids.iter().filter(|id| received.reply(id).is_none()).cloned().collect::<Vec<_>>()
        };
        server.received(missing)
    });
    let last = server.queue("INFO");
    assert!(server.wait_until(TIMEOUT, |received| received.reply(&last).is_some()));
    for (id, (text, codes)) in ids.iter().zip(&commands) {
        let ret = server.received(|received| received.reply(id).unwrap().ret);
        // One that met a kill three times is given up, and the log says so.
        let given_up = format!("command {id} failed with -1003: it was begun 3 times");
        let is_given_up = ret == -1003 && terminal.log().contains(&given_up);
        assert!(codes.contains(&ret) || is_given_up, "{text}: {ret}");
    }
    let times = |name: &str| std::fs::read_to_string(at(name)).unwrap_or_default().len() / 2;
    // Once, or not at all if it was cut off between its record and its act.
    assert!(times("shell") <= 1, "SHELL ran {} times", times("shell"));
    assert!(times("reboot.ran") <= 1, "REBOOT ran {} times", times("reboot.ran"));
    // A program of the owner may be run again after a power cut, three times at most.
    assert!((1..=3).contains(&times("hook.ran")), "the hook ran {} times", times("hook.ran"));
    assert!(std::fs::read(at("put")).unwrap() == firmware);
    println!(
        "{} commands, each 5 times, {kills} kills: all answered; SHELL ran {} times, REBOOT {}, the hook {}",
        commands.len(),
        times("shell"),
        times("reboot.ran"),
        times("hook.ran")
    );
    server.assert_strict();
}
