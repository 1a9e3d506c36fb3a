//! A full disk at each command: another program fills the disk of the store to its last byte. What is
//! answered with 0 was done, what is refused was not, nothing is half done, and the rest of the list goes
//! on. When there is room again and the server asks again, everything is done once. The same where the
//! store holds as much as it may.

use std::fs;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{EveryCommand, RawRequest, polls_of, replies_to, until};

#[test]
fn a_full_disk_at_each_command() {
    // How many KiB of its log the store can still write: all that it made room for, or fewer. So the
    // disk is full at one command or another.
    let rooms = (0..200).step_by(16).map(Some).chain([None]);
    thread::scope(|scope| {
        for room in rooms {
            scope.spawn(move || full(room));
        }
    });
}

fn full(room: Option<u64>) {
    let Some(every) = EveryCommand::start("free_mib = 2") else {
        eprintln!("skipped: no file system can be mounted here");
        return;
    };
    every.returns(vec![("made", "DATA UPDATE USERINFO PIN=1\nPIN=5\nPIN=6".into())]);
    polls_of(&every.server, 2);
    let other = every.fill_disk(room);
    *every.asked.lock().unwrap() = every.commands();
    // Where nothing at all can be written, there are no polls either.
    let polls = || every.server.requests().iter().filter(|request| request.is_poll()).count();
    let (before, limit) = (polls(), Instant::now() + Duration::from_secs(5));
    while polls() < before + 4 && Instant::now() < limit {
        thread::sleep(Duration::from_millis(10));
    }
    let (replies, done) = (replies_to(&every.server), every.done());
    let answered = every.commands().iter().filter(|(id, _)| replies.contains_key(*id)).count();
    let refused = replies.values().filter(|codes| codes.contains(&-1001)).count();
    println!(
        "{room:?} KiB: {answered} of 30 answered, {refused} refused for want of room; {} polls",
        polls() - before
    );
    for (id, times) in done {
        let codes = replies.get(id).cloned().unwrap_or_default();
        let told = format!("{room:?} KiB: {id}: {codes:?}, done {times} times");
        assert!(times <= 1, "{told}");
        match codes.iter().any(|code| *code >= 0) {
            true => assert_eq!(times, 1, "{told}"),
            false => assert!(times == 0 || codes.is_empty(), "{told}"),
        }
    }
    drop(other);
    fs::remove_file(every.disk("other")).unwrap();
    let asked = || every.asked.lock().unwrap().iter().map(|(id, _)| *id).collect::<Vec<_>>();
    until("all done", || asked().is_empty(), || format!("{:?}: {}", asked(), every.terminal.log()));
    until("rebooted", || every.done()["reboot"] == 1, || every.terminal.log());
    for (id, times) in every.done() {
        assert_eq!(times, 1, "{room:?} KiB: {id} was done {times} times");
    }
    let codes = replies_to(&every.server);
    assert!(codes.values().flatten().all(|code| *code >= 0 || *code == -1001), "{codes:?}");
    every.returns(vec![("clear-data", "CLEAR DATA".into())]);
}

const FULL: &str = "store_mib = 4\nfree_mib = 2";

#[test]
fn a_full_store_at_each_command() {
    let Some(every) = EveryCommand::start(FULL) else {
        eprintln!("skipped: no file system can be mounted here");
        return;
    };
    every.returns(vec![("made", "DATA UPDATE USERINFO PIN=1\nPIN=5\nPIN=6".into())]);
    every.fill_store();
    *every.asked.lock().unwrap() = every.commands();
    let replies = every.answered(31, 2);
    until("rebooted", || every.done()["reboot"] == 1, || every.terminal.log());
    // What adds nothing is done.
    let done = [
        "made",
        "delete",
        "query-log",
        "sum",
        "option",
        "reload",
        "check",
        "log",
        "info",
        "get",
        "unlock",
        "unalarm",
        "clear-log",
        "clear-photo",
        "reboot",
    ];
    // A query whose rows need no copy, and a file, which has room on the disk, are done if they wait.
    let may_be = |id: &str| ["put", "query"].contains(&id);
    for (id, codes) in replies.iter().filter(|(id, _)| !may_be(id)) {
        let expected: fn(i64) -> bool =
            if done.contains(&id.as_str()) { |code| code >= 0 } else { |code| code == -1001 };
        assert!(codes.iter().all(|code| expected(*code)), "{id}: {codes:?}");
    }
    for (id, times) in every.done().into_iter().filter(|(id, _)| !may_be(id)) {
        assert_eq!(times, usize::from(done.contains(&id)), "{id}");
    }
}

#[test]
fn a_deletion_that_waits_goes_also_when_the_store_is_full() {
    let Some(every) = EveryCommand::start(FULL) else {
        eprintln!("skipped: no file system can be mounted here");
        return;
    };
    every.returns(vec![("made", "DATA UPDATE USERINFO PIN=1\nPIN=5\nPIN=6".into())]);
    // The people wait for a file that does not come yet.
    let file = ("file", "PutFile slow\t\tAction=AppendData".to_owned());
    *every.asked.lock().unwrap() = vec![file];
    let fetched = |request: &RawRequest| request.target.contains("slow");
    until("asked", || every.server.requests().iter().any(fetched), || every.terminal.log());
    every.fill_store();
    let more = [
        ("delete", "DATA DELETE USERINFO PIN=5\nPIN=6".to_owned()),
        ("user", "DATA UPDATE USERINFO PIN=2".to_owned()),
    ];
    every.asked.lock().unwrap().extend(more);
    polls_of(&every.server, 2);
    every.is_slow.store(false, SeqCst);
    let replies = every.answered(4, 1);
    assert_eq!((&replies["delete"], &replies["user"]), (&vec![0], &vec![-1001]), "{replies:?}");
    let done = every.done();
    assert_eq!((done["delete"], done["user"]), (1, 0));
}
