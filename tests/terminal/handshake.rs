//! The handshake (S1–S4): what is asked, what is understood, what is held back.

use iclock_emulator::{Act, DateField, Emulator, Fault, On, Persona, Settings};

use crate::harness::{
    SERIAL, TIMEOUT, Terminal, polls, second, server, server_with, targets, until,
};

#[test]
fn handshake_comes_first_and_is_as_in_the_document() {
    // Given a server that answers the first handshakes with an error.
    let server = server();
    server.fault(Fault::new(On::handshake(), Act::status(500, "not yet")).times(2));
    // When a terminal with something to say starts.
    let terminal = Terminal::start(&server, "language = 83\n[device]\ncomm_key = \"a b\"");
    terminal.driver().punch("1001", &second(1));
    assert!(server.wait_until(TIMEOUT, |received| !received.attlog().is_empty()));
    // Then nothing else was sent before the handshake succeeded.
    let asked = format!(
        "/iclock/cdata?SN={SERIAL}&options=all&pushver=2.4.1&language=83&pushcommkey=a%20b"
    );
    let requests = server.requests();
    for seen in &requests[..3] {
        assert_eq!((seen.method.as_str(), seen.target.as_str()), ("GET", asked.as_str()));
    }
    assert_ne!(requests[3].exchange, "handshake");
    server.assert_strict();
}

#[test]
fn every_form_of_handshake_reply_is_understood() {
    for persona in Persona::ALL {
        let server = server_with(Settings::persona(persona));
        let id = server.queue("INFO");
        let terminal = Terminal::start(&server, "");
        terminal.driver().punch("1001", &second(1));
        let all_came = |received: &iclock_emulator::Received| {
            received.attlog().len() == 1 && received.reply(&id).is_some()
        };
        // A server that only says OK is asked again later; its defaults are slow.
        assert!(server.wait_until(TIMEOUT, all_came), "{persona}: {}", terminal.log());
        assert_eq!(server.attlog()[0].times, 1, "{persona}");
        server.assert_strict();
    }
}

#[test]
fn options_are_applied_and_unknown_ones_ignored() {
    let server = server();
    server.set_option("Delay", "2");
    server.set_option("TransFlag", "TransData OpLog");
    server.set_option("NeverHeardOf", "1");
    let terminal = Terminal::start(&server, "");
    terminal.driver().punch("1001", &second(1));
    // Punches are switched off: they stay, whatever the server polls for.
    assert!(server.wait_until(TIMEOUT, |received| {
        received.requests().filter(|seen| seen.exchange == "poll").count() >= 3
    }));
    assert_eq!(terminal.status()["streams"]["punches"]["pending"], 1);
    assert!(server.attlog().is_empty());
    let polls: Vec<u64> = server
        .requests()
        .iter()
        .filter(|seen| seen.exchange == "poll")
        .map(|seen| seen.at_ms)
        .collect();
    assert!(polls[2] - polls[1] >= 1900, "polls were {} ms apart", polls[2] - polls[1]);
    // Switched on, they go.
    server.set_option("TransFlag", "1111111111");
    server.queue("CHECK");
    assert!(server.wait_until(TIMEOUT, |received| received.attlog().len() == 1));
    server.assert_strict();
}

#[test]
fn refusals_of_the_handshake_keep_everything_back() {
    let server = server();
    for body in ["UNKNOWN DEVICE", "GET OPTION FROM: MADE0001\nRETRY\n", "<html>Login</html>", ""] {
        server.next_handshake_body(body);
    }
    let terminal = Terminal::start(&server, "");
    terminal.driver().punch("1001", &second(1));
    let status = terminal.wait_for("in trouble", |status| !status["trouble"].is_null());
    assert!(status["trouble"].as_str().unwrap().contains("UNKNOWN DEVICE"), "{status:#}");
    assert!(server.wait_until(TIMEOUT, |received| !received.attlog().is_empty()));
    assert_eq!(targets(&server, "handshake").len(), 5);
    let status = terminal.wait_for("online", |status| status["online"] == true);
    assert!(status["trouble"].is_null(), "{status:#}");
}

#[test]
fn lower_version_of_both_is_spoken() {
    for (server_says, spoken) in
        [(Some("2.2.14"), "2.2.14"), (Some("3.0.0"), "2.4.1"), (None, "2.2.14")]
    {
        let server = server();
        match server_says {
            Some(version) => server.set_option("PushProtVer", version),
            None => server.remove_option("PushProtVer"),
        }
        let terminal = Terminal::start(&server, "");
        terminal.wait_until_online();
        assert!(terminal.log().contains(&format!("protocol {spoken}")), "{}", terminal.log());
    }
}

#[test]
fn clock_is_set_from_the_date_and_the_zone() {
    // Whole, half and quarter hours, in hours and in minutes; two years ahead, to be sure.
    for (zone, offset) in [("8", 28_800), ("5.5", 19_800), ("-225", -13_500), ("345", 20_700)] {
        let server = server();
        let now = 1_856_000_000; // 2028-10-24 11:33:20 UTC
        server.fix_clock(Some(now));
        server.set_option("TimeZone", zone);
        let terminal = Terminal::start(&server, "");
        terminal.wait_until_online();
        terminal.driver().call("punch", serde_json::json!({"pin": "7"})).unwrap();
        assert!(server.wait_until(TIMEOUT, |received| !received.attlog().is_empty()));
        let row = String::from_utf8(server.attlog()[0].raw.clone()).unwrap();
        let time =
            punchd::protocol::time::LocalTime::parse(row.split('\t').nth(1).unwrap()).unwrap();
        let behind = time.seconds() - (now as i64 + offset);
        assert!((0..=30).contains(&behind), "zone {zone}: {row} is off by {behind} s");
    }
}

#[test]
fn clock_is_left_alone_where_the_date_is_doubtful() {
    type Doubt<'a> = &'a dyn Fn(&Emulator);
    let cases: [(&str, Doubt<'_>); 3] = [
        ("no Date", &|server| server.set_date_field(DateField::Omitted)),
        ("a zone that makes no sense", &|server| server.set_option("TimeZone", "99")),
        ("an answer that took long", &|server| {
            server.fault(Fault::new(On::handshake(), Act::Delay { ms: 5500 }));
            server.fault(Fault::new(On::poll(), Act::Delay { ms: 5500 }).always());
        }),
    ];
    for (name, doubt) in cases {
        let server = server();
        server.set_clock_offset(86_400 * 400);
        doubt(&server);
        let terminal = Terminal::start(&server, "");
        terminal.wait_until_online();
        polls(&server, 2);
        assert!(!terminal.log().contains("clock set"), "{name}: {}", terminal.log());
    }
}

#[test]
fn reload_takes_a_new_server_and_refuses_a_wrong_file() {
    let (first, second_server) = (server(), server());
    let terminal = Terminal::start(&first, "");
    terminal.wait_until_online();
    // A file that is wrong changes nothing.
    std::fs::write(terminal.path("punchd.toml.good"), "").unwrap();
    terminal.configure("nonsense", "");
    terminal.signal("HUP");
    terminal.driver().punch("1001", &second(1));
    assert!(first.wait_until(TIMEOUT, |received| received.attlog().len() == 1));
    assert!(terminal.log().contains("stays as it was"), "{}", terminal.log());
    // So does one whose change could hold only by half.
    terminal.configure(&second_server.url(), "[limits]\nusers = 7\npunches = 9\n");
    terminal.signal("HUP");
    let message = "a change of [limits] users, [limits] punches needs a restart";
    until("refused", || terminal.log().contains(message), || terminal.log());
    // One that is right holds at once.
    terminal.configure(&second_server.url(), "");
    terminal.signal("HUP");
    terminal.driver().punch("1002", &second(2));
    assert!(second_server.wait_until(TIMEOUT, |received| received.attlog().len() == 1));
    assert_eq!(first.attlog().len(), 1);
}
