//! Whole exchanges with servers of a few lines.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc::channel;
use std::thread;

use super::*;
use crate::uplink::Part;

fn settings(listener: &TcpListener) -> Settings {
    Settings::patient(format!("http://{}", listener.local_addr().unwrap()))
}

/// A request for a part of a file.
fn part() -> Request<'static> {
    let part = Part { from: 0, to: 99, version: None };
    Request { part: Some(part), ..Request::get("/file") }
}

#[test]
fn a_body_is_framed_if_its_end_is_known() {
    for (head, body, framed) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2", "OK", true),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked", "2\r\nOK\r\n0\r\n\r\n", true),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: x-chunked", "OK", false),
        ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked", "OK", false),
        ("HTTP/1.1 200 OK\r\nConnection: close", "OK", false),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let settings = settings(&listener);
        thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            let _ = stream.read(&mut [0; 1000]);
            stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).unwrap();
        });
        let request = Request::get("/iclock/getrequest");
        let mut response = Server::new(&settings).exchange(&request).unwrap();
        assert_eq!(response.framed, framed, "{head}");
        assert_eq!(response.read_up_to(100).unwrap(), b"OK", "{head}");
    }
}

#[test]
fn a_body_goes_on_after_its_limit_and_other_exchanges_between() {
    // Given a server that sends half of a file, and answers another request before the rest,
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut server = Server::new(&settings(&listener));
    let (answered, go_on) = channel();
    thread::spawn(move || {
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n";
        let accept = || {
            let mut stream = listener.accept().unwrap().0;
            let _ = stream.read(&mut [0; 1000]);
            stream.write_all(head).unwrap();
            stream
        };
        let mut file = accept();
        file.write_all(b"ha").unwrap();
        // More than its length says: the other answer is refused, and the file is not.
        accept().write_all(b"12345").unwrap();
        go_on.recv().unwrap();
        file.write_all(b"lf").unwrap();
    });
    // when the rest does not come within the limit,
    let mut response = server.exchange(&part()).unwrap();
    let mut bytes = [0; 10];
    response.reads.set(Duration::from_millis(1));
    let mut came = Vec::new();
    let error = loop {
        match response.body.read(&mut bytes) {
            Ok(amount) => came.extend_from_slice(&bytes[..amount]),
            Err(error) if came.is_empty() => assert!(ReadLimit::is_in(&error), "{error}"),
            Err(error) => break error,
        }
    };
    assert!(ReadLimit::is_in(&error), "{error}");
    let mut other = server.exchange(&Request::get("/iclock/getrequest")).unwrap();
    assert!(other.read_up_to(100).is_err());
    // then it is read later.
    answered.send(()).unwrap();
    response.reads.set(Duration::from_secs(20));
    came.extend(response.read_up_to(100).unwrap());
    assert_eq!(came, b"half");
}

#[test]
fn a_body_has_its_time_however_often_its_reads_begin_anew() {
    let (short, long) = (Duration::from_secs(1), Duration::from_secs(20));
    for (what, answer, body) in [
        ("the silence is too long", short, long),
        ("the reads together take too long", long, short),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let settings = Settings { answer, body, ..settings(&listener) };
        let (_open, closes) = channel::<()>();
        thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            let _ = stream.read(&mut [0; 1000]);
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n").unwrap();
            let _ = closes.recv();
        });
        let mut response = Server::new(&settings).exchange(&part()).unwrap();
        let began = Instant::now();
        let error = loop {
            response.reads.set(Duration::from_millis(50));
            let error = response.body.read(&mut [0; 10]).unwrap_err();
            if !ReadLimit::is_in(&error) {
                break error;
            }
            assert!(began.elapsed() < long, "{what}: it is read for ever");
        };
        let message = Failure::in_body(error, "/x").to_string();
        assert!(message.contains("in time"), "{what}: {message}");
    }
}
