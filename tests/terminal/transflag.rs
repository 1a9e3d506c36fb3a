//! What goes up by itself and what waits (TransFlag, §6; versions, App. 6), against a raw server that
//! knows only the rule.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::harness::{
    Driver, JPEG, RawAnswer, RawServer, Terminal, base64, options, polls_of, says, second, until,
};

/// A server that takes everything. Its handshake reply and its commands change while it runs.
struct Taking {
    server: RawServer,
    reply: Arc<Mutex<String>>,
    commands: Arc<Mutex<VecDeque<String>>>,
}

impl Taking {
    /// A server with these lines in its handshake reply, which count more than the usual ones.
    fn start(lines: &str) -> Self {
        let reply = Arc::new(Mutex::new(String::new()));
        let commands: Arc<Mutex<VecDeque<String>>> = Arc::default();
        let (says_now, queued) = (Arc::clone(&reply), Arc::clone(&commands));
        let server = RawServer::start(move |request| match request {
            request if request.is_handshake() => says(200, says_now.lock().unwrap().clone()),
            request if request.is_poll() => {
                let command = queued.lock().unwrap().pop_front();
                says(200, command.unwrap_or_else(|| "OK".into()))
            }
            request => says(200, format!("OK:{}", request.lines().len())),
        });
        let taking = Self { server, reply, commands };
        taking.says(lines);
        taking
    }

    /// From now on the handshake reply has these lines.
    fn says(&self, lines: &str) {
        let RawAnswer::Says(_, _, text) = options(lines) else { unreachable!() };
        *self.reply.lock().unwrap() = text;
    }

    fn queue(&self, command: &str) {
        self.commands.lock().unwrap().push_back(command.into());
    }

    fn terminal(&self, more: &str) -> Terminal {
        let mut terminal = Terminal::prepare(&self.server.url(), more);
        terminal.run();
        terminal.wait_until_online();
        terminal
    }

    /// Everything that goes by itself has gone.
    fn settle(&self) {
        polls_of(&self.server, 3);
    }

    /// A handshake with the reply as it is now.
    fn shake_hands(&self, terminal: &Terminal) {
        let count = || self.server.requests().iter().filter(|it| it.is_handshake()).count();
        let before = count();
        terminal.signal("HUP");
        until("a handshake", || count() > before, || terminal.log());
    }

    /// The first words of the rows that came in these tables, sorted; without operations, which the
    /// terminal writes by itself, and what they hold for a table without words.
    fn rows(&self) -> Vec<String> {
        let mut rows = Vec::new();
        for request in self.server.requests() {
            if request.is_upload("ATTPHOTO") {
                rows.push("photo".to_owned());
            } else if request.is_upload("ATTLOG") {
                rows.extend(request.lines());
            } else {
                let named = request.lines().into_iter().filter(|line| {
                    ["USER", "FP", "FACE", "FVEIN", "BIODATA", "USERPIC", "IDCARD", "BIOPHOTO"]
                        .contains(&line.split(' ').next().unwrap_or(""))
                });
                rows.extend(named);
            }
        }
        rows.sort();
        rows
    }

    /// How many of the rows begin like this.
    fn count(&self, start: &str) -> usize {
        self.rows().iter().filter(|row| row.starts_with(start)).count()
    }
}

fn put_user(driver: &mut Driver, pin: &str, name: &str) {
    driver.call("user.put", json!({"pin": pin, "name": name})).unwrap();
}

fn put_template(driver: &mut Driver, pin: &str, kind: &str, more: &Value) {
    let mut params = json!({"pin": pin, "kind": kind, "number": 0, "data": base64(b"data")});
    for (key, value) in more.as_object().unwrap() {
        params[key] = value.clone();
    }
    driver.call("template.put", params).unwrap();
}

/// A row of every kind for this person.
fn put_everything(driver: &mut Driver, pin: &str) {
    driver.punch(pin, &second(1));
    put_user(driver, pin, "Ann");
    for kind in ["fingerprint", "face", "fvein"] {
        put_template(driver, pin, kind, &json!({}));
    }
    for bio_type in [1, 2, 8, 9] {
        put_template(driver, pin, "unified", &json!({"type": bio_type}));
    }
    driver.call("picture.put", json!({"pin": pin, "kind": "user", "data": base64(JPEG)})).unwrap();
    driver
        .call(
            "picture.put",
            json!({"pin": pin, "kind": "comparison", "type": 9, "data": base64(JPEG)}),
        )
        .unwrap();
    driver
        .call(
            "idcard.put",
            json!({
                "pin": pin, "snnum": "SN1", "idnum": "11010519491231002X", "name": "Ann",
                "gender": 1, "nation": 1, "birthday": "19491231",
                "validinfo": "2017091520270915", "address": "Street 1", "issuer": "Office",
                "photo": base64(b"photo"), "fptemplate1": base64(b"one"),
                "fptemplate2": base64(b"two"),
            }),
        )
        .unwrap();
    driver.call("photo", json!({"pin": pin, "time": second(1), "data": base64(JPEG)})).unwrap();
}

#[test]
fn zeros_only_bring_attendance_photos_and_nothing_else() {
    let server = Taking::start("TransFlag=0000000000\n");
    let terminal = server.terminal("");
    put_everything(&mut terminal.driver(), "7");
    server.settle();
    assert_eq!(server.rows(), ["photo"], "{:?}", server.server.requests());
}

#[test]
fn new_and_changed_people_and_fingers_have_flags_of_their_own() {
    let server = Taking::start("TransFlag=TransData AttLog\n");
    let terminal = server.terminal("");
    let mut driver = terminal.driver();
    let put = |driver: &mut Driver, pin: &str, name: &str| {
        put_user(driver, pin, name);
        put_template(driver, pin, "fingerprint", &json!({"data": base64(name.as_bytes())}));
        put_template(driver, pin, "unified", &json!({"type": 1, "data": base64(name.as_bytes())}));
    };
    // Person 1 is new, and changed before anything goes; person 2 comes from the server.
    put(&mut driver, "1", "first");
    put(&mut driver, "1", "again");
    server.queue("C:1:DATA UPDATE USERINFO PIN=2\tName=server\n");
    server.queue("C:2:DATA UPDATE FINGERTMP PIN=2\tFID=0\tSize=8\tValid=1\tTMP=ZGF0YQ==\n");
    server.queue(
        "C:3:DATA UPDATE BIODATA Pin=2\tNo=0\tIndex=0\tValid=1\tDuress=0\tType=1\tMajorVer=0\t\
         MinorVer=0\tFormat=0\tTmp=ZGF0YQ==\n",
    );
    terminal.wait_for("person 2 is here", |status| status["users"] == 2);
    server.settle();
    put(&mut driver, "2", "local");
    server.settle();
    assert_eq!(server.rows(), Vec::<String>::new());

    // The new go with the flags for what is new, and only they.
    server.says("TransFlag=TransData AttLog\tEnrollUser\tEnrollFP\n");
    server.shake_hands(&terminal);
    server.settle();
    let of = |pin: &str| {
        ["USER PIN=", "FP PIN=", "BIODATA Pin="].map(|row| server.count(&format!("{row}{pin}\t")))
    };
    assert_eq!((of("1"), of("2")), ([1; 3], [0; 3]));
    assert!(server.rows().iter().any(|row| row.contains("Name=again")), "{:?}", server.rows());
    // What the server has by now is changed.
    put(&mut driver, "1", "changed");
    server.settle();
    assert_eq!(of("1"), [1; 3]);

    // The changed go with the flags for what is changed; who is new waits.
    server.says("TransFlag=TransData AttLog\tChgUser\tChgFP\n");
    server.shake_hands(&terminal);
    server.settle();
    assert_eq!((of("1"), of("2")), ([2; 3], [1; 3]));
    put(&mut driver, "3", "third");
    // Whoever is deleted and comes again is new.
    server.queue("C:4:DATA DELETE USERINFO PIN=1\n");
    terminal.wait_for("person 1 is deleted", |status| status["users"] == 2);
    put(&mut driver, "1", "back");
    server.settle();
    assert_eq!((of("1"), of("3")), ([2; 3], [0; 3]));
    // The server writes whom it did not know: from then on it knows them.
    server.queue("C:5:DATA UPDATE USERINFO PIN=3\tName=known\n");
    let known = || server.count("USER PIN=3\tName=known") == 1;
    until("a change", known, || terminal.log());

    server.says("TransFlag=TransData AttLog\tEnrollUser\tEnrollFP\n");
    server.shake_hands(&terminal);
    server.settle();
    assert_eq!((of("1"), of("2"), of("3")), ([3; 3], [1; 3], [1; 3]));
    terminal.wait_for("all sent", |status| {
        ["users", "fingerprints", "templates"]
            .iter()
            .all(|name| status["streams"][*name]["pending"] == 0)
    });
}

#[test]
fn unified_templates_follow_the_flag_of_their_kind() {
    for (line, expected) in [
        ("TransData AttLog", &["8"][..]),
        ("TransData AttLog\tEnrollFP", &["1", "8"]),
        ("TransData AttLog\tChgFP", &["8"]),
        ("TransData AttLog\tFACE", &["2", "8", "9"]),
        ("TransData AttLog\tBioPhoto", &["2", "8", "9"]),
        ("TransData AttLog\tBioData", &["1", "2", "8", "9"]),
        ("000000000001", &["2", "8", "9"]),
        ("0000000000", &[]),
    ] {
        let server = Taking::start(&format!("TransFlag={line}\n"));
        let terminal = server.terminal("");
        for bio_type in [1, 2, 8, 9] {
            put_template(&mut terminal.driver(), "7", "unified", &json!({"type": bio_type}));
        }
        server.settle();
        let types: Vec<String> = server
            .rows()
            .iter()
            .map(|row| row.split("Type=").nth(1).unwrap()[..1].to_owned())
            .collect();
        assert_eq!(types, expected, "{line:?}");
    }
}

#[test]
fn log_check_and_a_stamp_of_zero_bring_once_what_is_kept_back() {
    let kept_back = |terminal: &Terminal, pin: &str, nth: u32| {
        let mut driver = terminal.driver();
        driver.punch(pin, &second(nth));
        put_user(&mut driver, pin, "Ann");
    };
    for order in ["LOG", "CHECK", "stamps"] {
        // The server wants faces only, and it has sent a stamp, so that 0 means something.
        let flag = "TransFlag=TransData FACE\n";
        let stamped = format!("{flag}ATTLOGStamp=77\nOPERLOGStamp=77\n");
        let server = Taking::start(if order == "stamps" { &stamped } else { flag });
        let mut terminal = server.terminal("");
        kept_back(&terminal, "1", 1);
        server.settle();
        assert_eq!(server.rows(), Vec::<String>::new());
        match order {
            "stamps" => {
                server.says(&format!("{flag}ATTLOGStamp=0\nOPERLOGStamp=0\n"));
                server.shake_hands(&terminal);
            }
            _ => server.queue(&format!("C:1:{order}\n")),
        }
        // A server that asks for everything may get what waited with what it had.
        let came = || BTreeSet::from_iter(server.rows());
        until("both came", || came().len() == 2, || terminal.log());
        // What comes afterwards waits again, also after a restart.
        kept_back(&terminal, "2", 2);
        server.settle();
        terminal.stop();
        terminal.run();
        server.settle();
        assert_eq!(came().len(), 2, "{order}: {:?}", server.rows());
        let most = if order == "stamps" { 2 } else { 1 };
        assert_eq!(server.count("1\t"), 1, "{order}: {:?}", server.rows());
        assert!(server.count("USER") <= most, "{order}: {:?}", server.rows());
        let status = terminal.status();
        for stream in ["punches", "users"] {
            assert_eq!(status["streams"][stream]["pending"], 1, "{order}: {status:#}");
        }
    }
}

#[test]
fn what_log_asked_for_comes_after_a_restart() {
    let refuses = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let (command, refusing) = (Mutex::new(Some("C:1:LOG\n")), Arc::clone(&refuses));
    let server = RawServer::start(move |request| match request {
        request if request.is_handshake() => options("TransFlag=TransData FACE\n"),
        request if request.is_poll() => {
            let punch_is_there = request.target.contains("INFO=");
            let command = command.lock().unwrap().take_if(|_| !punch_is_there);
            says(200, command.unwrap_or("OK"))
        }
        request
            if request.is_upload("ATTLOG")
                && refusing.load(std::sync::atomic::Ordering::SeqCst) =>
        {
            says(503, "")
        }
        request => says(200, format!("OK:{}", request.lines().len())),
    });
    let mut terminal = Terminal::prepare(&server.url(), "");
    terminal.run();
    terminal.driver().punch("1", &second(1));
    let offered = || server.requests().iter().any(|it| it.is_upload("ATTLOG"));
    until("the punch is offered", offered, || terminal.log());
    terminal.kill();
    refuses.store(false, std::sync::atomic::Ordering::SeqCst);
    terminal.run();
    terminal.wait_for("sent", |status| status["streams"]["punches"]["pending"] == 0);
}

/// The rows of punches, in the order in which they came.
fn punch_rows(server: &Taking) -> Vec<String> {
    let requests = server.server.requests();
    requests.iter().filter(|it| it.is_upload("ATTLOG")).flat_map(|it| it.lines()).collect()
}

#[test]
fn a_punch_with_an_identity_card_goes_to_an_older_server_as_a_plain_one() {
    let server = Taking::start("PushProtVer=2.3.0\n");
    let terminal = server.terminal("");
    let mut driver = terminal.driver();
    let card = "11010519491231002X";
    driver.call("punch", json!({"pin": "1", "time": second(1), "idnum": card})).unwrap();
    // A failed verification is no attendance: an old server would take it for a check-out.
    let failed = json!({
        "pin": "1", "time": second(2), "status": 1, "verify": 1, "idnum": card, "type": 1
    });
    driver.call("punch", failed).unwrap();
    driver.punch("2", &second(3));
    server.settle();
    let plain = ["1\t2026-11-02 00:00:01\t0\t0\t0\t0\t0", "2\t2026-11-02 00:00:03\t0\t1\t0\t0\t0"];
    assert_eq!(punch_rows(&server), plain);
    let streams = terminal.status()["streams"].clone();
    assert_eq!(streams["card punches"]["pending"], 0, "{streams:#}");
    assert_eq!(streams["card verifications"]["pending"], 1, "{streams:#}");

    // A newer version brings what waited, and nothing twice; later punches have their cards.
    server.says("PushProtVer=2.4.1\n");
    server.shake_hands(&terminal);
    driver.call("punch", json!({"pin": "1", "time": second(4), "idnum": card})).unwrap();
    server.settle();
    let later = [
        format!("1\t2026-11-02 00:00:02\t1\t1\t0\t0\t0\t{card}\t1"),
        format!("1\t2026-11-02 00:00:04\t0\t0\t0\t0\t0\t{card}\t0"),
    ];
    let mut all: Vec<String> = plain.map(str::to_owned).into_iter().chain(later).collect();
    assert_eq!(punch_rows(&server), all);

    // Asked for again, each has the bytes that it had.
    server.says("PushProtVer=2.4.1\nATTLOGStamp=0\n");
    server.queue("C:1:CHECK\n");
    until("all once more", || punch_rows(&server).len() == 8, || terminal.log());
    let mut again = punch_rows(&server).split_off(4);
    all.sort();
    again.sort();
    assert_eq!(again, all);
}

#[test]
fn a_punch_that_went_as_a_plain_one_has_the_same_bytes_after_the_version_changed() {
    // The server takes the punch and does not say so, and is a newer one at the next handshake.
    let mut handshakes = 0;
    let server = RawServer::start(move |request| match request {
        request if request.is_handshake() => {
            handshakes += 1;
            options(if handshakes == 1 { "PushProtVer=2.2.14\n" } else { "" })
        }
        request if request.is_poll() => says(200, "OK"),
        request if request.is_upload("ATTLOG") && handshakes == 1 => RawAnswer::Closes,
        request => says(200, format!("OK:{}", request.lines().len())),
    });
    let mut terminal = Terminal::prepare(&server.url(), "");
    terminal.run();
    let card = json!({"pin": "1", "time": second(1), "idnum": "11010519491231002X"});
    terminal.driver().call("punch", card).unwrap();
    terminal.wait_for("sent", |status| status["streams"]["card punches"]["pending"] == 0);
    let requests = server.requests();
    let bodies: Vec<String> =
        requests.iter().filter(|it| it.is_upload("ATTLOG")).map(|it| it.text()).collect();
    assert!(bodies.len() >= 2, "{bodies:?}");
    assert!(bodies.iter().all(|body| *body == bodies[0]), "{bodies:?}");
}
