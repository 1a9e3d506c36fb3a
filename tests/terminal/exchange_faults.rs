//! Encrypted sessions in which something goes wrong: answers that cannot be opened, keys that are lost,
//! handshakes that say otherwise.

use std::time::{Duration, Instant};

use iclock_emulator::{Act, Fault, On, SealFault, Settings};

use crate::harness::{
    RawAnswer, RawServer, TIMEOUT, Terminal, encrypting, encrypting_server, kept, options,
    polls_of, says, second, server_with, until,
};

const REQUIRED: &str = "[encryption]\nexchange = \"required\"";
const NOTHING_IS_SENT: &str = "nothing is sent, since [encryption] exchange is \"required\"";

/// What a server answers.
type Answer = fn() -> RawAnswer;

fn started(server: &RawServer, more: &str) -> Terminal {
    let mut terminal = Terminal::prepare(&server.url(), more);
    terminal.run();
    terminal
}

#[test]
fn nothing_of_an_answer_that_cannot_be_opened_counts() {
    let faults = [
        SealFault::Plain,
        SealFault::Damaged,
        SealFault::Cut,
        SealFault::Excess,
        SealFault::Swapped,
        SealFault::OtherKeys,
        SealFault::Lost,
    ];
    for how in faults {
        let server = encrypting_server();
        server.fault(Fault::new(On::table("ATTLOG"), Act::Seal { how }));
        let terminal = Terminal::start(&server, REQUIRED);
        terminal.driver().punch("1001", &second(1));
        // The row goes again, by new keys, and the acknowledgement counts.
        let times = if how == SealFault::Lost { 1 } else { 2 };
        let again = server.wait_until(TIMEOUT, |got| {
            got.attlog().iter().any(|row| row.times == times) && got.count("keys") >= 4
        });
        assert!(again, "{how:?}: {}", terminal.log());
        terminal.wait_for("acknowledged", |status| status["streams"]["punches"]["pending"] == 0);
        assert_eq!(server.attlog()[0].times, times, "{how:?}");
        server.assert_strict();

        // Nor is a command carried out.
        let before = server.received(|got| got.count("keys"));
        server.fault(Fault::new(On::poll(), Act::Seal { how }));
        server.next_poll_body("C:p1:DATA UPDATE USERINFO PIN=66\n");
        let anew = server.wait_until(TIMEOUT, |got| got.count("keys") >= before + 2);
        assert!(anew, "{how:?}: {}", terminal.log());
        let id = server.queue("CHECK");
        assert!(server.wait_until(TIMEOUT, |got| got.reply(&id).is_some()));
        // Of a list whose chunk came whole the commands are done; one that was not handed out comes later.
        if ![SealFault::Excess, SealFault::Lost].contains(&how) {
            assert!(server.received(|got| got.reply("p1").is_none()), "{how:?}");
        }
    }
}

#[test]
fn a_server_that_lost_the_keys_gets_new_ones() {
    let server = encrypting_server();
    let terminal = Terminal::start(&server, REQUIRED);
    terminal.driver().punch("1001", &second(1));
    assert!(server.wait_until(TIMEOUT, |got| got.attlog().len() == 1));
    // It is restarted, and answers so; a page of an error can have other reasons the first times.
    for (nth, (times, act)) in [
        (1, Act::html()),
        (1, Act::status(409, "?")),
        (4, Act::status(500, "?")),
        (4, Act::status(403, "?")),
    ]
    .into_iter()
    .enumerate()
    {
        let before = server.received(|got| got.count("keys"));
        server.fault(Fault::new(On::poll(), act.clone()).times(times));
        let anew = server.wait_until(TIMEOUT, |got| got.count("keys") >= before + 2);
        assert!(anew, "{act:?}: {}", terminal.log());
        server.clear_faults();
        terminal.driver().punch("1001", &second(10 + nth as u32));
        assert!(server.wait_until(TIMEOUT, |got| got.attlog().len() == nth + 2), "{act:?}");
    }
    server.assert_strict();
}

#[test]
fn the_row_at_fault_is_found_behind_pages_of_an_error_that_are_not_encrypted() {
    let server = encrypting_server();
    server.pause();
    let terminal = Terminal::start(&server, REQUIRED);
    let mut driver = terminal.driver();
    for nth in 0..20 {
        driver.punch(&format!("{}", 4700 + nth), &second(nth));
    }
    server.fault(
        Fault::new(On::table("ATTLOG"), Act::status(413, "too large"))
            .containing("4711\t")
            .always(),
    );
    server.resume().unwrap();
    let all = server.wait_until(TIMEOUT, |got| got.attlog().len() == 19);
    assert!(all, "{}", terminal.log());
    terminal.wait_for("suspected", |status| status["streams"]["punches"]["suspect"] == 1);
    // Nothing shows that the server lost its keys.
    assert_eq!(server.received(|got| got.count("keys")), 2, "{}", terminal.log());
    server.assert_strict();
}

#[test]
fn encryption_begins_and_ends_with_the_handshake_that_says_so() {
    let server = server_with(Settings { exchanges_keys: true, ..Settings::default() });
    server.set_option("Encrypt", "0");
    let terminal = Terminal::start(&server, "");
    let check = |encrypt: &str, encrypted: bool| {
        server.set_option("Encrypt", encrypt);
        // A handshake follows.
        let handshakes = server.received(|got| got.count("handshake"));
        let id = server.queue("CHECK");
        let is_over = server.wait_until(TIMEOUT, |got| {
            got.reply(&id).is_some() && got.count("handshake") > handshakes
        });
        assert!(is_over, "{}", terminal.log());
        terminal.wait_for(encrypt, |status| status["encrypted"] == encrypted);
        // What follows goes as it says: a strict server minds a plain request in an encrypted session.
        let id = server.queue("INFO");
        assert!(server.wait_until(TIMEOUT, |got| got.reply(&id).is_some()));
    };
    check("0", false);
    check("1", true);
    check("1", true);
    check("None", false);
    assert!(terminal.log().contains("the server does not ask for encryption any more"));
    check("1", true);
    server.assert_strict();
}

#[test]
fn a_session_ends_where_a_handshake_asks_for_no_encryption_and_it_is_required() {
    let server = encrypting_server();
    let terminal = Terminal::start(&server, REQUIRED);
    terminal.wait_until_online();
    server.set_option("Encrypt", "0");
    let id = server.queue("CHECK");
    terminal.wait_for("refused", |status| {
        status["online"] == false
            && status["trouble"].as_str().is_some_and(|trouble| trouble.contains(NOTHING_IS_SENT))
    });
    terminal.driver().punch("1001", &second(1));
    let handshakes = server.received(|got| got.count("handshake"));
    assert!(server.wait_until(TIMEOUT, |got| got.count("handshake") > handshakes + 1));
    assert!(server.attlog().is_empty());
    // Nothing was even tried.
    assert!(!terminal.log().contains("no request before keys"), "{}", terminal.log());
    server.set_option("Encrypt", "1");
    let goes_on =
        server.wait_until(TIMEOUT, |got| got.attlog().len() == 1 && got.reply(&id).is_some());
    assert!(goes_on, "{}", terminal.log());
    server.assert_strict();
}

#[test]
fn a_message_of_the_terminal_that_comes_twice_is_not_taken() {
    // Somebody on the way repeats what the terminal sent: byte by byte the same connection.
    let (state, answer) = encrypting(|request| match request {
        request if request.is_handshake() => options(""),
        _ => says(200, "OK"),
    });
    let server = RawServer::start(answer);
    let terminal = started(&server, REQUIRED);
    terminal.driver().punch("1001", &second(1));
    let upload = || server.requests().into_iter().find(|it| it.is_upload("ATTLOG"));
    until("uploaded", || upload().is_some(), || terminal.log());
    let upload = upload().unwrap();
    let again = post(&server, &upload.target, &upload.body);
    assert!(again.starts_with("HTTP/1.1 409"), "{again}");
    let (mut cut, mut changed) = (upload.body.clone(), upload.body.clone());
    cut.pop();
    changed[17] ^= 0x40;
    for body in [cut, changed] {
        let answer = post(&server, &upload.target, &body);
        assert!(answer.starts_with("HTTP/1.1 409"), "{answer}");
    }
    // The terminal goes on all the same.
    polls_of(&server, 2);
    assert_eq!(state.lock().unwrap().flaws.len(), 3);
}

fn post(server: &RawServer, target: &str, body: &[u8]) -> String {
    use std::io::{Read, Write};
    let mut stream =
        std::net::TcpStream::connect(server.url().trim_start_matches("http://")).unwrap();
    let head = format!("POST {target} HTTP/1.1\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_download_that_is_not_encrypted_is_not_taken() {
    let server = encrypting_server();
    let mut terminal = Terminal::prepare(&server.url(), "");
    let files = terminal.path("files");
    std::fs::create_dir(&files).unwrap();
    terminal.configure(&server.url(), &format!("{REQUIRED}\n[commands]\nput_dirs = [{files:?}]\n"));
    terminal.run();
    server.serve_file("list.txt", b"made-up".to_vec());
    for how in [SealFault::Plain, SealFault::Damaged, SealFault::Swapped] {
        server.fault(Fault::new(On::file(), Act::Seal { how }));
    }
    let id = server.queue(&format!("PutFile list.txt\t{}", files.join("put").display()));
    assert!(server.wait_until(TIMEOUT, |got| got.reply(&id).is_some()), "{}", terminal.log());
    assert_eq!(std::fs::read(files.join("put")).unwrap(), b"made-up");
    assert!(server.received(|got| got.count("keys")) >= 8);
    server.assert_strict();
}

/// What cannot be opened is an answer: it says nothing of what goes beside a held poll.
#[test]
fn an_answer_that_cannot_be_opened_beside_a_held_poll_holds_back_no_later_punch() {
    let answers: [(&str, Answer); 3] = [
        ("lost", || plain(409, "lost")),
        ("plain", || plain(200, "OK:1")),
        ("cut", || plain(200, "\u{1}S")),
    ];
    for (what, unreadable) in answers {
        let mut punches = 0;
        let (state, answer) = encrypting(move |request| match request {
            request if request.is_handshake() => options(""),
            request if request.is_poll() => RawAnswer::Hangs,
            request if request.is_upload("ATTLOG") => {
                punches += 1;
                if punches == 1 { unreadable() } else { says(200, "OK:1") }
            }
            _ => says(200, "OK"),
        });
        let server = RawServer::start(answer);
        let terminal = started(&server, "[timeouts]\nretry = 1");
        until("polled", || server.requests().iter().any(|it| it.is_poll()), || terminal.log());
        for (pin, uploads) in [("1", 2), ("2", 3)] {
            terminal.driver().punch(pin, &second(uploads));
            let came = || server.requests().iter().filter(|it| it.is_upload("ATTLOG")).count();
            until("came", || came() as u32 == uploads, || format!("{what}: {}", terminal.log()));
        }
        assert!(!terminal.log().contains("answers nothing beside"), "{what}: {}", terminal.log());
        assert_eq!(state.lock().unwrap().secrets.len(), 2, "{what}");
    }
}

/// Each of them ends the session. What the server answers well has its turn all the same.
#[test]
fn handlers_that_do_not_encrypt_their_answers_hold_up_no_other() {
    let (_, answer) = encrypting({
        let mut polls = 0;
        move |request| match request {
            request if request.is_handshake() => options("ErrorDelay=2\n"),
            request if request.target.contains("/devicecmd") => plain(200, "OK"),
            request if request.text().contains("USER PIN=") => plain(200, "OK"),
            request if request.is_poll() => {
                polls += 1;
                says(200, if polls == 1 { "C:1:INFO\nC:2:DATA QUERY USERINFO\n" } else { "OK" })
            }
            request => says(200, format!("OK:{}", request.lines().len())),
        }
    });
    let server = RawServer::start(answer);
    let terminal = started(&server, "");
    let mut driver = terminal.driver();
    driver.call("user.put", serde_json::json!({"pin": "5", "name": "x"})).unwrap();
    let failed = || terminal.log().contains("sending results of commands: the answer is not");
    until("the results fail", failed, || terminal.log());
    let polls = || server.requests().iter().filter(|it| it.is_poll()).count();
    for nth in 1..=3 {
        driver.punch(&nth.to_string(), &second(nth));
        let before = polls();
        terminal.wait_for("delivered", |status| status["streams"]["punches"]["pending"] == 0);
        until("polled", || polls() > before, || terminal.log());
    }
}

/// New keys cost the server an RSA decryption, and there is a fleet of terminals: they are exchanged again for each
/// kind of request once per `ErrorDelay`, and so at most that often.
#[test]
fn a_server_that_opens_nothing_gets_each_kind_of_request_once_per_error_delay() {
    let answers: [Answer; 3] = [|| plain(200, "OK"), || plain(409, "lost"), || plain(500, "?")];
    for in_plain in answers {
        let (tell, told) = std::sync::mpsc::channel();
        let mut is_first = false;
        let (state, answer) = encrypting(move |request| {
            if request.is_handshake() {
                is_first = true;
                return options("ErrorDelay=2\n");
            }
            if std::mem::take(&mut is_first) {
                tell.send((request.target.clone(), Instant::now())).unwrap();
            }
            in_plain()
        });
        let server = RawServer::start(answer);
        let terminal = started(&server, "");
        terminal.driver().punch("1001", &second(1));
        let keys = || state.lock().unwrap().secrets.len();
        until("keys were exchanged eight times", || keys() >= 8, || terminal.log());
        let mut last = std::collections::BTreeMap::new();
        for (target, at) in told.try_iter() {
            if let Some(before) = last.insert(target.clone(), at) {
                let pause = at - before;
                assert!(pause >= Duration::from_secs(2), "{target} {pause:?}: {}", terminal.log());
            }
        }
    }
}

#[test]
fn what_is_wrong_with_an_answer_that_is_not_encrypted_is_told() {
    let cases: [(Answer, &str); 5] = [
        (
            || plain(409, "unknown session"),
            "status 409 at /iclock/getrequest: \"unknown session\": see",
        ),
        (
            || RawAnswer::Says(302, "Location: http://portal.example/login\r\n", String::new()),
            "redirects at /iclock/getrequest to another host, \"http://portal.example/login\" (status 302)",
        ),
        (
            || RawAnswer::Says(200, "Content-Encoding: gzip\r\n", "\u{1f}\u{8}made up".into()),
            "answered at /iclock/getrequest in \"gzip\", which the terminal did not ask for",
        ),
        (|| plain(200, "<html><title>Log in</title>"), "with a web page"),
        (|| plain(200, ""), "with an empty body"),
    ];
    for (in_plain, why) in cases {
        let (_, mut answer) = encrypting(|request| match request {
            request if request.is_handshake() => options(""),
            _ => says(200, "OK"),
        });
        let server = RawServer::start(move |request| match request {
            request if request.is_poll() => in_plain(),
            request => answer(request),
        });
        let terminal = started(&server, "");
        let has_line =
            || terminal.log().lines().any(|line| line.contains("warning: asking for commands: "));
        until("it is told", has_line, || terminal.log());
        let log = terminal.log();
        let line =
            log.lines().find(|line| line.contains("warning: asking for commands: ")).unwrap();
        let begin = "the answer is not encrypted, although keys were exchanged: the server ";
        assert!(line.contains(begin) && line.contains(why), "{line}");
        assert!(!line.contains("broke off"), "{line}");
    }
}

/// The server makes a key of its own, which takes its time.
#[test]
fn a_server_that_needs_long_for_its_key_keeps_its_connections() {
    let (state, mut answer) = encrypting(|request| match request {
        request if request.is_handshake() => options(""),
        _ => says(200, "OK"),
    });
    let server = RawServer::start(move |request| {
        if request.target.contains("type=publickey") {
            // Longer than a second request on a connection may take, before it is known that the server
            // answers one.
            std::thread::sleep(Duration::from_secs(12));
        }
        kept(answer(request))
    });
    let terminal = started(&server, "");
    let polls = || server.requests().iter().filter(|it| it.is_poll()).count();
    until("polled", || polls() >= 2, || terminal.log());
    assert!(server.requests().iter().all(|it| it.connection.0 == 1), "{}", terminal.log());
    assert_eq!(state.lock().unwrap().secrets.len(), 1, "{}", terminal.log());
}

/// An answer that is not encrypted, on a connection that is kept.
fn plain(status: u16, body: &str) -> RawAnswer {
    let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n", body.len());
    RawAnswer::Keeps((head + body).into_bytes())
}
