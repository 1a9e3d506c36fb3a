//! A list of commands, and one list after another, has the effect that its commands would have one
//! by one (§12). Each story against a raw server.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::json;

use crate::harness::{
    RawAnswer, RawRequest, RawServer, Terminal, base64, jpeg, options, polls_of, replies_to, says,
    second, until,
};

/// A server that gives out these lists, one a poll, and `answer` for what is no poll.
fn server(
    more_options: &'static str,
    lists: Vec<String>,
    mut answer: impl FnMut(&RawRequest) -> Option<RawAnswer> + Send + 'static,
) -> RawServer {
    let mut lists = lists.into_iter();
    RawServer::start(move |request| match answer(request) {
        Some(answer) => answer,
        None if request.is_handshake() => options(more_options),
        None if request.is_poll() => says(200, lists.next().unwrap_or("OK".into())),
        None => says(200, format!("OK:{}", request.lines().len())),
    })
}

/// The code of the first answer to a command.
#[track_caller]
fn answered(server: &RawServer, id: &str) -> String {
    let found = || replies_to(server).get(id).map(|codes| codes[0].to_string());
    until(id, || found().is_some(), || format!("{:#?}", replies_to(server)));
    found().unwrap()
}

/// Where a request stands among all.
fn place(server: &RawServer, what: &str, is_it: impl Fn(&RawRequest) -> bool) -> usize {
    let found = server.requests().iter().position(is_it);
    found.unwrap_or_else(|| panic!("{what} never came: {:#?}", server.requests()))
}

const ALL_PUNCHES: &str =
    "DATA QUERY ATTLOG StartTime=2000-01-01 00:00:00\tEndTime=2030-01-01 00:00:00";

fn rows(request: &RawRequest, id: &str) -> bool {
    request.target.contains("cdata") && request.target.contains(&format!("CmdId={id}"))
}

#[test]
fn the_log_is_cleared_when_the_rows_that_were_asked_for_are_at_the_server() {
    let list = format!("C:q1:{ALL_PUNCHES}\nC:c1:CLEAR LOG\n");
    let ready = Arc::new(AtomicBool::new(false));
    let is_ready = Arc::clone(&ready);
    let mut refused = 0;
    let server = server("", vec![], move |request| {
        if request.is_poll() && is_ready.swap(false, Ordering::Relaxed) {
            return Some(says(200, list.clone()));
        }
        // The first packs of the answer fail.
        let fails = rows(request, "q1") && refused < 2;
        refused += u32::from(fails);
        fails.then(|| says(503, ""))
    });
    let mut terminal = Terminal::prepare(&server.url(), "");
    terminal.run();
    let mut driver = terminal.driver();
    for nth in 1..=150 {
        driver.punch("7", &second(nth));
    }
    terminal.wait_for("sent", |status| status["streams"]["punches"]["pending"] == 0);
    ready.store(true, Ordering::Relaxed);
    assert_eq!(answered(&server, "c1"), "0");
    assert_eq!(answered(&server, "q1"), "0");
    let all: Vec<String> =
        server.requests().iter().filter(|it| rows(it, "q1")).flat_map(RawRequest::lines).collect();
    assert!(all.len() >= 150, "{}", all.len());
    terminal.wait_for("cleared", |status| status["punches"] == 0);
}

#[test]
fn the_log_is_cleared_when_the_rows_that_go_again_are_at_the_server() {
    let ready = Arc::new(AtomicBool::new(false));
    let is_ready = Arc::clone(&ready);
    let (mut handshakes, mut again) = (0, 0);
    let server = server("", vec![], move |request| {
        if request.is_handshake() {
            handshakes += 1;
            return Some(options(if handshakes > 1 { "ATTLOGStamp=0\n" } else { "" }));
        }
        if request.is_poll() && is_ready.swap(false, Ordering::Relaxed) {
            return Some(says(200, "C:k1:CHECK\nC:c1:CLEAR LOG\n"));
        }
        let fails = handshakes > 1 && request.is_upload("ATTLOG") && again < 2;
        again += u32::from(fails);
        fails.then(|| says(503, ""))
    });
    let mut terminal = Terminal::prepare(&server.url(), "");
    terminal.run();
    let mut driver = terminal.driver();
    for nth in 1..=20 {
        driver.punch("7", &second(nth));
    }
    terminal.wait_for("sent", |status| status["streams"]["punches"]["pending"] == 0);
    let before = server.requests().len();
    ready.store(true, Ordering::Relaxed);
    assert_eq!(answered(&server, "c1"), "0");
    let requests = server.requests();
    let again: Vec<String> = requests[before..]
        .iter()
        .filter(|it| it.is_upload("ATTLOG"))
        .flat_map(RawRequest::lines)
        .collect();
    let times: std::collections::BTreeSet<&String> = again.iter().collect();
    assert_eq!(times.len(), 20, "{requests:#?}");
    let last = requests.iter().rposition(|it| it.is_upload("ATTLOG")).unwrap();
    let reply = requests.iter().position(|it| it.text().contains("ID=c1")).unwrap();
    assert!(last < reply, "the log was cleared before its rows were there");
}

#[test]
fn a_person_is_deleted_after_what_was_asked_about_them() {
    let lists = vec![
        "C:a1:DATA UPDATE USERINFO PIN=888\tName=Ann\n\
         C:a2:DATA UPDATE FINGERTMP PIN=888\tFID=3\tSize=4\tValid=1\tTMP=QUJD\n"
            .into(),
        "C:q1:DATA QUERY USERINFO PIN=888\nC:q2:DATA QUERY FINGERTMP PIN=888\n\
         C:d1:DATA DELETE USERINFO PIN=888\n"
            .into(),
    ];
    let server = server("", lists, |_| None);
    let mut terminal = Terminal::prepare(&server.url(), "");
    terminal.run();
    for id in ["a1", "a2", "q1", "q2", "d1"] {
        assert_eq!(answered(&server, id), "0", "{id}");
    }
    let text = |id: &str| {
        let found = server.requests().into_iter().find(|it| rows(it, id));
        found.unwrap_or_else(|| panic!("no rows for {id}")).text()
    };
    assert!(text("q1").contains("PIN=888\tName=Ann"), "{}", text("q1"));
    assert!(text("q2").contains("TMP=QUJD"), "{}", text("q2"));
    let user = terminal.driver().call("user.get", json!({"pin": "888"})).unwrap();
    assert!(user.is_null(), "{user}");
}

#[test]
fn a_slow_photo_is_not_given_to_the_next_person_with_the_pin() {
    let polls = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&polls);
    let lists = vec![
        "C:1:DATA UPDATE USERINFO PIN=1\tName=Ann\n".into(),
        "C:2:DATA UPDATE BIOPHOTO PIN=1\tType=9\tFormat=1\tUrl=face.jpg\n".into(),
        "C:3:DATA DELETE USERINFO PIN=1\n".into(),
        "C:4:DATA UPDATE USERINFO PIN=1\tName=SomebodyElse\n".into(),
    ];
    let server = server("", lists, move |request| {
        if request.is_poll() {
            seen.fetch_add(1, Ordering::Relaxed);
        }
        if !request.target.contains("face.jpg") {
            return None;
        }
        // The photo comes only when everything else was asked for.
        Some(match seen.load(Ordering::Relaxed) {
            0..6 => says(503, ""),
            _ => RawAnswer::Bytes(jpeg(3000)),
        })
    });
    let mut terminal = Terminal::prepare(&server.url(), "");
    terminal.run();
    for id in ["1", "2", "3", "4"] {
        assert_eq!(answered(&server, id), "0", "{id}");
    }
    let mut driver = terminal.driver();
    let user = driver.call("user.get", json!({"pin": "1"})).unwrap();
    assert_eq!(user["name"], "SomebodyElse");
    let changes = driver.call("changes", json!({"after": 0})).unwrap();
    assert!(!changes.to_string().contains("comparison"), "the old face is there: {changes}");
}

#[test]
fn a_photo_is_not_given_to_somebody_who_got_the_pin_at_the_terminal() {
    let is_open = Arc::new(AtomicBool::new(false));
    let open = Arc::clone(&is_open);
    let photo = |id, pin| {
        format!("C:{id}:DATA UPDATE BIOPHOTO PIN={pin}\tType=9\tFormat=1\tUrl=face.jpg\n")
    };
    let lists = vec![
        "C:1:DATA UPDATE USERINFO PIN=1\tName=Ann\nC:2:DATA UPDATE USERINFO PIN=2\tName=Bea\n"
            .into(),
        photo(3, 1) + &photo(4, 2),
    ];
    let server = server("", lists, move |request| {
        request.target.contains("face.jpg").then(|| match open.load(Ordering::Relaxed) {
            false => says(503, ""),
            true => RawAnswer::Bytes(jpeg(3000)),
        })
    });
    let mut terminal = Terminal::prepare(&server.url(), "");
    terminal.run();
    let mut driver = terminal.driver();
    terminal.wait_for("both under way", |status| status["jobs"].as_array().unwrap().len() == 2);
    // A change is no deletion.
    driver.call("user.put", json!({"pin": "2", "name": "Beatrice"})).unwrap();
    driver.call("user.delete", json!({"pin": "1"})).unwrap();
    driver.call("user.put", json!({"pin": "1", "name": "Somebody else"})).unwrap();
    is_open.store(true, Ordering::Relaxed);
    assert_eq!(answered(&server, "3"), "-10");
    assert_eq!(answered(&server, "4"), "0");
    assert!(terminal.log().contains("person 1 was deleted while the photo was fetched"));
}

/// A terminal whose owner allows files in a directory, programs and a reboot.
fn with_files(server: &RawServer) -> Terminal {
    let terminal = Terminal::prepare(&server.url(), "");
    let files = terminal.path("files");
    std::fs::create_dir_all(&files).unwrap();
    let files = files.display();
    let rebooted = terminal.path("rebooted");
    let more = format!(
        "[commands]\nput_dirs = [\"{files}\"]\nget_dirs = [\"{files}\"]\nshell = \"allow\"\n\
         get_file = \"allow\"\nreboot = \"allow\"\n[device]\nreboot = [\"touch\", \"{}\"]\n",
        rebooted.display()
    );
    terminal.configure(&server.url(), &more);
    terminal
}

#[test]
fn a_template_waits_for_the_file_that_brings_its_person() {
    let mut asked = 0;
    let list = "C:1:PutFile people.txt\tx\tAction=AppendData\n\
                C:2:DATA UPDATE FINGERTMP PIN=5\tFID=3\tSize=4\tValid=1\tTMP=QUJD\n";
    let server = server("", vec![list.into()], move |request| {
        if !request.target.contains("people.txt") {
            return None;
        }
        asked += 1;
        Some(match asked {
            1 | 2 => says(503, ""),
            _ => says(200, "C:9:DATA UPDATE USERINFO PIN=5\tName=Eve\n"),
        })
    });
    let mut terminal = with_files(&server);
    terminal.run();
    assert_eq!(answered(&server, "2"), "0");
    assert_eq!(answered(&server, "1"), "40");
}

#[test]
fn thousands_of_commands_that_wait_for_one_another_are_carried_out_together() {
    let updates: String = (0..3000)
        .map(|nth| format!("C:u{nth}:DATA UPDATE USERINFO PIN=7\tName=Name {nth}\n"))
        .collect();
    let list = format!("C:p:PutFile people.txt\tpeople.txt\tAction=AppendData\n{updates}");
    let is_open = Arc::new(AtomicBool::new(false));
    let open = Arc::clone(&is_open);
    let server = server("", vec![list], move |request| {
        let is_file = request.target.contains("people.txt");
        is_file.then(|| match open.load(Ordering::Relaxed) {
            true => says(200, "DATA UPDATE USERINFO PIN=7\tName=First\n"),
            false => says(503, ""),
        })
    });
    let mut terminal = with_files(&server);
    terminal.run();
    let waiting = |status: &serde_json::Value| status["jobs"].as_array().unwrap().len() >= 20;
    terminal.wait_for("all of them wait", waiting);
    polls_of(&server, 2);
    is_open.store(true, Ordering::Relaxed);
    answered(&server, "p");
    let before = terminal.proc("io", "syscw");
    assert_eq!(answered(&server, "u2999"), "0");
    let writes = terminal.proc("io", "syscw") - before;
    println!("{writes} writes for 3 000 commands");
    // Each of them was two commits, and each commit some writes: 79 000. A busy machine divides them
    // into more transactions than the 2 700 writes of an idle one.
    assert!(writes < 30_000, "{writes} writes");
    let codes: Vec<i64> = replies_to(&server).into_values().flatten().collect();
    assert_eq!(codes.len(), 3001);
    assert!(codes.iter().all(|code| *code >= 0), "{codes:?}");
}

#[test]
fn a_file_is_fetched_after_the_program_that_writes_it() {
    let list = Arc::new(Mutex::new(String::new()));
    let given = Arc::clone(&list);
    let server = server("", vec![], move |request| {
        let mut list = given.lock().unwrap();
        (request.is_poll() && !list.is_empty()).then(|| says(200, std::mem::take(&mut *list)))
    });
    let mut terminal = with_files(&server);
    terminal.run();
    terminal.wait_until_online();
    let file = terminal.path("files/out");
    *list.lock().unwrap() = format!(
        "C:1:SHELL sleep 1; echo new > {0}\nC:2:GetFile {0}\nC:3:SHELL echo newer > {0}\n",
        file.display()
    );
    assert_eq!(answered(&server, "3"), "0");
    assert_eq!(answered(&server, "2"), "4");
    let at = place(&server, "the file", |it| it.text().contains("ID=2"));
    assert!(server.requests()[at].text().contains("new\n"), "{:?}", server.requests()[at].text());
    assert!(at < place(&server, "the second program", |it| it.text().contains("ID=3")));
}

#[test]
fn a_reboot_waits_for_the_file_before_it() {
    let mut asked = 0;
    let server =
        server("", vec!["C:1:PutFile f.bin\tf.bin\nC:2:REBOOT\n".into()], move |request| {
            if !request.target.contains("f.bin") {
                return None;
            }
            asked += 1;
            Some(if asked < 3 { says(503, "") } else { says(200, "content") })
        });
    let mut terminal = with_files(&server);
    terminal.run();
    assert_eq!(answered(&server, "2"), "0");
    assert_eq!(answered(&server, "1"), "7");
    until("rebooted", || terminal.path("rebooted").exists(), || terminal.log());
    assert_eq!(std::fs::read(terminal.path("files/f.bin")).unwrap(), b"content");
}

#[test]
fn polls_go_on_while_the_rows_of_a_query_go_up() {
    let list = format!("C:q1:{ALL_PUNCHES}\n");
    let ready = Arc::new(AtomicBool::new(false));
    let is_ready = Arc::clone(&ready);
    let server = server("", vec![], move |request| {
        if request.is_poll() && is_ready.swap(false, Ordering::Relaxed) {
            return Some(says(200, list.clone()));
        }
        if rows(request, "q1") {
            // Half of `Delay` a request.
            std::thread::sleep(std::time::Duration::from_millis(500));
        }
        None
    });
    let mut terminal = Terminal::prepare(&server.url(), "");
    terminal.run();
    let mut driver = terminal.driver();
    for nth in 1..=600 {
        driver.punch("7", &second(nth));
    }
    terminal.wait_for("sent", |status| status["streams"]["punches"]["pending"] == 0);
    ready.store(true, Ordering::Relaxed);
    assert_eq!(answered(&server, "q1"), "0");
    let requests = server.requests();
    let first = place(&server, "rows", |it| rows(it, "q1"));
    let last = requests.iter().rposition(|it| rows(it, "q1")).unwrap();
    let polls = requests[first..last].iter().filter(|it| it.is_poll()).count();
    // Ten requests of half a second, `Delay=1`.
    assert!(polls >= 3, "{polls} polls in {} requests", last - first);
}

#[test]
fn a_thousand_photos_and_three_thousand_queries_fit_into_one_list() {
    let mut list = String::new();
    for nth in 0..1000 {
        list += &format!("C:u{nth}:DATA UPDATE USERINFO PIN={nth}\tName=N{nth}\n");
    }
    for nth in 0..1000 {
        list +=
            &format!("C:p{nth}:DATA UPDATE BIOPHOTO PIN={nth}\tType=9\tFormat=1\tUrl=f{nth}.jpg\n");
        if nth == 500 {
            list += "C:door:AC_UNLOCK\n";
        }
    }
    for nth in 0..3000 {
        list += &format!("C:q{nth}:DATA QUERY USERINFO PIN={}\n", nth % 1000);
    }
    list += &format!("C:last:{}\n", ALL_PUNCHES.replace("DATA QUERY", "VERIFY SUM"));
    let fetched = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&fetched);
    let replies = Arc::new(AtomicUsize::new(0));
    let replied = Arc::clone(&replies);
    let given = Arc::new(AtomicBool::new(false));
    let is_given = Arc::clone(&given);
    let server = server("", vec![], move |request| {
        if request.target.contains(".jpg") {
            counted.fetch_add(1, Ordering::Relaxed);
            return Some(RawAnswer::Bytes(jpeg(500)));
        }
        if request.target.contains("/devicecmd") {
            replied.fetch_add(request.text().matches("ID=").count(), Ordering::Relaxed);
        }
        (request.is_poll() && is_given.swap(false, Ordering::Relaxed))
            .then(|| says(200, list.clone()))
    });
    let mut terminal = Terminal::prepare(&server.url(), "");
    terminal.run();
    let mut relay = terminal.driver();
    relay.call("register", json!({"name": "relay", "provides": ["unlock"]})).unwrap();
    given.store(true, Ordering::Relaxed);
    let request = relay.receive().unwrap();
    assert_eq!(request["method"], "unlock");
    let before_the_door = fetched.load(Ordering::Relaxed);
    assert!(before_the_door < 100, "{before_the_door} photos came before the door was asked for");
    relay.reply(request["id"].as_u64().unwrap(), json!(true));
    // The end of the list was read, and a part of what waits was done.
    answered(&server, "last");
    until("done", || replies.load(Ordering::Relaxed) > 1300, || terminal.log());
    let found = replies_to(&server);
    let is_refused = |codes: &[i64]| codes.iter().any(|code| *code != 0);
    let refused: Vec<_> = found.iter().filter(|(_, codes)| is_refused(codes)).collect();
    assert!(refused.is_empty(), "{} of {}: {:?}", refused.len(), found.len(), &refused[..1]);
}

#[test]
fn commands_that_wait_take_no_memory_however_long_their_texts_are() {
    let picture = base64(jpeg(100_000));
    let size = picture.len();
    let mut list: String =
        (0..60).map(|nth| format!("C:u{nth}:DATA UPDATE USERINFO PIN={nth}\n")).collect();
    // All wait for the file, and none of them for another.
    list += "C:w:PutFile slow.txt\tx\tAction=AppendData\n";
    for nth in 0..60 {
        list +=
            &format!("C:p{nth}:DATA UPDATE USERPIC PIN={nth}\tSize={size}\tContent={picture}\n");
    }
    let (ready, comes) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (is_ready, has_come) = (Arc::clone(&ready), Arc::clone(&comes));
    let server = server("", vec![], move |request| {
        if request.target.contains("slow.txt") {
            let comes = has_come.load(Ordering::Relaxed);
            let file = "C:1:DATA UPDATE USERINFO PIN=1\n";
            return Some(if comes { says(200, file) } else { says(503, "") });
        }
        (request.is_poll() && is_ready.swap(false, Ordering::Relaxed))
            .then(|| says(200, list.clone()))
    });
    let mut terminal = Terminal::prepare(&server.url(), "");
    terminal.run();
    terminal.wait_until_online();
    let idle = terminal.proc("status", "VmHWM");
    ready.store(true, Ordering::Relaxed);
    terminal.wait_for("all wait", |status| status["jobs"].as_array().unwrap().len() == 20);
    polls_of(&server, 3);
    comes.store(true, Ordering::Relaxed);
    assert_eq!(answered(&server, "p59"), "0");
    let more = terminal.proc("status", "VmHWM").saturating_sub(idle);
    assert!(more < 2_500, "{more} kB above idle");
}
