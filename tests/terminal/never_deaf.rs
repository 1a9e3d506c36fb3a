//! Never deaf: drivers are served while the server hangs, while its name is looked up, while a long
//! list or a large file is worked on.
//!
//! Each test counts the punches that are answered by a terminal in that situation, and by a healthy
//! one in turns with it, so that a slow machine slows both. A terminal that serves nobody meanwhile
//! answers none.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use iclock_emulator::{Act, Emulator, Fault, On, Received};
use serde_json::json;

use crate::harness::{
    TIMEOUT, Terminal, answer, second, server, terminal_with_files, until, until_unanswered,
};

/// How long punches are counted at one terminal before it is the other's turn.
const SPAN: Duration = Duration::from_millis(50);
/// How often each has its turn, where the situation lasts.
const ROUNDS: u32 = 20;
/// A terminal whose server answers.
struct Healthy {
    terminal: Terminal,
    _server: Emulator,
}

impl Healthy {
    fn start() -> Self {
        let server = server();
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
    rounds: u32,
}

impl Answered {
    /// Counts in turns with a healthy terminal: as long as it goes on, at most [`ROUNDS`] times.
    fn count(healthy: &Healthy, busy: &Terminal, goes_on: impl Fn() -> bool) -> Self {
        let mut answered = Self::default();
        while answered.rounds < ROUNDS {
            let (one, other) = (punches(&healthy.terminal), punches(busy));
            if !goes_on() {
                break;
            }
            answered.healthy += one;
            answered.busy += other;
            answered.rounds += 1;
        }
        let rounds = answered.rounds;
        assert!(rounds > 2, "it was over after {rounds} rounds: too short to be measured");
        answered
    }

    /// At least one punch for so many of the healthy terminal.
    #[track_caller]
    fn at_least_one_of(&self, what: &str, most: u32) {
        let Self { healthy, busy, rounds } = self;
        println!(
            "{what}: {busy} punches answered, {healthy} by a healthy terminal in {rounds} rounds"
        );
        assert!(
            busy * most >= *healthy,
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
fn all_arrive(server: &Emulator, answered: &Answered) {
    let rows = |received: &Received| received.punch_rows_received_total();
    let came = server.wait_until(TIMEOUT, |received| rows(received) >= answered.busy.into());
    assert!(came, "{} of {} punches arrived", server.received(rows), answered.busy);
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
    let hangs = || server.received(Received::request_count) == requests;
    let answered = Answered::count(&healthy, &terminal, hangs);
    answered.at_least_one_of("while the server hangs", 2);
    server.clear_faults();
    server.release_stalled();
    all_arrive(&server, &answered);
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
    let answered = Answered::count(&healthy, &terminal, || true);
    assert!(!terminal.log().contains("warning"), "the look-up ended: {}", terminal.log());
    answered.at_least_one_of("while the name is looked up", 2);
    fs::write(terminal.path("end"), "").unwrap();
    let status = terminal.wait_for("in trouble", |status| !status["trouble"].is_null());
    let message = status["trouble"].as_str().unwrap();
    assert!(message.contains("resolved") && message.contains("DNS"), "{message}");
    let pending = status["streams"]["punches"]["pending"].as_u64().unwrap();
    assert!(pending >= answered.busy.into(), "{pending} of {} are pending", answered.busy);
    // Given a name that can be, everything arrives.
    terminal.configure(&server.url().replace("127.0.0.1", "localhost"), "");
    terminal.signal("HUP");
    all_arrive(&server, &answered);
}

/// Commands for so many users, a line each.
fn users(count: usize, before: impl Fn(usize) -> String) -> String {
    (0..count)
        .map(|nth| format!("{}DATA UPDATE USERINFO PIN={nth}\tName=User {nth}\n", before(nth)))
        .collect()
}

#[test]
fn a_long_command_list_delays_no_punch() {
    let healthy = Healthy::start();
    // 60 000 users come in one answer, as fast as the server can send them.
    let server = server();
    let terminal = Terminal::start(&server, "");
    terminal.wait_until_online();
    server.next_poll_body(users(60_000, |nth| format!("C:u{nth}:")));
    terminal.wait_for("the first of them", |status| status["users"].as_u64() > Some(0));
    // The first result leaves when the list is at its end.
    let goes_on = || server.received(|received| received.count("reply")) == 0;
    let answered = Answered::count(&healthy, &terminal, goes_on);
    answered.at_least_one_of("while a long list comes in", 20);
    terminal.wait_for("all users", |status| status["users"] == 60_000);
    all_arrive(&server, &answered);
}

#[test]
fn a_long_list_in_a_file_delays_no_punch() {
    let healthy = Healthy::start();
    let server = server();
    let terminal = terminal_with_files(&server, "");
    terminal.wait_until_online();
    let list = users(100_000, |_| String::new());
    let size = list.len();
    server.serve_file("users", list);
    let id = server.queue("PutFile users\t\tAction=AppendData");
    // From here on the file is read, checked and carried out, and the server is not asked for more.
    assert!(server.wait_until(TIMEOUT, |received| received.file_bytes() >= size as u64));
    let goes_on = || server.received(|received| received.reply(&id).is_none());
    let answered = Answered::count(&healthy, &terminal, goes_on);
    answered.at_least_one_of("while a file is carried out", 20);
    assert_eq!(answer(&server, &id).0, size as i64);
    assert_eq!(terminal.status()["users"], 100_000);
    all_arrive(&server, &answered);
}
