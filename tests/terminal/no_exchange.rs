//! Servers without an exchange of keys, or with one that goes wrong, by what the owner wants: plain text with a
//! warning, or nothing at all.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use iclock_emulator::suite::{self, Secret, ServerKeys};
use iclock_emulator::{Act, Fault, On, Settings};
use serde_json::json;

use crate::harness::{
    RawAnswer, RawRequest, RawServer, TIMEOUT, Terminal, base64, encrypting, encrypting_server,
    options, says, second, server_with, until,
};

const REQUIRED: &str = "[encryption]\nexchange = \"required\"";
const NOTHING_IS_SENT: &str = "nothing is sent, since [encryption] exchange is \"required\"";

fn started(server: &RawServer, more: &str) -> Terminal {
    let mut terminal = Terminal::prepare(&server.url(), more);
    terminal.run();
    terminal
}

/// What a server answers to the exchange: to the key, then to the factor.
type Answers = fn(&RawRequest, &ServerKeys) -> RawAnswer;

/// The DER of a public key with this modulus and this exponent.
fn key_of(modulus: &[u8], exponent: &[u8]) -> String {
    let number = |bytes: &[u8]| {
        let length = bytes.len() as u16;
        [&[0x02, 0x82], &length.to_be_bytes()[..], bytes].concat()
    };
    let numbers = [number(&[&[0], modulus].concat()), number(exponent)].concat();
    base64([&[0x30, 0x82], &(numbers.len() as u16).to_be_bytes()[..], &numbers].concat())
}

fn public(key: impl AsRef<str>) -> RawAnswer {
    says(200, format!("PublicKey={}\n", key.as_ref()))
}

/// A right answer to the key, and this one to the factor.
fn at_factors(
    request: &RawRequest,
    keys: &ServerKeys,
    answer: impl FnOnce(&str) -> RawAnswer,
) -> RawAnswer {
    match request.text().strip_prefix("Factors=") {
        Some(factors) => answer(factors),
        None => public(&keys.public),
    }
}

/// The lines of a right answer to the factor of a terminal, with this done to its lines.
fn with_lines(
    seen: &RawRequest,
    keys: &ServerKeys,
    change: impl FnOnce(&mut Vec<String>),
) -> RawAnswer {
    at_factors(seen, keys, |factors| {
        let theirs = TERMINAL_KEY.lock().unwrap().clone();
        let answer = keys.agree(&theirs, factors).unwrap().1;
        let mut lines = answer.lines().map(str::to_owned).collect();
        change(&mut lines);
        says(200, lines.join("\n"))
    })
}

/// The key that the terminal of the test sent last: one test uses it, one terminal after another.
static TERMINAL_KEY: Mutex<String> = Mutex::new(String::new());

/// Everything that is no exchange, with what the log says of it.
const NO_EXCHANGE: [(&str, Answers, &str); 22] = [
    ("404", |_, _| says(404, "Not Found"), "with status 404"),
    ("401", |_, _| says(401, ""), "with status 401"),
    ("a meaningless OK", |_, _| says(200, "OK"), "has no PublicKey"),
    ("a web page", |_, _| says(200, "<html>PublicKey=1</html>"), "has no PublicKey"),
    ("an echo", |request, _| says(200, request.text()), "it sent the key of the terminal back"),
    ("no key", |_, _| public(""), "no RSA key of 2048 bits"),
    ("no base64", |_, _| public("!".repeat(360)), "no RSA key of 2048 bits"),
    ("a huge key", |_, _| public("A".repeat(1 << 20)), "no RSA key of 2048 bits"),
    ("512 bits", |_, _| public(key_of(&[0xff; 64], &[1, 0, 1])), "no RSA key of 2048 bits"),
    ("16384 bits", |_, _| public(key_of(&[0xff; 2048], &[1, 0, 1])), "no RSA key of 2048 bits"),
    ("e = 1", |_, _| public(key_of(&[0xff; 256], &[1])), "no RSA key of 2048 bits"),
    ("e = 1, long", |_, _| public(key_of(&[0xff; 256], &[0, 0, 1])), "no RSA key of 2048 bits"),
    (
        "404 to the factor",
        |request, keys| at_factors(request, keys, |_| says(404, "")),
        "with status 404",
    ),
    (
        "OK to the factor",
        |request, keys| at_factors(request, keys, |_| says(200, "OK")),
        "has no Factors",
    ),
    (
        "an echo of the factor",
        |request, keys| {
            at_factors(request, keys, |factors| {
                says(200, format!("Factors={factors}\nConfirm=AVM="))
            })
        },
        "does not decrypt",
    ),
    (
        "a factor of zeros",
        |request, keys| {
            at_factors(request, keys, |_| {
                says(200, format!("Factors={}\nConfirm=", base64([0; 256])))
            })
        },
        "does not decrypt",
    ),
    (
        "a huge factor",
        |request, keys| {
            at_factors(request, keys, |_| {
                says(200, format!("Confirm=\nFactors={}", "A".repeat(1 << 20)))
            })
        },
        "does not decrypt",
    ),
    (
        "no confirmation",
        |request, keys| with_lines(request, keys, |lines| lines.truncate(1)),
        "has no Confirm",
    ),
    (
        "an empty confirmation",
        |request, keys| with_lines(request, keys, |lines| lines[1] = "Confirm=".into()),
        "does not prove that it knows the factors: it is not encrypted",
    ),
    (
        "a confirmation of OK in plain",
        |request, keys| {
            with_lines(request, keys, |lines| lines[1] = format!("Confirm={}", base64("200 2\nOK")))
        },
        "does not prove that it knows the factors: it is not encrypted",
    ),
    (
        "the confirmation of another exchange",
        |request, keys| {
            with_lines(request, keys, |lines| {
                let sealed = other_secret().seal(0, b"200 2\nOK");
                lines[1] = format!("Confirm={}", base64(sealed));
            })
        },
        "it is encrypted with other keys",
    ),
    (
        "another key than before",
        |request, keys| {
            with_lines(request, keys, |lines| {
                // The server changed its key between the two requests: it cannot open the factor.
                let theirs = TERMINAL_KEY.lock().unwrap().clone();
                let keys = ServerKeys::make();
                let wrapped = suite::wrap(&keys.public, &[7; 32]).unwrap();
                let answer = keys.agree(&theirs, &wrapped).unwrap().1;
                *lines = answer.lines().map(str::to_owned).collect();
            })
        },
        "it is encrypted with other keys",
    ),
];

fn other_secret() -> Secret {
    let keys = ServerKeys::make();
    let wrapped = suite::wrap(&keys.public, &[7; 32]).unwrap();
    keys.agree(&keys.public, &wrapped).unwrap().0
}

/// A server that answers the exchange so, and everything else right.
fn answering(answers: Answers) -> RawServer {
    let keys = ServerKeys::make();
    RawServer::start(move |request| match request {
        request if request.is_handshake() => match options("") {
            RawAnswer::Says(status, more, body) => {
                RawAnswer::Says(status, more, body.replace("Encrypt=0", "Encrypt=1"))
            }
            other => other,
        },
        request if request.target.contains("/exchange?") => {
            if let Some(key) = request.text().strip_prefix("PublicKey=") {
                key.clone_into(&mut TERMINAL_KEY.lock().unwrap());
            }
            answers(request, &keys)
        }
        _ => says(200, "OK"),
    })
}

#[test]
fn what_is_no_exchange_leads_to_plain_text_with_a_warning_or_to_nothing_at_all() {
    for (what, answers, why) in NO_EXCHANGE {
        let server = answering(answers);
        let terminal = started(&server, "");
        terminal.driver().punch("1001", &second(1));
        let is_sent = || server.requests().iter().any(|it| it.is_upload("ATTLOG"));
        until("sent", is_sent, || format!("{what}: {}", terminal.log()));
        let warning =
            terminal.log().lines().find(|line| line.contains("Encrypt=1")).map(str::to_owned);
        assert!(warning.as_ref().is_some_and(|line| line.contains(why)), "{what}: {warning:?}");
        let status = terminal.status();
        let attention = status["attention"].to_string();
        assert!(attention.contains("nothing is encrypted"), "{what}: {attention}");
        assert_eq!(status["encrypted"], false, "{what}");
        drop(terminal);

        let server = answering(answers);
        let terminal = started(&server, REQUIRED);
        terminal.driver().punch("1001", &second(1));
        let handshakes = || server.requests().iter().filter(|it| it.is_handshake()).count();
        until("tried twice", || handshakes() >= 2, || format!("{what}: {}", terminal.log()));
        for request in server.requests() {
            let is_open = request.is_handshake() || request.target.contains("/exchange?");
            assert!(is_open, "{what}: {} {}", request.method, request.target);
        }
        let status = terminal.status();
        let trouble = status["trouble"].as_str().unwrap_or_default();
        assert!(trouble.contains(NOTHING_IS_SENT) && trouble.contains(why), "{what}: {trouble}");
        assert_eq!(status["streams"]["punches"]["pending"], 1, "{what}");
    }
}

#[test]
fn a_man_in_the_middle_who_strikes_encrypt_from_the_handshake_gets_nothing() {
    for (version, encrypt) in [("2.4.1", "0"), ("2.4.1", "None"), ("2.3.0", "1"), ("", "1")] {
        let server = server_with(Settings { exchanges_keys: true, ..Settings::default() });
        server.set_option("PushProtVer", version);
        server.set_option("Encrypt", encrypt);
        let terminal = Terminal::start(&server, REQUIRED);
        terminal.driver().punch("1001", &second(1));
        assert!(server.wait_until(TIMEOUT, |got| got.count("handshake") >= 3));
        assert!(server.requests().iter().all(|seen| seen.exchange == "handshake"), "{version}");
        let status = terminal.status();
        let trouble = status["trouble"].as_str().unwrap();
        assert!(trouble.contains(NOTHING_IS_SENT) && trouble.contains("Encrypt=1"), "{trouble}");
    }
}

#[test]
fn commands_in_a_handshake_are_not_carried_out_where_encryption_is_required() {
    let server = encrypting_server();
    let list = "C:9:DATA UPDATE USERINFO PIN=66\n".repeat(3);
    server.next_handshake_body(format!(
        "GET OPTION FROM: MADE0001\nEncrypt=1\nPushProtVer=2.4.1\nDelay=1\n{list}"
    ));
    let terminal = Terminal::start(&server, REQUIRED);
    let id = server.queue("DATA UPDATE USERINFO PIN=67");
    assert!(server.wait_until(TIMEOUT, |got| got.reply(&id).is_some()), "{}", terminal.log());
    assert_eq!(server.replies().len(), 1);
    let user = |pin: &str| terminal.driver().call("user.get", json!({"pin": pin}));
    assert!(user("67").is_ok_and(|user| !user.is_null()));
    assert!(user("66").map_or(true, |user| user.is_null()));
    let said = "of the reply to the handshake, which is not encrypted";
    assert_eq!(terminal.log().matches(said).count(), 1, "{}", terminal.log());
}

#[test]
fn an_exchange_that_breaks_off_is_tried_again_before_all_goes_in_plain() {
    // Twice is a bad line; three times may be a server that has none, and it is asked again soon.
    for (times, encrypted) in [(2, true), (u32::MAX, false)] {
        let server = encrypting_server();
        server.fault(Fault::new(On::keys(), Act::status(503, "later")).times(times));
        let terminal = Terminal::start(&server, "");
        terminal.driver().punch("1001", &second(1));
        assert!(server.wait_until(TIMEOUT, |got| got.attlog().len() == 1), "{}", terminal.log());
        let status = terminal.status();
        assert_eq!(status["encrypted"], encrypted, "{}", terminal.log());
        let next = status["next_handshake_in"].as_u64().unwrap();
        assert!(if encrypted { next > 3_600 } else { (1..=900).contains(&next) }, "{next}");
        server.assert_strict();
    }
    // One that says that it has none is asked when a handshake comes anyway.
    let server = answering(|_, _| says(404, "Not Found"));
    let terminal = started(&server, "");
    terminal.wait_until_online();
    assert!(terminal.status()["next_handshake_in"].as_u64() > Some(3_600));
}

/// The first punch of a new terminal, with `auto`, goes to this server encrypted.
#[track_caller]
fn assert_encrypted(server: &RawServer) {
    let terminal = started(server, "");
    terminal.driver().punch("1001", &second(1));
    let is_sent = || server.requests().iter().any(|it| it.is_upload("ATTLOG"));
    until("sent", is_sent, || terminal.log());
    assert_eq!(terminal.status()["encrypted"], true, "{}", terminal.log());
}

/// The answer has no length, and its connection is closed within the key: it may be cut off. Likewise what a server
/// says that has no time.
#[test]
fn an_answer_that_may_be_cut_off_is_no_server_without_an_exchange() {
    let answers: [fn(&str) -> RawAnswer; 4] = [
        |key| RawAnswer::Exactly(format!("HTTP/1.1 200 X\r\n\r\nPublicKey={}", &key[..99]).into()),
        |_| RawAnswer::Exactly(b"HTTP/1.1 200 X\r\n\r\n".into()),
        |_| says(408, "too slow"),
        |_| says(425, "too early"),
    ];
    for in_doubt in answers {
        let mut was_asked = false;
        let (state, mut answer) = encrypting(|request| match request {
            request if request.is_handshake() => options(""),
            request => says(200, format!("OK:{}", request.lines().len())),
        });
        let keys = ServerKeys::make();
        let server = RawServer::start(move |request| {
            let asks_for_key = request.target.contains("type=publickey");
            if asks_for_key && !std::mem::replace(&mut was_asked, true) {
                return in_doubt(&keys.public);
            }
            answer(request)
        });
        assert_encrypted(&server);
        assert_eq!(state.lock().unwrap().secrets.len(), 1);
    }
}

/// What keeps keys from being exchanged now may pass: it is the reason as long as it does not.
#[test]
fn why_an_exchange_fails_is_told_where_encryption_is_required() {
    // First the server does not ask for it, which must not stand there later.
    let asks = Arc::new(AtomicBool::new(false));
    let answers: [(Answers, &str); 2] = [
        (|_, _| says(503, "later"), "status 503 at /iclock/exchange"),
        (|_, _| RawAnswer::Closes, "the connection was closed"),
    ];
    for (answers, why) in answers {
        asks.store(false, Ordering::Relaxed);
        let (does_ask, keys) = (Arc::clone(&asks), ServerKeys::make());
        let server = RawServer::start(move |request| match request {
            request if request.is_handshake() && does_ask.load(Ordering::Relaxed) => {
                options("Encrypt=1\n")
            }
            request if request.is_handshake() => options(""),
            request => answers(request, &keys),
        });
        let terminal = started(&server, REQUIRED);
        let says_why = |why: &str| {
            terminal.wait_for(why, |status| {
                let has = |key: &str| status[key].as_str().is_some_and(|text| text.contains(why));
                has("unencrypted") && has("trouble")
            })
        };
        says_why("does not say Encrypt=1");
        asks.store(true, Ordering::Relaxed);
        let status = says_why(why);
        let unencrypted = status["unencrypted"].as_str().unwrap();
        assert!(unencrypted.starts_with(NOTHING_IS_SENT), "{unencrypted}");
    }
}

/// The server may have taken the first, and refuse the second for that.
#[test]
fn a_factor_that_is_sent_again_and_refused_is_no_server_without_an_exchange() {
    let mut factors = 0;
    let (state, mut answer) = encrypting(|request| match request {
        request if request.is_handshake() => options(""),
        request => says(200, format!("OK:{}", request.lines().len())),
    });
    let server = RawServer::start(move |request| {
        if request.target.contains("type=factors") {
            factors += 1;
            match factors {
                1 => return RawAnswer::Closes,
                2 => return says(400, "these factors came before"),
                _ => {}
            }
        }
        answer(request)
    });
    assert_encrypted(&server);
    let state = state.lock().unwrap();
    assert!(state.flaws.is_empty() && state.secrets.len() == 1, "{:?}", state.flaws);
}

#[test]
fn a_server_that_closes_every_second_connection_has_an_exchange_all_the_same() {
    let keys = Settings { exchanges_keys: true, keep_alive: false, ..Settings::default() };
    let server = server_with(keys);
    server.set_option("Encrypt", "1");
    server.fault(Fault::new(On::keys(), Act::ResetRead));
    let terminal = Terminal::start(&server, REQUIRED);
    terminal.wait_until_online();
    assert_eq!(server.received(|got| got.count("handshake")), 1, "{}", terminal.log());
    assert_eq!(server.received(|got| got.count("keys")), 3);
    server.assert_strict();
}

#[test]
fn a_file_from_elsewhere_is_not_fetched_in_plain_where_encryption_is_required() {
    let elsewhere = RawServer::start(|_| says(200, "DATA UPDATE USERINFO PIN=9\n"));
    let url = format!("{}/list", elsewhere.url());
    for (more, is_fetched) in [(REQUIRED, false), ("", true)] {
        let server = encrypting_server();
        let urls = format!("[commands]\nurls = [{:?}]\n", elsewhere.url() + "/");
        let terminal = Terminal::start(&server, &format!("{more}\n{urls}"));
        let id = server.queue(&format!("PutFile {url}\t\tAction=AppendData"));
        let refused = "downloads from other servers by https:// only";
        until(
            "fetched or refused",
            || elsewhere.requests().len() == 1 || terminal.log().contains(refused),
            || terminal.log(),
        );
        assert_eq!(elsewhere.requests().len() == 1, is_fetched, "{}", terminal.log());
        assert_eq!(terminal.log().contains(refused), !is_fetched);
        if is_fetched {
            assert!(server.wait_until(TIMEOUT, |got| got.reply(&id).is_some()));
        }
        server.assert_strict();
    }
}

#[test]
fn a_poll_that_is_held_in_plain_text_does_not_outlive_the_change_to_required() {
    let (go, wait) = std::sync::mpsc::channel();
    let (wait, held) = (Mutex::new(wait), Arc::new(AtomicBool::new(false)));
    let is_first = Arc::clone(&held);
    let server = RawServer::start(move |request| {
        if request.is_handshake() {
            return options("");
        }
        if request.is_poll() && !is_first.swap(true, Ordering::Relaxed) {
            wait.lock().unwrap().recv().unwrap();
            return says(200, "C:7:DATA UPDATE USERINFO PIN=666\tName=Mallory\n");
        }
        says(200, "OK\n")
    });
    let terminal = started(&server, "");
    until("a poll is held", || held.load(Ordering::Relaxed), || terminal.log());
    terminal.configure(&server.url(), REQUIRED);
    terminal.signal("HUP");
    let is_read = || terminal.log().contains("configuration read again");
    until("the configuration is read", is_read, || terminal.log());
    go.send(()).unwrap();
    let is_over = || terminal.log().contains(NOTHING_IS_SENT);
    until("that nothing is sent", is_over, || terminal.log());
    let user = terminal.driver().call("user.get", json!({"pin": "666"}));
    assert!(
        user == Ok(serde_json::Value::Null),
        "a command of a plain answer was carried out: {user:?}"
    );
}
