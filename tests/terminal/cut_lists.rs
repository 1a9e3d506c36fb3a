//! Lists whose body is cut at every byte: no half command takes effect, and when the whole list comes
//! with the next poll, everything is done once. The lists have commands of several records, and repeats.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::json;

use crate::harness::{Driver, RawAnswer, RawServer, Terminal, options, replies_to, says, until};

/// Terminals that run side by side: most of the time is spent waiting for polls.
const TERMINALS: usize = 24;

/// How the server says where the body ends.
#[derive(Clone, Copy, Debug)]
enum Form {
    Length,
    Chunks,
    /// Only the end of the connection is the end of the body.
    Connection,
}

#[test]
#[ignore = "slow: a poll for each byte"]
fn a_list_that_is_cut_at_every_byte_does_no_half_command() {
    cut(|_| true);
}

#[test]
fn a_list_that_is_cut_at_the_ends_of_its_records_does_no_half_command() {
    cut(|before_and_behind| before_and_behind.contains(&b'\n'));
}

/// The list of a case: ids and people are its own.
fn list(case: &str, files: &Path) -> String {
    let update = format!(
        "C:{case}u:DATA UPDATE USERINFO PIN={case}12\tName=Ann\nPIN={case}34\tName=Bea\nPIN={case}56\tName=Cid\n"
    );
    let shell = format!("C:{case}s:SHELL echo x >> {}/{case}x\n", files.display());
    format!(
        "{update}{shell}{update}C:{case}d:DATA DELETE USERINFO PIN={case}34\nPIN={case}56\n{shell}"
    )
}

/// What is there when these lines were carried out: people with their names, and files.
fn after<'l>(lines: impl Iterator<Item = &'l str>) -> BTreeMap<String, String> {
    let (mut there, mut deletes) = (BTreeMap::new(), false);
    for line in lines {
        if let Some((_, file)) = line.split_once(">> ") {
            let name = Path::new(file).file_name().unwrap().to_str().unwrap();
            there.insert(name.to_owned(), "x\n".to_owned());
        }
        if line.starts_with("C:") {
            deletes = line.contains("DELETE");
        }
        let Some((_, record)) = line.split_once("PIN=") else { continue };
        match record.split_once("\tName=") {
            Some((pin, name)) => drop(there.insert(pin.to_owned(), name.to_owned())),
            None if deletes => drop(there.remove(record)),
            None => {}
        }
    }
    there
}

/// What is there of a case.
fn there(case: &str, driver: &mut Driver, files: &Path) -> BTreeMap<String, String> {
    let mut there = BTreeMap::new();
    let changes = driver.call("changes", json!({"after": 0})).unwrap();
    for user in changes["users"].as_array().unwrap() {
        let value = |key: &str| user[key].as_str().unwrap_or_default().to_owned();
        there.insert(value("pin"), value("name"));
    }
    for file in fs::read_dir(files).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let text = fs::read_to_string(path).unwrap();
        // The shell makes the file before it writes.
        if !text.is_empty() {
            there.insert(name, text);
        }
    }
    there.retain(|name, _| name.starts_with(case));
    there
}

/// What can be there when the first `at` bytes came.
fn allowed(list: &str, at: usize, form: Form) -> Vec<BTreeMap<String, String>> {
    if !matches!(form, Form::Connection) {
        return vec![BTreeMap::new()];
    }
    let whole_lines: Vec<&str> =
        list[..at].split_inclusive('\n').filter(|line| line.ends_with('\n')).collect();
    let lines = || whole_lines.iter().map(|line| line.trim_end());
    // What stands behind the last line end may be a record of the command before it.
    let last = lines().collect::<Vec<_>>().iter().rposition(|line| line.starts_with("C:"));
    vec![after(lines()), after(lines().take(last.unwrap_or(0)))]
}

/// The first `at` bytes of a body, and then the end of the connection.
fn answer(list: &str, at: usize, form: Form) -> RawAnswer {
    let (length, cut) = (list.len(), &list[..at]);
    let head = match form {
        Form::Length => format!("Content-Length: {length}\r\n\r\n"),
        Form::Chunks => format!("Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n"),
        Form::Connection => "\r\n".to_owned(),
    };
    RawAnswer::Exactly(format!("HTTP/1.1 200 OK\r\n{head}{cut}").into_bytes())
}

fn cut(is_wanted: impl Fn(&[u8]) -> bool) {
    let text = list("000", Path::new("/tmp/punchd-test-00000-000/files")).into_bytes();
    let around = |at: usize| &text[at.saturating_sub(2)..(at + 1).min(text.len())];
    let places: Vec<usize> = (0..text.len()).filter(|&at| is_wanted(around(at))).collect();
    let cases: Vec<(usize, Form)> = places
        .iter()
        .flat_map(|&at| [Form::Length, Form::Chunks, Form::Connection].map(|form| (at, form)))
        .collect();
    thread::scope(|scope| {
        for first in 0..TERMINALS {
            let cases = cases.iter().copied().enumerate().skip(first).step_by(TERMINALS);
            scope.spawn(move || cut_each(cases.collect()));
        }
    });
    println!("{} lists were cut, at {} of {} places", cases.len(), places.len(), text.len());
}

fn cut_each(cases: Vec<(usize, (usize, Form))>) {
    let next = Arc::<Mutex<Vec<RawAnswer>>>::default();
    let served = Arc::clone(&next);
    // What was there when the poll behind the cut list came.
    let between = Arc::<Mutex<Option<BTreeMap<String, String>>>>::default();
    let found = Arc::clone(&between);
    let look = Arc::<Mutex<Option<(String, Driver, std::path::PathBuf)>>>::default();
    let looks = Arc::clone(&look);
    let server = RawServer::start(move |request| match request {
        request if request.is_handshake() => options(""),
        request if request.is_poll() => {
            let mut next = served.lock().unwrap();
            if next.len() == 1
                && let Some((case, mut driver, files)) = looks.lock().unwrap().take()
            {
                *found.lock().unwrap() = Some(there(&case, &mut driver, &files));
            }
            if next.is_empty() { says(200, "OK") } else { next.remove(0) }
        }
        _ => says(200, "OK"),
    });
    let mut terminal = Terminal::prepare(&server.url(), "[commands]\nshell = \"allow\"");
    let files = terminal.path("files");
    fs::create_dir(&files).unwrap();
    terminal.run();
    terminal.wait_until_online();
    for (nth, (at, form)) in cases {
        let case = format!("{nth:03}");
        let list = list(&case, &files);
        let at = at.min(list.len() - 1);
        *look.lock().unwrap() = Some((case.clone(), terminal.driver(), files.clone()));
        *next.lock().unwrap() = vec![answer(&list, at, form), says(200, &*list)];
        let ids = ["u", "s", "d"].map(|id| format!("{case}{id}"));
        let is_over = || {
            let replies = replies_to(&server);
            next.lock().unwrap().is_empty() && ids.iter().all(|id| replies.contains_key(id))
        };
        until("answered", is_over, || format!("{at} bytes, {form:?}: {}", terminal.log()));
        let between = between.lock().unwrap().take().unwrap();
        let told = format!("{form:?}, cut at {:?}", list.split_at(at));
        let fits = |allowed: &BTreeMap<String, String>| {
            // The line of SHELL may not have been run yet.
            between.iter().all(|entry| allowed.get(entry.0) == Some(entry.1))
                && allowed.keys().all(|name| between.contains_key(name) || name.ends_with('x'))
        };
        assert!(allowed(&list, at, form).iter().any(fits), "{told}: {between:?}");
        let now = there(&case, &mut terminal.driver(), &files);
        assert_eq!(now, after(list.lines()), "{told}");
        let replies = replies_to(&server);
        assert!(ids.iter().all(|id| replies[id].iter().all(|code| *code == 0)), "{replies:?}");
    }
}
