//! Files that a server sends slowly: everything else goes on meanwhile, and a server that stops in the
//! middle is given up in the end.

use std::fs;

use crate::harness::{
    RawAnswer, RawRequest, RawServer, Terminal, jpeg, noise, options, replies_in, replies_to, says,
    second, until,
};

/// Bytes of the file.
const SIZE: usize = 700_000;

/// How a server of files answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Files {
    /// It knows no ranges.
    Whole,
    /// It sends what is asked for.
    Ranges,
    /// It knows no ranges, and says no length beforehand.
    Chunked,
}

/// Whether a punch and two polls came since the file was asked for first.
fn others_came(seen: &[RawRequest]) -> bool {
    let since = seen.iter().skip_while(|request| !is_for_file(request));
    let polls = since.clone().filter(|request| request.is_poll()).count();
    polls >= 2 && since.clone().any(|request| request.is_upload("ATTLOG"))
}

fn is_for_file(request: &RawRequest) -> bool {
    request.target.ends_with("/slow")
}

/// Whether the second command was answered.
fn second_is_answered(seen: &[RawRequest]) -> bool {
    replies_in(seen).contains_key("2")
}

/// Commands the terminal to fetch a file, of which the second half of each answer comes when
/// `may_go_on` says so.
fn server(files: Files, may_go_on: fn(&[RawRequest]) -> bool) -> RawServer {
    server_with(vec!["C:1:PutFile slow\tslow".into()], files, may_go_on)
}

/// A server with further commands; the last is given first.
fn server_with(
    mut commands: Vec<String>,
    files: Files,
    may_go_on: fn(&[RawRequest]) -> bool,
) -> RawServer {
    let file = noise(SIZE);
    RawServer::start(move |request| {
        if request.is_handshake() {
            options("")
        } else if is_for_file(request) {
            let (head, body) = answer(files, &file, request.range.unwrap());
            let middle = body.len() / 2;
            let first = [head.as_bytes(), &body[..middle]].concat();
            RawAnswer::InTwo(first, body[middle..].to_vec(), may_go_on)
        } else if request.target.ends_with("/face.jpg") {
            RawAnswer::Bytes(jpeg(3000))
        } else if request.is_poll() {
            says(200, commands.pop().unwrap_or("OK".into()))
        } else {
            says(200, "OK")
        }
    })
}

/// Head and body of the answer to a request for these bytes of the file.
fn answer(files: Files, file: &[u8], (from, to): (usize, usize)) -> (String, Vec<u8>) {
    let close = "Connection: close\r\n\r\n";
    match files {
        Files::Whole => {
            (format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n{close}"), file.to_vec())
        }
        Files::Ranges => {
            let to = to.min(SIZE - 1);
            let length = to + 1 - from;
            let head = format!(
                "HTTP/1.1 206 Partial\r\nContent-Length: {length}\r\n\
                 Content-Range: bytes {from}-{to}/{SIZE}\r\n{close}"
            );
            (head, file[from..=to].to_vec())
        }
        Files::Chunked => {
            let chunks = file.chunks(50_000).flat_map(|chunk| {
                [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat()
            });
            let body = chunks.chain(*b"0\r\n\r\n").collect();
            (format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n{close}"), body)
        }
    }
}

fn terminal(server: &RawServer, more: &str) -> Terminal {
    let mut terminal = Terminal::prepare(&server.url(), "");
    let files = terminal.path("files");
    fs::create_dir(&files).unwrap();
    let dirs = format!("[commands]\nput_dirs = [\"{}\"]\n{more}", files.display());
    terminal.configure(&server.url(), &dirs);
    terminal.run();
    terminal
}

#[test]
fn a_punch_and_polls_go_while_a_file_comes() {
    for files in [Files::Whole, Files::Ranges, Files::Chunked] {
        // Given a server that sends half of what it is asked for, and no more before it has a punch
        // and two polls,
        let server = server(files, others_came);
        let terminal = terminal(&server, "");
        let asked = || server.requests().iter().any(is_for_file);
        until("asked for the file", asked, || terminal.log());
        // when somebody punches,
        terminal.driver().punch("1", &second(1));
        // then the file comes to its end, in one attempt, and is what it should be.
        let is_answered = || replies_to(&server).contains_key("1");
        until("answered", is_answered, || format!("{files:?}: {}", terminal.log()));
        assert_eq!(replies_to(&server)["1"], [SIZE as i64], "{files:?}");
        let came = fs::read(terminal.path("files/slow")).unwrap();
        assert!(came == noise(SIZE), "{files:?}: {} bytes, not those of the file", came.len());
        let attempts = server.requests().iter().filter(|request| is_for_file(request)).count();
        assert!(attempts == 1 || files == Files::Ranges, "{files:?}: {attempts} attempts");
    }
}

#[test]
fn other_jobs_go_on_while_a_file_comes() {
    // Given a server that sends half of a file, and no more before it has the answer to the command
    // after it, which is a job, too,
    let people: Vec<String> = (1..2000).map(|pin| format!("PIN={pin}\tName=Ann")).collect();
    let commands = [
        format!("C:2:DATA UPDATE USERINFO {}\n", people.join("\n")),
        "C:1:PutFile slow\tslow\nC:3:PutFile slow\tslower\n".into(),
    ];
    let server = server_with(commands.to_vec(), Files::Whole, second_is_answered);
    let terminal = terminal(&server, "");
    // then all three come to their end, the files whole.
    for (id, code) in [("2", 0), ("1", SIZE as i64), ("3", SIZE as i64)] {
        let is_answered = || replies_to(&server).contains_key(id);
        until(id, is_answered, || terminal.log());
        assert_eq!(replies_to(&server)[id], [code], "{id}");
    }
    let attempts = server.requests().iter().filter(|request| is_for_file(request)).count();
    assert_eq!(attempts, 2, "one response was closed for another");
}

#[test]
fn a_short_file_goes_beside_a_long_one() {
    for files in [Files::Whole, Files::Ranges] {
        // Given a server that sends the second half of a file when a photo, asked for after it, is
        // answered,
        let photo = "C:2:DATA UPDATE BIOPHOTO PIN=1\tType=9\tFormat=1\tUrl=face.jpg\n";
        let commands = vec![
            format!("C:1:PutFile slow\tslow\n{photo}"),
            "C:0:DATA UPDATE USERINFO PIN=1\n".into(),
        ];
        let server = server_with(commands, files, second_is_answered);
        let terminal = terminal(&server, "");
        // then both come to their end.
        for (id, code) in [("2", 0), ("1", SIZE as i64)] {
            let is_answered = || replies_to(&server).contains_key(id);
            until(id, is_answered, || format!("{files:?}: {}", terminal.log()));
            assert_eq!(replies_to(&server)[id], [code], "{files:?} {id}");
        }
    }
}

#[test]
fn a_server_that_stops_in_the_middle_is_given_up() {
    // Given a server that knows no ranges, and never sends the second half of the file,
    let server = server(Files::Whole, |_| false);
    // when the terminal waits a second for it each time,
    let terminal = terminal(&server, "[timeouts]\nanswer = 1\nretry = 1");
    // then the file is given up after some attempts, and nothing of it is left.
    let is_answered = || replies_to(&server).contains_key("1");
    until("answered", is_answered, || terminal.log());
    assert_eq!(replies_to(&server)["1"], [-1008]);
    let attempts = server.requests().iter().filter(|request| is_for_file(request)).count();
    assert!((2..=6).contains(&attempts), "{attempts} attempts");
    assert!(terminal.log().contains("it knows no ranges"), "{}", terminal.log());
    assert!(!terminal.path("files/slow").exists());
    assert_eq!(fs::read_dir(terminal.path("punchd.db.files")).unwrap().count(), 0);
}
