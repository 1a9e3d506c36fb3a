//! Room for punches: whatever fills the store or its disk, punches have their reserve. What is no
//! punch is refused with -1001, or the oldest of it goes if the server does not ask for it.

use serde_json::{Value, json};

use crate::harness::{
    Driver, RawServer, TIMEOUT, Terminal, answer, base64, jpeg, noise, options, polls_of, returns,
    says, second, server, until,
};

/// A store of so few MiB, of which a quarter is for punches.
const SMALL: &str = "[limits]\nstore_mib = 4\nstart_spread = 0";
/// `TransFlag` of a server that asks for punches and users only.
const PUNCHES_ONLY: &str = "TransFlag=TransData AttLog\tEnrollUser\tChgUser\n";

/// Records punches, many at a time, each of which is to be taken.
fn take_punches(driver: &mut Driver, pin: &str, count: u32) {
    for chunk in 0..count / 100 {
        for nth in 0..100 {
            let params = json!({"pin": pin, "time": second(chunk * 100 + nth), "verify": 1});
            let call = json!({"jsonrpc": "2.0", "id": nth, "method": "punch", "params": params});
            driver.send(call.to_string().as_bytes()).unwrap();
        }
        for _ in 0..100 {
            let reply = driver.receive().unwrap();
            assert!(reply["error"].is_null(), "after {chunk} hundred: {reply}");
        }
    }
}

/// A server that asks for no photos, operations, errors, cards; its commands are these.
fn server_of_punches(version: &'static str, commands: &[&str]) -> RawServer {
    let mut commands: Vec<String> = commands.iter().map(|&command| command.to_owned()).collect();
    RawServer::start(move |request| match request {
        request if request.is_handshake() => options(&format!("{PUNCHES_ONLY}{version}")),
        request if request.is_poll() && !commands.is_empty() => says(200, commands.remove(0)),
        request if request.method == "GET" => says(200, "OK"),
        request => says(200, format!("OK:{}", request.lines().len())),
    })
}

fn dropped(status: &Value, stream: &str) -> u64 {
    status["streams"][stream]["dropped"].as_u64().unwrap()
}

/// A terminal that knows what its server asks for.
fn terminal_of(server: &RawServer) -> (Terminal, Driver) {
    let mut terminal = Terminal::prepare(&server.url(), SMALL);
    terminal.run();
    terminal.wait_until_online();
    let driver = terminal.driver();
    (terminal, driver)
}

#[test]
fn pictures_of_the_server_end_where_the_part_of_the_rest_ends() {
    let server = server();
    let terminal = Terminal::start(&server, SMALL);
    let content = base64(jpeg(150_000));
    let picture =
        |pin| format!("DATA UPDATE USERPIC PIN={pin}\tSize={}\tContent={content}", content.len());
    let users: Vec<String> =
        (1..=30).map(|pin| format!("DATA UPDATE USERINFO PIN={pin}")).collect();
    let users: Vec<String> = users.iter().map(|user| server.queue(user)).collect();
    let pictures: Vec<String> = (1..=30).map(|pin| server.queue(&picture(pin))).collect();
    // A deletion goes also when there is no room, in the list that fills it.
    let deletion = server.queue("DATA DELETE USERINFO PIN=30");
    let codes: Vec<i64> = pictures.iter().map(|id| answer(&server, id).0).collect();
    let taken = codes.iter().filter(|code| **code == 0).count();
    assert!((8..24).contains(&taken), "{codes:?}");
    assert!(codes.iter().all(|code| [0, -1001].contains(code)), "{codes:?}");
    assert!(users.iter().all(|id| answer(&server, id).0 == 0));
    assert_eq!(answer(&server, &deletion).0, 0);
    // The terminal's own photos and operations have room left, and punches their reserve.
    let mut driver = terminal.driver();
    let photo = json!({"pin": "1", "time": second(1), "data": base64(jpeg(20_000))});
    driver.call("photo", photo).unwrap();
    take_punches(&mut driver, "1", 10_000);
    let status = terminal.status();
    assert!(status["room"]["punches"].as_u64() > Some(200_000), "{}", status["room"]);
    assert!(status["full"].is_null());
    // What is deleted makes room for others.
    assert_eq!(returns(&server, "DATA DELETE USERPIC PIN=1"), 0);
    assert_eq!(returns(&server, "DATA DELETE USERPIC PIN=2"), 0);
    assert_eq!(returns(&server, &picture(3)), 0);
    assert!(
        terminal.log().contains("the part of the store that is not kept for punches is used up")
    );
}

#[test]
fn photos_that_the_server_does_not_ask_for_push_out_the_oldest_of_them_only() {
    let server = server_of_punches("", &[]);
    let (terminal, mut driver) = terminal_of(&server);
    let photo = base64(jpeg(30_000));
    for nth in 0..100 {
        let params = json!({"pin": "1", "time": second(nth), "data": photo});
        driver.call("photo", params).unwrap();
    }
    let status = terminal.status();
    let (kept, gone) = (&status["streams"]["photos"]["pending"], dropped(&status, "photos"));
    assert!(gone >= 60 && kept.as_u64() == Some(100 - gone), "{gone} dropped, {kept} kept");
    assert!(status["room"]["rest"].as_u64() > Some(1 << 20), "{}", status["room"]);
    let text = String::from_utf8(terminal.punchd(&["status"]).stdout).unwrap();
    assert!(
        text.contains(&format!("{gone} deleted before they went up (for want of room)")),
        "{text}"
    );
    assert!(text.contains("KiB for punches, "), "{text}");
    take_punches(&mut driver, "1", 10_000);
    // The count outlives a restart.
    let mut terminal = terminal;
    terminal.kill();
    terminal.run();
    assert_eq!(dropped(&terminal.status(), "photos"), gone);
}

#[test]
fn operations_errors_and_cards_that_do_not_go_up_are_bounded() {
    // Identity cards and errors are newer than the version of this server.
    let server = server_of_punches("PushProtVer=2.2.14\n", &[]);
    let (terminal, mut driver) = terminal_of(&server);
    let mut send = |method: &str, params: Value| {
        let call = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        driver.send(call.to_string().as_bytes()).unwrap();
        let reply = driver.receive().unwrap();
        assert!(reply["error"].is_null(), "{method}: {reply}");
    };
    let long = "x".repeat(12_000);
    for nth in 0..150 {
        let about = json!({"code": "D02E0001", "message": "made up", "additional": {"x": long}});
        send("error", about);
        let picture = base64(jpeg(9_000));
        let card = json!({"gender": 1, "nation": 1, "idnum": format!("{nth:018}"), "pin": "999999", "photo": picture});
        send("idcard.put", card);
    }
    for nth in 0..8_000 {
        send("operation", json!({"op": 3, "operator": "1", "time": second(nth)}));
    }
    let status = terminal.status();
    for stream in ["errors", "identity cards", "operations"] {
        let kept = status["streams"][stream]["pending"].as_u64().unwrap();
        assert!(dropped(&status, stream) > 0 && kept > 0, "{stream}: {}", status["streams"]);
    }
    assert!(status["room"]["rest"].as_u64() > Some(1 << 20), "{}", status["room"]);
    take_punches(&mut driver, "1", 10_000);
}

#[test]
fn photos_that_could_go_up_are_kept_and_more_of_them_are_refused() {
    let server = server();
    let terminal = Terminal::start(&server, SMALL);
    terminal.wait_until_online();
    server.pause();
    let mut driver = terminal.driver();
    let photo = base64(jpeg(30_000));
    let mut taken = 0;
    let refusal = loop {
        let params = json!({"pin": "1", "time": second(taken), "data": photo});
        match driver.call("photo", params) {
            Ok(_) => taken += 1,
            Err(refusal) => break refusal,
        }
    };
    assert_eq!(refusal["code"], -1001);
    let message = refusal["message"].as_str().unwrap();
    assert!(message.contains("kept for punches") && message.contains("store_mib"), "{message}");
    assert!((60..110).contains(&taken), "{taken}");
    take_punches(&mut driver, "1", 10_000);
    let status = terminal.status();
    assert_eq!(status["streams"]["photos"]["pending"], taken);
    assert_eq!(dropped(&status, "photos"), 0);
    server.resume().unwrap();
    let arrived =
        server.wait_until(TIMEOUT, |received| received.att_photos().len() as u32 == taken);
    let count = server.received(|received| received.att_photos().len());
    assert!(arrived, "{count} of {taken}: {:#}", terminal.status()["streams"]["photos"]);
    // What the server has makes room.
    driver.call("photo", json!({"pin": "1", "time": second(taken), "data": photo})).unwrap();
}

#[test]
fn clear_photo_clears_what_does_not_go_up_and_not_what_still_could() {
    let server = server_of_punches("", &["", "C:1:CLEAR PHOTO"]);
    let (terminal, mut driver) = terminal_of(&server);
    let photo = json!({"pin": "1", "time": second(1), "data": base64(jpeg(3_000))});
    driver.call("photo", photo.clone()).unwrap();
    driver.punch("1", &second(1));
    terminal.wait_for("cleared", |status| status["streams"]["photos"]["pending"] == 0);
    assert_eq!(dropped(&terminal.status(), "photos"), 0);
    polls_of(&server, 1);

    // This server asks for photos, and has a bad time with them.
    let mut commands = vec!["C:1:CLEAR PHOTO"];
    let server = RawServer::start(move |request| match request {
        request if request.is_handshake() => options(""),
        request if request.is_upload("ATTPHOTO") => says(500, "later"),
        request if request.is_poll() => says(200, commands.pop().unwrap_or("OK")),
        request => says(200, format!("OK:{}", request.lines().len())),
    });
    let mut terminal = Terminal::prepare(&server.url(), SMALL);
    terminal.run();
    terminal.driver().call("photo", photo).unwrap();
    let replied = || server.requests().iter().any(|request| request.text().contains("Return=0"));
    until("cleared", replied, || format!("{:?}", server.requests()));
    assert_eq!(terminal.status()["streams"]["photos"]["pending"], 1);
}

/// The disk of the store, seen from outside of the program.
fn disk_of(terminal: &Terminal) -> std::path::PathBuf {
    let inside = terminal.path("disk");
    format!("/proc/{}/root{}", terminal.pid(), inside.display()).into()
}

#[test]
fn on_a_small_disk_others_fill_what_they_may_and_punches_have_the_rest() {
    let server = server();
    let mut terminal = Terminal::prepare(&server.url(), "[limits]\nfree_mib = 4\nstart_spread = 0");
    if !terminal.run_on_a_disk("size=16m") {
        eprintln!("skipped: no file system can be mounted here");
        return;
    }
    terminal.wait_until_online();
    let content = base64(jpeg(150_000));
    let users: Vec<String> =
        (1..=90).map(|pin| server.queue(&format!("DATA UPDATE USERINFO PIN={pin}"))).collect();
    let pictures = (1..=90).map(|pin| {
        server.queue(&format!(
            "DATA UPDATE USERPIC PIN={pin}\tSize={}\tContent={content}",
            content.len()
        ))
    });
    let codes: Vec<i64> =
        pictures.collect::<Vec<_>>().iter().map(|id| answer(&server, id).0).collect();
    assert!(users.iter().all(|id| answer(&server, id).0 == 0));
    assert!(codes.iter().all(|code| [0, -1001].contains(code)), "{codes:?}");
    assert!(codes.contains(&0) && codes.contains(&-1001), "{codes:?}");
    // A download does not get what is kept for punches.
    server.serve_file("large", noise(4 << 20));
    assert_eq!(returns(&server, "PutFile large\tlarge"), -1001);
    let mut driver = terminal.driver();
    take_punches(&mut driver, "1", 10_000);
    // Another program takes all that is left: what was deleted before serves punches still, once
    // SQLite has carried what is in its log into the file.
    for pin in 1..=10 {
        assert_eq!(returns(&server, &format!("DATA DELETE USERPIC PIN={pin}")), 0);
    }
    take_punches(&mut driver, "3", 20_000);
    let other = std::fs::File::create(disk_of(&terminal).join("other")).unwrap();
    let mut chunk = 1 << 20;
    let mut at = 0;
    use std::os::unix::fs::FileExt;
    while chunk > 0 {
        match other.write_at(&noise(chunk), at) {
            Ok(written) => at += written as u64,
            Err(_) => chunk /= 2,
        }
    }
    take_punches(&mut driver, "2", 1_000);
    assert_eq!(returns(&server, "DATA DELETE USERPIC PIN=11"), 0);
    server.assert_strict();
}

#[test]
fn what_was_deleted_from_the_store_makes_room_for_a_download() {
    let server = server();
    let mut terminal = Terminal::prepare(&server.url(), "");
    let files = terminal.path("files");
    std::fs::create_dir(&files).unwrap();
    let limits = "[limits]\nfree_mib = 4\nstart_spread = 0";
    let config = format!("[commands]\nput_dirs = [\"{}\"]\n{limits}", files.display());
    terminal.configure(&server.url(), &config);
    if !terminal.run_on_a_disk("size=16m") {
        eprintln!("skipped: no file system can be mounted here");
        return;
    }
    let content = base64(jpeg(500_000));
    let users: Vec<String> =
        (1..=30).map(|pin| format!("DATA UPDATE USERINFO PIN={pin}")).collect();
    let pictures = (1..=30).map(|pin| {
        format!("DATA UPDATE USERPIC PIN={pin}\tSize={}\tContent={content}", content.len())
    });
    let commands: Vec<String> = users.into_iter().chain(pictures).collect();
    let ids: Vec<String> = commands.iter().map(|command| server.queue(command)).collect();
    let codes: Vec<i64> = ids.iter().map(|id| answer(&server, id).0).collect();
    assert!(codes.contains(&-1001), "{codes:?}");
    server.serve_file("large", noise(2 << 20));
    assert_eq!(returns(&server, "PutFile large\tlarge"), -1001);
    // The disk is not short then: a little more is free than what is kept for punches.
    for pin in 1..=20 {
        assert_eq!(returns(&server, &format!("DATA DELETE USERPIC PIN={pin}")), 0);
    }
    assert_eq!(returns(&server, "PutFile large\tlarge"), 2 << 20);
    // It gives back what the file lacks, and no more.
    let status = terminal.status();
    assert!(status["room"]["rest"].as_u64() > Some(5 << 20), "{}", status["room"]);
    let mut driver = terminal.driver();
    take_punches(&mut driver, "1", 10_000);
    server.assert_strict();
}
