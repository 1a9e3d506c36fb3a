//! A proxy between the terminal and its server: one of a few lines that knows only RFC 9110. It is asked
//! for whole URLs by HTTP, and for a way through (`CONNECT`) by HTTPS.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use iclock_emulator::{Settings, Tls, private_ca};

use crate::harness::{TIMEOUT, Terminal, second, server, server_with, until};

/// The proxy, with the heads of what it was asked for.
struct Proxy {
    address: String,
    heads: Arc<Mutex<Vec<String>>>,
}

/// The base64 of `me:secret`.
const CREDENTIALS: &str = "bWU6c2VjcmV0";

impl Proxy {
    /// One that wants credentials.
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&heads);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let seen = Arc::clone(&seen);
                thread::spawn(move || pass(stream, &seen));
            }
        });
        Self { address, heads }
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

/// Passes one connection on: all of it to the place that the first request names.
fn pass(mut client: TcpStream, seen: &Mutex<Vec<String>>) -> Option<()> {
    let mut reader = BufReader::new(client.try_clone().ok()?);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        reader.read_line(&mut head).ok().filter(|amount| *amount > 0)?;
    }
    seen.lock().ok()?.push(head.clone());
    if !head.contains(CREDENTIALS) {
        let refusal = "HTTP/1.1 407 X\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n";
        client.write_all(refusal.as_bytes()).ok()?;
        return Some(());
    }
    let (method, rest) = head.split_once(' ')?;
    let (target, _) = rest.split_once(' ')?;
    let mut upstream = if method == "CONNECT" {
        let upstream = TcpStream::connect(target).ok()?;
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").ok()?;
        upstream
    } else {
        let place = target.strip_prefix("http://")?.split('/').next()?;
        let mut upstream = TcpStream::connect(place).ok()?;
        // As the server wants it: the path alone. One request a connection is enough here.
        let head = head.replacen(&format!("http://{place}"), "", 1);
        let head = head.replacen("\r\n", "\r\nConnection: close\r\n", 1);
        upstream.write_all(head.as_bytes()).ok()?;
        upstream
    };
    let (mut back, mut out) = (upstream.try_clone().ok()?, client.try_clone().ok()?);
    let answers = thread::spawn(move || {
        let _ = std::io::copy(&mut back, &mut out);
        let _ = out.shutdown(Shutdown::Write);
    });
    let mut bytes = [0; 4096];
    while let Ok(amount @ 1..) = reader.read(&mut bytes) {
        upstream.write_all(&bytes[..amount]).ok()?;
    }
    let _ = upstream.shutdown(Shutdown::Write);
    answers.join().ok()
}

#[test]
fn an_http_server_is_reached_by_whole_urls() {
    let (server, proxy) = (server(), Proxy::start());
    let more = format!("[proxy]\nurl = \"http://me:secret@{}\"\n", proxy.address);
    let terminal = Terminal::start(&server, &more);
    terminal.driver().punch("1001", &second(1));
    assert!(server.wait_until(TIMEOUT, |received| received.attlog().len() == 1));
    let heads = proxy.heads();
    let whole = format!(" {}/iclock/", server.url());
    assert!(heads.iter().all(|head| head.contains(&whole)), "{heads:#?}");
    server.assert_strict();
}

#[test]
fn an_https_server_is_reached_by_a_way_through_that_is_kept() {
    let (ca, proxy) = (private_ca().unwrap(), Proxy::start());
    let tls = Tls { certificates: ca.certificate.clone(), key: ca.key.clone(), clients: None };
    let server = server_with(Settings { tls: Some(tls), ..Settings::default() });
    let mut terminal = Terminal::prepare(&server.url(), "");
    let file = terminal.path("ca.pem");
    std::fs::write(&file, &ca.ca).unwrap();
    let (file, address) = (file.display(), &proxy.address);
    let more = format!("[tls]\nca = \"{file}\"\n[proxy]\nurl = \"http://me:secret@{address}\"\n");
    terminal.configure(&server.url(), &more);
    terminal.run();
    for nth in 1..=5 {
        terminal.driver().punch("1001", &second(nth));
        assert!(server.wait_until(TIMEOUT, |received| received.attlog().len() as u32 == nth));
    }
    let heads = proxy.heads();
    assert!(heads.iter().all(|head| head.starts_with("CONNECT localhost:")), "{heads:#?}");
    assert_eq!(heads.len(), 1, "{heads:#?}");
    server.assert_strict();
}

#[test]
fn a_proxy_that_wants_a_password_is_named() {
    let (server, proxy) = (server(), Proxy::start());
    let https = server.url().replace("http:", "https:");
    for url in [server.url(), https] {
        let mut terminal = Terminal::prepare(&url, "");
        let file = terminal.path("ca.pem");
        std::fs::write(&file, private_ca().unwrap().ca).unwrap();
        let (file, address) = (file.display(), &proxy.address);
        let more = format!("[tls]\nca = \"{file}\"\n[proxy]\nurl = \"http://{address}\"\n");
        terminal.configure(&url, &more);
        terminal.run();
        let says = || terminal.status()["trouble"].as_str().unwrap_or_default().contains("[proxy]");
        until("named", says, || terminal.status().to_string());
    }
    assert!(server.requests().is_empty());
}
