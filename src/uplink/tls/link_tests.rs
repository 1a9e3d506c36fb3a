//! Whole connections, with servers that stall, send a byte at a time, or close without a
//! close_notify.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant, UNIX_EPOCH};

use iclock_emulator::{PrivateCa, private_ca, private_ca_valid};
use rustix::event::{PollFd, PollFlags};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::certificate::Certificate;
use crate::clock::{BUILD_TIME, ClockOffset, LATEST_TIME};
use crate::reactor::{self, Served};
use crate::uplink::{ReadLimit, Request, Response, Server, Settings, TlsSettings, Uplink};

/// The body that a GET brings from a server that does `serve` with its one connection, or the
/// message of the failure.
fn got(
    name: &str,
    connect: u64,
    serve: impl FnOnce(TcpStream, &PrivateCa) + Send + 'static,
) -> Result<Vec<u8>, String> {
    let mut response = response(name, connect, serve)?;
    response.read_up_to(1 << 20).map_err(|failure| failure.to_string())
}

/// The same, with the body not yet read.
fn response(
    name: &str,
    connect: u64,
    serve: impl FnOnce(TcpStream, &PrivateCa) + Send + 'static,
) -> Result<Response, String> {
    let made = private_ca().unwrap();
    let ca = Ca::new(name, &made);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let settings = settings(&listener, connect, &ca);
    thread::spawn(move || serve(listener.accept().unwrap().0, &made));
    Server::new(&settings)
        .exchange(&Request::get("/iclock/getrequest"))
        .map_err(|failure| failure.to_string())
}

fn settings(listener: &TcpListener, connect: u64, ca: &Ca) -> Settings {
    let port = listener.local_addr().unwrap().port();
    Settings {
        connect: Duration::from_secs(connect),
        tls: TlsSettings { ca: Some(ca.0.clone()), ..TlsSettings::default() },
        ..Settings::patient(format!("https://127.0.0.1:{port}"))
    }
}

struct Ca(PathBuf);

impl Ca {
    fn new(name: &str, made: &PrivateCa) -> Self {
        let name = format!("punchd-tls-{name}-{}.pem", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, &made.ca).unwrap();
        Self(path)
    }
}

impl Drop for Ca {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Answers with a body that ends with the connection: with a close_notify, or without.
fn answer(stream: TcpStream, made: &PrivateCa, close_notify: bool) {
    answer_by(stream, made, close_notify, |stream, body| stream.write_all(body).unwrap());
}

/// The same; `send` sends the body as TLS has sealed it.
fn answer_by(
    stream: TcpStream,
    made: &PrivateCa,
    close_notify: bool,
    send: impl FnOnce(&mut TcpStream, &[u8]),
) {
    let mut tls = asked(stream, made);
    tls.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n").unwrap();
    tls.flush().unwrap();
    tls.conn.writer().write_all(b"C:1:DATA DELETE USERINFO PIN=1").unwrap();
    if close_notify {
        tls.conn.send_close_notify();
    }
    let mut sealed = Vec::new();
    while tls.conn.wants_write() {
        tls.conn.write_tls(&mut sealed).unwrap();
    }
    send(&mut tls.sock, &sealed);
    let _ = tls.sock.shutdown(std::net::Shutdown::Write);
    let _ = tls.sock.read(&mut [0]);
}

/// A server's side of TLS with this certificate.
fn server(made: &PrivateCa) -> ServerConnection {
    let certificate = CertificateDer::from_pem_slice(made.certificate.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(made.key.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    ServerConnection::new(Arc::new(config)).unwrap()
}

/// A connection on which the request has come.
fn asked(stream: TcpStream, made: &PrivateCa) -> StreamOwned<ServerConnection, TcpStream> {
    let mut tls = StreamOwned::new(server(made), stream);
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        tls.read_exact(&mut byte).unwrap();
        request.push(byte[0]);
    }
    tls
}

#[test]
fn a_body_ends_with_close_notify() {
    let body = got("whole", 10, |stream, made| answer(stream, made, true));
    assert_eq!(body.unwrap(), b"C:1:DATA DELETE USERINFO PIN=1");
}

#[test]
fn a_read_that_reached_its_limit_in_the_middle_of_a_record_goes_on() {
    // Given a server that sends half of a record, and the rest when a read has reached its limit,
    let (reached, go_on) = channel();
    let serve = move |stream: TcpStream, made: &PrivateCa| {
        answer_by(stream, made, true, |stream, sealed| {
            stream.write_all(&sealed[..20]).unwrap();
            go_on.recv().unwrap();
            stream.write_all(&sealed[20..]).unwrap();
        });
    };
    let mut response = response("halves", 10, serve).unwrap();
    response.reads.set(Duration::from_millis(100));
    let error = response.body.read(&mut [0; 100]).unwrap_err();
    assert!(ReadLimit::is_in(&error), "{error}");
    // when it is read again, then nothing is lost.
    reached.send(()).unwrap();
    response.reads.set(Duration::from_secs(20));
    assert_eq!(response.read_up_to(100).unwrap(), b"C:1:DATA DELETE USERINFO PIN=1");
}

#[test]
fn a_body_without_close_notify_is_refused() {
    let message = got("cut", 10, |stream, made| answer(stream, made, false)).unwrap_err();
    assert!(message.contains("may be cut off"), "{message}");
}

#[test]
fn a_handshake_that_stalls_or_trickles_times_out() {
    let stalls = |stream: TcpStream, _: &PrivateCa| {
        thread::sleep(Duration::from_secs(8));
        drop(stream);
    };
    // The beginning of a long handshake record, a byte at a time.
    let trickles = |mut stream: TcpStream, _: &PrivateCa| {
        for byte in [0x16, 3, 3, 0x3f, 0xff, 2, 0, 0x3f, 0xfb].into_iter().chain([0; 80]) {
            if stream.write_all(&[byte]).is_err() {
                return;
            }
            thread::sleep(Duration::from_millis(100));
        }
    };
    type Serve = fn(TcpStream, &PrivateCa);
    for (how, serve) in [("stalls", stalls as Serve), ("trickles", trickles as Serve)] {
        let begun = Instant::now();
        let message = got(how, 1, serve).unwrap_err();
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(4), "{how}: {took:?}, {message}");
        assert!(message.contains("did not finish the TLS handshake in time"), "{how}: {message}");
    }
}

/// What the `Date` of an answer is, in seconds since 1970, for a terminal with this clock. The
/// server's certificate is valid for a year from the build on.
fn date_by(name: &str, clock_offset: ClockOffset) -> Result<i64, String> {
    let day = |nth: i64| UNIX_EPOCH + Duration::from_secs((BUILD_TIME + nth * DAY).unsigned_abs());
    let made = private_ca_valid(day(0), day(365)).unwrap();
    let ca = Ca::new(name, &made);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let settings = Settings { clock_offset, ..settings(&listener, 10, &ca) };
    thread::spawn(move || {
        let mut tls = asked(listener.accept().unwrap().0, &made);
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nDate: Thu, 26 Nov 2026 12:00:00 GMT";
        tls.write_all(format!("{head}\r\n\r\n").as_bytes()).unwrap();
        let _ = tls.read(&mut [0]);
    });
    let response = Server::new(&settings).exchange(&Request::get("/iclock/getrequest"));
    let response = response.map_err(|failure| failure.to_string())?;
    response.date.unwrap().at.map_err(str::to_owned)
}

const DAY: i64 = 86_400;
/// The server's `Date`.
const NOW: i64 = 1_795_694_400;

#[test]
fn a_clock_that_is_not_set_gets_the_servers_time_whether_it_is_in_1970_or_far_ahead() {
    for (name, utc) in [("1970", 0), ("build", BUILD_TIME - 1), ("ahead", LATEST_TIME + 1)] {
        assert_eq!(date_by(name, ClockOffset::at(utc)), Ok(NOW), "{name}");
    }
}

#[test]
fn a_clock_that_may_be_right_refuses_what_expired_by_it() {
    for (name, utc) in [("year", BUILD_TIME + 366 * DAY), ("latest", LATEST_TIME)] {
        let said = date_by(name, ClockOffset::at(utc)).unwrap_err();
        assert!(said.contains("expired on 2027-11-01 00:00:00 UTC"), "{said}");
    }
}

#[test]
fn a_clock_that_somebody_changed_gets_the_time_of_the_server_that_told_it_before() {
    let changed = BUILD_TIME + 1000 * DAY;
    let told = ClockOffset::at(changed).after_told(NOW - DAY);
    assert_eq!(date_by("changed", told), Ok(NOW));
}

#[test]
fn who_shows_the_pinned_certificate_and_has_not_its_key_is_refused() {
    for version in [&TLS12, &TLS13] {
        // Given a machine that has seen the certificate of the server, and has a key of its own,
        let [seen, own] = [1, 2].map(|_| private_ca().unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ca = Ca::new(&format!("shown-{:?}", version.version), &seen);
        std::fs::write(&ca.0, &seen.certificate).unwrap();
        let certificate = CertificateDer::from_pem_slice(seen.certificate.as_bytes()).unwrap();
        let pin = Certificate::parse(&certificate).unwrap().pin();
        for tls in [
            TlsSettings { pins: vec![pin], ..TlsSettings::default() },
            TlsSettings { ca: Some(ca.0.clone()), ..TlsSettings::default() },
        ] {
            let settings = Settings { tls, ..settings(&listener, 10, &ca) };
            let (certificate, listener) = (certificate.clone(), listener.try_clone().unwrap());
            let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap();
            let key = rustls::crypto::ring::sign::any_supported_type(&key).unwrap();
            let shown = SingleCertAndKey::from(CertifiedKey::new(vec![certificate], key));
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let config = ServerConfig::builder_with_provider(provider)
                .with_protocol_versions(&[version])
                .unwrap()
                .with_no_client_auth()
                .with_cert_resolver(Arc::new(shown));
            thread::spawn(move || {
                let stream = listener.accept().unwrap().0;
                let connection = ServerConnection::new(Arc::new(config)).unwrap();
                let _ = StreamOwned::new(connection, stream).read(&mut [0]);
            });
            // when it answers in the server's place, then it gets nothing.
            let said = Server::new(&settings).exchange(&Request::get("/iclock/getrequest"));
            let said = said.map(drop).unwrap_err().to_string();
            assert!(said.contains("its handshake is not signed by the key"), "{said}");
        }
    }
}

/// A server in the thread of the client: it is served only while the client waits, and sends the next
/// part of its answer then. So the client has read each part before the next is there.
struct InParts {
    listener: TcpListener,
    socket: Option<TcpStream>,
    tls: ServerConnection,
    request: Vec<u8>,
    /// What is left of the answer.
    parts: VecDeque<Vec<u8>>,
    /// The client has not read the last part yet: its wait ends with this call.
    is_unread: bool,
}

impl Served for InParts {
    fn watch<'a>(&'a self, _: &mut Vec<PollFd<'a>>) {}

    fn serve(&mut self, _: &[PollFlags]) {
        let Self { listener, socket, tls, .. } = self;
        if socket.is_none() {
            *socket = listener.accept().ok().map(|(socket, _)| socket);
        }
        let Some(socket) = socket else { return };
        socket.set_nonblocking(true).unwrap();
        if tls.read_tls(socket).is_ok() {
            tls.process_new_packets().unwrap();
            // That no more is there is no error.
            let _ = tls.reader().read_to_end(&mut self.request);
        }
        if self.request.ends_with(b"\r\n\r\n") && !std::mem::take(&mut self.is_unread) {
            match self.parts.pop_front() {
                Some(part) => tls.writer().write_all(&part).unwrap(),
                None => tls.send_close_notify(),
            }
            self.is_unread = true;
        }
        while tls.wants_write() {
            tls.write_tls(socket).unwrap();
        }
    }

    fn deadline(&self) -> Option<Instant> {
        Some(Instant::now())
    }
}

/// What a GET brings from a server that sends its answer in these parts.
fn got_in_parts(made: &PrivateCa, ca: &Ca, parts: Vec<Vec<u8>>) -> Result<(u16, Vec<u8>), String> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let settings = settings(&listener, 10, ca);
    let (socket, request, tls) = (None, Vec::new(), server(made));
    let server = InParts { listener, socket, tls, request, parts: parts.into(), is_unread: false };
    // What is served is served by a thread to its end.
    let client = thread::spawn(move || {
        reactor::serve(Rc::new(RefCell::new(server)));
        let request = Request::get("/iclock/getrequest");
        let response = Server::new(&settings).exchange(&request);
        let mut response = response.map_err(|failure| failure.to_string())?;
        let body = response.read_up_to(1 << 20).map_err(|failure| failure.to_string())?;
        Ok((response.status, body))
    });
    client.join().unwrap()
}

#[test]
fn an_answer_that_comes_in_parts_is_read_as_one() {
    let made = private_ca().unwrap();
    let ca = Ca::new("parts", &made);
    let body = b"C:1:DATA DELETE USERINFO PIN=1\n";
    let heads = [
        format!("HTTP/1.1 200 OK\r\nDate: now\r\nContent-Length: {}\r\n\r\n", body.len()),
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_owned(),
    ];
    for (head, is_chunked) in heads.iter().zip([false, true, false]) {
        let sent = match is_chunked {
            true => [format!("{:x}\r\n", body.len()).as_bytes(), body, b"\r\n0\r\n\r\n"].concat(),
            false => body.to_vec(),
        };
        let answer = [head.as_bytes(), &sent].concat();
        let each_byte: Vec<Vec<u8>> = answer.iter().map(|byte| vec![*byte]).collect();
        let in_two = (1..answer.len()).map(|at| vec![answer[..at].to_vec(), answer[at..].to_vec()]);
        for parts in in_two.chain([each_byte]) {
            let first = String::from_utf8_lossy(&parts[0]).into_owned();
            let got = got_in_parts(&made, &ca, parts);
            assert_eq!(got.unwrap(), (200, body.to_vec()), "{head:?} after {first:?}");
        }
    }
}
