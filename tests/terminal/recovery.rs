//! Back after a failure: how soon, and by how many requests. Each against a raw server that knows only
//! the rule.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::harness::{
    RawAnswer, RawServer, Terminal, options, polls_of, replies_to, says, second, until,
};

#[test]
fn a_server_that_closes_every_second_connection_gets_everything() {
    for closed in [RawAnswer::Closes, RawAnswer::Resets] {
        // Given a server that closes every second connection without an answer,
        let (mut connections, mut commands) = (0, vec!["C:1:INFO"]);
        let server = RawServer::start(move |request| {
            connections += 1;
            match request {
                _ if connections % 2 == 0 => closed.clone(),
                // Whatever waited for that would come after the end of the test.
                request if request.is_handshake() => options("ErrorDelay=600\n"),
                request if request.is_poll() => says(200, commands.pop().unwrap_or("OK")),
                request if request.target.contains("/devicecmd") => says(200, "OK"),
                request => says(200, format!("OK:{}", request.lines().len())),
            }
        });
        let mut terminal = Terminal::prepare(&server.url(), "[timeouts]\nretry = 600\n");
        terminal.run();
        // when there are punches,
        let mut driver = terminal.driver();
        for nth in 0..10 {
            driver.punch("1001", &second(nth));
            terminal.wait_for("gone", |status| status["streams"]["punches"]["pending"] == 0);
        }
        // then it gets them, and the results of commands, by twice as many requests as are needed.
        polls_of(&server, 4);
        assert_eq!(replies_to(&server).len(), 1);
        let requests = server.requests();
        let handshakes = requests.iter().filter(|request| request.is_handshake()).count();
        let polls = requests.iter().filter(|request| request.is_poll()).count();
        let uploads = requests.iter().filter(|request| request.is_upload("ATTLOG")).count();
        assert!(handshakes <= 2, "{handshakes} handshakes: {}", terminal.log());
        assert!((10..=20).contains(&uploads), "{uploads} uploads of 10 punches");
        assert!(requests.len() <= polls + uploads + 10, "{} requests", requests.len());
    }
}

#[test]
fn hup_makes_the_next_attempt_come_at_once() {
    // Given a server that is in trouble, and a pause that does not end within the test,
    let handshakes = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&handshakes);
    let server = RawServer::start(move |_| {
        seen.fetch_add(1, Ordering::Relaxed);
        says(503, "")
    });
    let mut terminal = Terminal::prepare(&server.url(), "[timeouts]\nretry = 600\n");
    terminal.run();
    let status = terminal.wait_for("refused", |status| {
        !status["trouble"].is_null() && status["next_handshake_in"].as_u64() > Some(500)
    });
    assert!(status["next_handshake_in"].as_u64() <= Some(750), "{status:#}");
    let text = String::from_utf8(terminal.punchd(&["status"]).stdout).unwrap();
    assert!(text.contains("next") && text.contains("handshake in "), "{text}");
    let before = handshakes.load(Ordering::Relaxed);
    // when it is told to read its configuration again,
    terminal.signal("HUP");
    // then it tries at once.
    terminal.wait_for("tried", |_| handshakes.load(Ordering::Relaxed) > before);
}

#[test]
fn a_link_that_comes_leads_to_an_attempt_at_once() {
    // Given a terminal on a network of its own that has nothing but its loopback,
    let mut terminal = Terminal::prepare("http://192.0.2.1:8081", "[timeouts]\nretry = 900\n");
    let Some(network) = terminal.run_on_a_network_of_its_own() else {
        eprintln!("skipped: no network namespace can be made here");
        return;
    };
    let told = |what: &str| terminal.log().matches(what).count();
    terminal.wait_for("no route", |status| status["trouble"].to_string().contains("no route"));
    // when a cable is plugged in that has the address of the server at its end,
    network.ip("link add eth0 type veth peer name eth1");
    network.ip("link set lo up");
    network.ip("link set eth1 up");
    network.ip("link set eth0 up");
    terminal.wait_for("told", |_| told("a link or an address has come up") == 1);
    network.ip("addr add 192.0.2.1/24 dev eth0");
    // then it is tried without the pause: nothing listens there.
    terminal.wait_for("tried", |status| status["trouble"].to_string().contains("refused"));
    // When the link flaps,
    for _ in 0..100 {
        network.ip("link set eth1 down");
        network.ip("link set eth1 up");
    }
    // then there is no storm.
    let times = told("a link or an address has come up");
    assert!((1..=7).contains(&times), "{times} attempts: {}", terminal.log());
}

#[test]
fn a_link_that_comes_ends_an_attempt_that_waits_in_vain() {
    // Given a terminal whose attempt to connect gets no answer, and may wait for long,
    let more = "[timeouts]\nretry = 900\nconnect = 600\n";
    let mut terminal = Terminal::prepare("http://192.0.2.1:8081", more);
    let Some(network) = terminal.run_on_a_network_of_its_own() else {
        eprintln!("skipped: no network namespace can be made here");
        return;
    };
    terminal.wait_for("no route", |status| status["trouble"].to_string().contains("no route"));
    network.ip("link add eth0 type veth peer name eth1");
    network.ip("link set eth1 up");
    network.ip("link set eth0 up");
    // Nobody answers behind the cable: the address of the server is that of nobody's card.
    network.ip("addr add 192.0.2.9/24 dev eth0");
    network.ip("neigh add 192.0.2.1 lladdr 02:00:00:00:00:01 dev eth0");
    // The local ports of connections that are being made (SYN_SENT, 02).
    let attempts = || {
        let sockets = std::fs::read_to_string(format!("/proc/{}/net/tcp", terminal.pid())).unwrap();
        let fields = sockets.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let attempts = fields.filter(|fields| fields[2].ends_with(":1F91") && fields[3] == "02");
        attempts.map(|fields| fields[1].to_owned()).collect::<Vec<_>>()
    };
    until("an attempt is under way", || !attempts().is_empty(), || terminal.log());
    let before = attempts();
    // when the cable is pulled out and plugged in,
    network.ip("link set eth1 down");
    network.ip("link set eth1 up");
    // then it is given up, and made anew.
    let is_anew = || attempts().iter().any(|port| !before.contains(port));
    until("it is made anew", is_anew, || terminal.log());
}

#[test]
fn the_first_poll_comes_at_a_place_of_its_own_and_nothing_else_waits_for_it() {
    // Given a terminal whose polls have a place in `Delay`, of which the first is five minutes from its
    // start at most,
    let server = RawServer::start(|request| match request {
        request if request.is_handshake() => options("Delay=3600\n"),
        request if request.is_poll() => says(200, "OK"),
        request => says(200, format!("OK:{}", request.lines().len())),
    });
    let mut terminal = Terminal::prepare(&server.url(), "[limits]\nstart_spread = 1\n");
    terminal.run();
    // when there are punches,
    let mut driver = terminal.driver();
    for nth in 0..10 {
        driver.punch("1001", &second(nth));
        terminal.wait_for("gone", |status| status["streams"]["punches"]["pending"] == 0);
    }
    // then they went, before the first poll, and `status` says when that comes;
    assert_eq!(server.requests().iter().filter(|request| request.is_poll()).count(), 0);
    let status = terminal.wait_for("online", |status| status["online"] == true);
    let poll_in = status["next_poll_in"].as_u64().unwrap();
    assert!((30..=300).contains(&poll_in), "{status:#}");
    // and a new configuration has it come at once.
    terminal.signal("HUP");
    polls_of(&server, 1);
}
