//! What the server does not ask for has a part of the store to itself: nothing else that is stored
//! deletes it, but for punches.

use serde_json::json;

use crate::harness::{RawServer, Terminal, base64, jpeg, options, replies_in, says, second, until};

/// A store of so few MiB, of which a quarter is for punches.
const SMALL: &str = "[limits]\nstore_mib = 4\nstart_spread = 0";

#[test]
fn pictures_of_the_server_delete_no_photo_that_it_does_not_ask_for() {
    let content = base64(jpeg(150_000));
    let pictures = (1..=30).map(|pin| {
        format!(
            "C:U{pin}:DATA UPDATE USERINFO PIN={pin}\n\
             C:P{pin}:DATA UPDATE USERPIC PIN={pin}\tSize={}\tContent={content}\n",
            content.len()
        )
    });
    let (go, may_go) = std::sync::mpsc::channel();
    let mut commands = Some(pictures.collect::<String>());
    let server = RawServer::start(move |request| match request {
        request if request.is_handshake() => options("TransFlag=TransData AttLog\n"),
        request if request.is_poll() && may_go.try_recv().is_ok() => {
            says(200, commands.take().unwrap())
        }
        request if request.method == "GET" => says(200, "OK"),
        request => says(200, format!("OK:{}", request.lines().len())),
    });
    let mut terminal = Terminal::prepare(&server.url(), SMALL);
    terminal.run();
    terminal.wait_until_online();
    let mut driver = terminal.driver();
    let photo = base64(jpeg(30_000));
    for nth in 0..15 {
        driver.call("photo", json!({"pin": "1", "time": second(nth), "data": photo})).unwrap();
    }
    go.send(()).unwrap();
    let replies = || replies_in(&server.requests());
    until("answered", || replies().len() == 60, || format!("{:?}", replies()));
    let refused = replies().values().filter(|codes| codes.contains(&-1001)).count();
    assert!(refused > 10, "{:?}", replies());
    let photos = || terminal.status()["streams"]["photos"].clone();
    assert_eq!((&photos()["pending"], &photos()["dropped"]), (&json!(15), &json!(0)));
    // New photos are taken: within their part, and then in place of the oldest.
    for nth in 15..60 {
        driver.call("photo", json!({"pin": "1", "time": second(nth), "data": photo})).unwrap();
    }
    let kept = photos()["pending"].as_u64().unwrap();
    assert!((10..30).contains(&kept), "{}", photos());
    assert_eq!(photos()["dropped"], 60 - kept);
}
