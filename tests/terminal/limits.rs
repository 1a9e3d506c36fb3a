//! The limits of the configuration, and those of one command: what is just within is taken, what is
//! just beyond is refused, and says so by its code.

use std::fs;

use iclock_emulator::{Emulator, Repeat};

use crate::harness::{
    RawAnswer, RawServer, Terminal, answer, noise, options, replies_to, returns, says, server,
    terminal_with_files, tgz, until,
};

const LIMITS: &str = "shell = \"allow\"\nshell_bytes = 1000\n\
     [limits]\nusers = 3\nfile_mib = 1\ncommand_bytes = 20000\nstart_spread = 0";
const MIB: usize = 1 << 20;

fn given() -> (Emulator, Terminal) {
    let server = server();
    let terminal = terminal_with_files(&server, LIMITS);
    (server, terminal)
}

/// A command of which the whole line has so many bytes.
fn returns_of_line(server: &Emulator, bytes: usize) -> i64 {
    let id = format!("l{bytes}");
    let beginning = "DATA UPDATE USERPIC PIN=1\tSize=4\tContent=QUJD\tX=";
    let rest = bytes - format!("C:{id}:{beginning}").len();
    server.queue_repeated(&id, &format!("{beginning}{}", "x".repeat(rest)), Repeat::UntilAnswered);
    answer(server, &id).0
}

#[test]
fn a_command_and_a_line_of_shell_have_their_longest() {
    let (server, _terminal) = given();
    // Whatever else is wrong with it, it is not too long.
    assert_ne!(returns_of_line(&server, 20_000), -1006);
    assert_eq!(returns_of_line(&server, 20_001), -1006);
    let line = |bytes: usize| format!("SHELL :{}", " ".repeat(bytes - 2)) + "x";
    assert_eq!(returns(&server, &line(16 << 10)), 0);
    assert_eq!(returns(&server, &line((16 << 10) + 1)), -1);
}

#[test]
fn what_a_line_of_shell_writes_has_its_most() {
    let (server, _terminal) = given();
    for (bytes, code) in [(999, 0), (1000, 0), (1001, -1006)] {
        let id = server.queue(&format!("SHELL head -c {bytes} /dev/zero | tr '\\0' x"));
        let (returned, output) = answer(&server, &id);
        assert_eq!((returned, output.len()), (code, bytes.min(1000)), "{bytes} bytes");
    }
}

#[test]
fn a_file_has_its_largest_in_either_direction() {
    let (server, terminal) = given();
    for (bytes, code) in [(MIB - 1, MIB as i64 - 1), (MIB, MIB as i64), (MIB + 1, -1006)] {
        let name = format!("f{bytes}");
        server.serve_file(&name, vec![7; bytes]);
        assert_eq!(returns(&server, &format!("PutFile {name}\t{name}")), code, "put {bytes}");
        let own = terminal.path("files").join("own");
        fs::write(&own, vec![7; bytes]).unwrap();
        let returned = returns(&server, &format!("GetFile {}", own.display()));
        assert_eq!(returned, code, "get {bytes}");
    }
}

#[test]
fn a_file_of_which_nobody_says_the_length_has_the_same_largest() {
    for (bytes, code) in [(MIB, MIB as i64), (MIB + 1, -1006)] {
        // It comes in one chunk, whatever part was asked for.
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let mut file = format!("{head}{bytes:x}\r\n").into_bytes();
        file.resize(file.len() + bytes, 7);
        file.extend_from_slice(b"\r\n0\r\n\r\n");
        let mut lists = ["C:1:PutFile long\tx\n"].into_iter();
        let server = RawServer::start(move |request| match request {
            request if request.is_handshake() => options(""),
            request if request.is_poll() => says(200, lists.next().unwrap_or("OK")),
            request if request.target.contains("long") => RawAnswer::Exactly(file.clone()),
            _ => says(200, "OK"),
        });
        let mut terminal = Terminal::prepare(&server.url(), "");
        let files = terminal.path("files");
        fs::create_dir(&files).unwrap();
        let more = format!("[commands]\nput_dirs = [{files:?}]\n{LIMITS}");
        terminal.configure(&server.url(), &more);
        terminal.run();
        until("answered", || replies_to(&server).contains_key("1"), || terminal.log());
        assert_eq!(replies_to(&server)["1"], [code], "{bytes}: {}", terminal.log());
    }
}

#[test]
fn there_are_so_many_users_and_no_more() {
    let (server, terminal) = given();
    let put = |pin: u32| returns(&server, &format!("DATA UPDATE USERINFO PIN={pin}"));
    assert_eq!([1, 2, 3, 4, 3].map(put), [0, 0, 0, -1001, 0]);
    assert_eq!(terminal.status()["users"], 3);
    assert_eq!(returns(&server, "DATA DELETE USERINFO PIN=1"), 0);
    assert_eq!([4, 5].map(put), [0, -1001]);
}

#[test]
fn an_archive_has_its_largest_unpacked() {
    let (server, terminal) = given();
    // It gets a fraction as large, but not so small that this alone is refused.
    let content = |bytes: usize| noise(1000).into_iter().cycle().take(bytes).collect::<Vec<u8>>();
    for (bytes, is_taken) in [(MIB - 4096, true), (MIB + 1, false)] {
        let name = format!("a{bytes}.tgz");
        let archive = tgz(&[("unpacked", &content(bytes))]);
        assert!(archive.len() < MIB / 4);
        server.serve_file(&name, archive);
        let code = returns(&server, &format!("PutFile {name}\tdir{bytes}/"));
        assert_eq!(code >= 0, is_taken, "{bytes}: {code}, {}", terminal.log());
        let unpacked = terminal.path("files").join(format!("dir{bytes}/unpacked"));
        assert_eq!(unpacked.exists(), is_taken, "{bytes}");
    }
}
