//! How often drivers are looked at during work that has no wait in it. The loop in virtual time never
//! waits, so each look is one that the work itself gives them.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags};

use super::random::Random;
use super::terminal::Terminal;
use crate::reactor::{self, Served};

/// Counts the looks.
struct Looks(Rc<Cell<u32>>);

impl Served for Looks {
    fn watch<'a>(&'a self, _: &mut Vec<PollFd<'a>>) {}
    fn serve(&mut self, _: &[PollFlags]) {
        self.0.set(self.0.get() + 1);
    }
    fn deadline(&self) -> Option<Instant> {
        Some(Instant::now())
    }
}

/// Of 10 000 a fast machine carried out as many as a thousand in a time slice.
const USERS: u32 = 40_000;

/// The looks during a list of commands with a file; the last of them is `C:last:`.
fn looks(seed: u64, (name, file): (&'static str, Vec<u8>), list: String) -> u32 {
    // What is served is served by a thread to its end.
    let counting = std::thread::spawn(move || {
        let mut terminal = Terminal::new(seed);
        terminal.run_until("idle", |terminal| terminal.now().as_secs() > 5);
        let count = Rc::new(Cell::new(0));
        reactor::serve(Rc::new(std::cell::RefCell::new(Looks(Rc::clone(&count)))));
        terminal.server.borrow_mut().files.insert(name.into(), file);
        terminal.give(list);
        terminal.run_until("answered", |terminal| terminal.code("last").is_some());
        let code = terminal.code("last").unwrap();
        assert!(code.parse::<i64>().unwrap() >= 0, "{name}: {code}");
        count.get()
    });
    counting.join().unwrap()
}

fn users(count: u32, before: impl Fn(u32) -> String) -> String {
    (0..count)
        .map(|nth| format!("{}DATA UPDATE USERINFO PIN={nth}\tName=User {nth}\n", before(nth)))
        .collect()
}

/// An archive with a file of so many bytes, which do not get smaller.
fn archive(bytes: usize) -> Vec<u8> {
    let mut random = Random::new(1);
    let content: Vec<u8> = (0..bytes).map(|_| random.below(256) as u8).collect();
    let level = flate2::Compression::none();
    let mut archive = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), level));
    let mut header = tar::Header::new_ustar();
    header.set_size(bytes as u64);
    header.set_mode(0o644);
    archive.append_data(&mut header, "made-up.bin", &content[..]).unwrap();
    archive.into_inner().unwrap().finish().unwrap()
}

/// A time slice is 10 ms, or 256 KiB of a file; no machine does this work in ten of them.
#[test]
fn drivers_are_looked_at_in_the_middle_of_long_work() {
    let list = users(USERS, |nth| format!("C:{nth}:")) + "C:last:INFO\n";
    let file = users(USERS, |_| String::new()).into_bytes();
    let replace = format!("\tAction=SyncData\tTableName=USERINFO\tRecordCount={USERS}");
    let put = |more: &str| format!("C:last:PutFile {more}\n");
    for (nth, (what, file, list)) in [
        ("a command list", ("none", Vec::new()), list),
        ("a file of commands", ("some.txt", file.clone()), put("some.txt\tx\tAction=AppendData")),
        ("a table", ("table.txt", file), put(&format!("table.txt\tx{replace}"))),
        ("an archive", ("made-up.tgz", archive(8 << 20)), put("made-up.tgz\tx")),
    ]
    .into_iter()
    .enumerate()
    {
        let found = looks(5_200_000 + nth as u64, file, list);
        println!("{what}: drivers were looked at {found} times");
        assert!(found >= 10, "{what}: drivers were looked at {found} times");
    }
}
