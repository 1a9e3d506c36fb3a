//! Never deaf: drivers are served while the server hangs, while its name is looked up, while a long
//! list or a large file is worked on.
//!
//! Each test counts the punches that are answered meanwhile. Where something hangs, a healthy
//! terminal is counted in turns with it; where something is worked on, the chunks of it are the
//! measure. So a slow machine slows both. A terminal that serves nobody meanwhile answers none.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use iclock_emulator::{Act, Emulator, Fault, On, Received};
use serde_json::json;

use crate::harness::{
    RawAnswer, RawRequest, RawServer, TIMEOUT, Terminal, answer, options, replies_to, says, second,
    server, terminal_with_files, until, until_unanswered,
};

/// How long punches are counted at one terminal before it is the other's turn.
const SPAN: Duration = Duration::from_millis(50);
/// How often each has its turn, where the situation lasts.
const ROUNDS: u32 = 20;
/// A terminal whose server answers, and that uploads nothing meanwhile: it takes as many punches
/// as there can be.
struct Healthy {
    terminal: Terminal,
    _server: Emulator,
}

impl Healthy {
    fn start() -> Self {
        let server = server();
        server.set_option("Realtime", "0");
        server.set_option("TransInterval", "0");
        server.remove_option("TransTimes");
        let terminal = Terminal::start(&server, "");
        terminal.wait_until_online();
        Self { terminal, _server: server }
    }
}

/// Punches that were answered.
#[derive(Default)]
struct Answered {
    healthy: u32,
    busy: u32,
}

impl Answered {
    /// Counts in turns with a healthy terminal.
    fn count(healthy: &Healthy, busy: &Terminal) -> Self {
        let mut answered = Self::default();
        for _ in 0..ROUNDS {
            answered.healthy += punches(&healthy.terminal);
            answered.busy += punches(busy);
        }
        answered
    }

    /// At least a tenth of those by the healthy terminal: a terminal that serves nobody meanwhile answers
    /// none. (Measured: about as many, and two thirds while a list comes.)
    #[track_caller]
    fn at_least_a_tenth(&self, what: &str) {
        let Self { healthy, busy } = self;
        println!("{what}: {busy} punches answered, {healthy} by a healthy terminal");
        assert!(
            busy * 10 >= *healthy,
            "{what}: only {busy} punches were answered, {healthy} by a healthy terminal in the same time"
        );
    }
}

/// How many punches are answered within the span, one after the other.
fn punches(terminal: &Terminal) -> u32 {
    let end = Instant::now() + SPAN;
    let mut driver = terminal.driver();
    for nth in 0.. {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return nth;
        }
        driver.stream().set_read_timeout(Some(left)).unwrap();
        match driver.try_call("punch", &json!({"pin": "1001", "time": second(nth), "verify": 1})) {
            Some(done) => drop(done.unwrap()),
            None => return nth,
        }
    }
    unreachable!("a span has an end")
}

/// What was answered arrives. (What was not may have been recorded, too.)
#[track_caller]
fn all_arrive(server: &Emulator, answered: u32) {
    let rows = |received: &Received| received.punch_rows_received_total();
    let came = server.wait_until(TIMEOUT, |received| rows(received) >= answered.into());
    assert!(came, "{} of {answered} punches arrived", server.received(rows));
}

#[test]
fn a_server_that_never_answers_delays_no_punch() {
    let healthy = Healthy::start();
    let server = server();
    let terminal = Terminal::start(&server, "[timeouts]\nanswer = 600\nretry = 1");
    terminal.wait_until_online();
    server.fault(Fault::new(On::any(), Act::Stall { ms: None }).always());
    // The terminal is in the middle of an exchange from here to the end.
    until_unanswered(&server);
    let requests = server.received(Received::request_count);
    let answered = Answered::count(&healthy, &terminal);
    // A poll that is held lets one upload of punches begin, and that hangs, too.
    let more = server.received(Received::request_count) - requests;
    assert!(more <= 1, "it hung only for a while: {more} more requests");
    answered.at_least_a_tenth("while the server hangs");
    server.clear_faults();
    server.release_stalled();
    all_arrive(&server, answered.busy);
}

/// A library that lets no look-up of `.invalid` end before a file is there, and says by another
/// that it was asked. (On many machines such names fail at once.)
fn slow_look_up(terminal: &Terminal) -> std::path::PathBuf {
    let (source, library) = (terminal.path("look_up.c"), terminal.path("look_up.so"));
    let text = r#"
        #define _GNU_SOURCE
        #include <dlfcn.h>
        #include <fcntl.h>
        #include <netdb.h>
        #include <string.h>
        #include <unistd.h>
        int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **found) {
            if (strstr(name, ".invalid")) {
                close(open("ASKED", O_CREAT | O_WRONLY, 0600));
                while (access("END", F_OK)) usleep(10000);
                return EAI_NONAME;
            }
            int (*real)() = dlsym(RTLD_NEXT, "getaddrinfo");
            return real(name, service, hints, found);
        }
    "#;
    let path = |name: &str| terminal.path(name).display().to_string();
    fs::write(&source, text.replace("ASKED", &path("asked")).replace("END", &path("end"))).unwrap();
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-o"]).args([&library, &source]).arg("-ldl");
    assert!(compiler.status().unwrap().success());
    library
}

#[test]
fn a_name_that_cannot_be_resolved_delays_no_punch() {
    let healthy = Healthy::start();
    let server = server();
    // A name of the reserved domain: nobody ever resolves it.
    let mut terminal = Terminal::prepare("http://terminal-server.invalid:8081", "");
    let library = slow_look_up(&terminal);
    terminal.run_with("LD_PRELOAD", &library);
    until("looked up", || terminal.path("asked").exists(), || terminal.log());
    let answered = Answered::count(&healthy, &terminal);
    assert!(!terminal.log().contains("warning"), "the look-up ended: {}", terminal.log());
    answered.at_least_a_tenth("while the name is looked up");
    fs::write(terminal.path("end"), "").unwrap();
    let status = terminal.wait_for("in trouble", |status| !status["trouble"].is_null());
    let message = status["trouble"].as_str().unwrap();
    assert!(message.contains("resolved") && message.contains("DNS"), "{message}");
    let pending = status["streams"]["punches"]["pending"].as_u64().unwrap();
    assert!(pending >= answered.busy.into(), "{pending} of {} are pending", answered.busy);
    // Given a name that can be, everything arrives.
    terminal.configure(&server.url().replace("127.0.0.1", "localhost"), "");
    terminal.signal("HUP");
    all_arrive(&server, answered.busy);
}

/// Commands for so many users, a line each.
fn users(count: usize, before: impl Fn(usize) -> String) -> String {
    (0..count)
        .map(|nth| format!("{}DATA UPDATE USERINFO PIN={nth}\tName=User {nth}\n", before(nth)))
        .collect()
}

/// Waits until the first user of a list is there.
fn until_user(terminal: &Terminal, pin: &str) {
    let mut driver = terminal.driver();
    while driver.call("user.get", json!({"pin": pin})).unwrap().is_null() {}
}

/// Records punches one after the other from when user 0 is there until it is over. At least ten must
/// be answered meanwhile; how many. (How often drivers are looked at, whatever else the machine does, is
/// counted in `src/client/simulation/looks.rs`.)
#[track_caller]
fn one_each_chunk(terminal: &Terminal, bytes: usize, is_over: impl Fn() -> bool) -> u32 {
    until_user(terminal, "0");
    let mut driver = terminal.driver();
    let chunks = (bytes / (64 << 10)) as u32;
    let mut answered = 0;
    loop {
        driver.punch("1001", &second(answered));
        if is_over() {
            break;
        }
        answered += 1;
    }
    println!("{answered} punches were answered during {chunks} chunks of 64 KiB");
    assert!(answered >= 10, "only {answered} punches were answered during {chunks} chunks");
    answered
}

/// Whether the punch has come after which the rest of a list comes.
fn has_last_punch(seen: &[RawRequest]) -> bool {
    seen.iter().any(|request| request.text().contains("9999\t"))
}

#[test]
fn a_list_that_stops_in_the_middle_delays_no_punch() {
    let healthy = Healthy::start();
    // Half of a list comes, and the rest when a punch has come.
    let line = |nth: u32| format!("C:s{nth}:DATA UPDATE USERINFO PIN=s{nth}\tName=User {nth}\n");
    let list: String = (0..120).map(line).collect();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", list.len());
    let (first, rest) = list.split_at(list.len() / 2);
    let mut answer = Some(RawAnswer::InTwo((head + first).into(), rest.into(), has_last_punch));
    let server = RawServer::start(move |request| match request {
        request if request.is_handshake() => options(""),
        request if request.is_poll() => answer.take().unwrap_or_else(|| says(200, "OK")),
        request => says(200, format!("OK:{}", request.lines().len())),
    });
    let mut terminal = Terminal::prepare(&server.url(), "");
    terminal.run();
    until_user(&terminal, "s0");
    let answered = Answered::count(&healthy, &terminal);
    assert!(replies_to(&server).is_empty(), "the list was over first");
    answered.at_least_a_tenth("in the middle of a list");
    terminal.driver().punch("9999", &second(1));
    until("carried out", || replies_to(&server).len() == 120, || terminal.log());
    terminal.wait_for("sent", |status| status["streams"]["punches"]["pending"] == 0);
}

#[test]
fn a_long_command_list_delays_no_punch() {
    let server = server();
    let terminal = Terminal::start(&server, "");
    terminal.wait_until_online();
    // 60 000 users come in one answer, as fast as the server can send them.
    let list = users(60_000, |nth| format!("C:u{nth}:"));
    let size = list.len();
    // The first result leaves when the list is at its end.
    let replies = server.received(|received| received.count("reply"));
    server.next_poll_body(list);
    let is_over = || server.received(|received| received.count("reply")) > replies;
    let answered = one_each_chunk(&terminal, size, is_over);
    terminal.wait_for("all users", |status| status["users"] == 60_000);
    all_arrive(&server, answered);
}

#[test]
fn a_long_list_in_a_file_delays_no_punch() {
    let server = server();
    let terminal = terminal_with_files(&server, "");
    terminal.wait_until_online();
    let list = users(100_000, |_| String::new());
    let size = list.len();
    server.serve_file("users", list);
    let id = server.queue("PutFile users\t\tAction=AppendData");
    let is_over = || server.received(|received| received.reply(&id).is_some());
    let answered = one_each_chunk(&terminal, size, is_over);
    assert_eq!(answer(&server, &id).0, size as i64);
    assert_eq!(terminal.status()["users"], 100_000);
    all_arrive(&server, answered);
}
