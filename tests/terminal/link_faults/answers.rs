//! Answers in HTTP that are not those of the protocol.

use super::Fault;
use super::peers::{Link, SHORT, answering};
use crate::harness::{RawAnswer, RawRequest, RawServer, options, says};

/// Answers to the handshake.
pub fn handshakes() -> Vec<Fault> {
    [redirects(), statuses(), texts()].into_iter().flatten().collect()
}

/// Answers to what follows.
pub fn others() -> Vec<Fault> {
    uploads().into_iter().chain(polls()).collect()
}

fn head(status: u16, head: &'static str, body: &str) -> RawAnswer {
    RawAnswer::Says(status, head, body.into())
}

fn handshake(name: &'static str, answer: RawAnswer) -> Fault {
    Fault::new(name, move |_| answering(answer.clone()))
}

fn redirects() -> Vec<Fault> {
    let to = |location: &'static str| head(302, location, "<html>");
    vec![
        handshake(
            "301 to `https://`",
            head(301, "Location: https://127.0.0.1/iclock/cdata?SN=MADE0001\r\n", ""),
        ),
        handshake("302 to another host", to("Location: http://login.example/?from=x\r\n")),
        handshake("302 to a page", to("Location: /login?next=x\r\n")),
        handshake("302 to the same address", to("Location: /iclock/cdata?SN=MADE0001\r\n")),
        handshake("307 without `Location`", head(307, "", "")),
    ]
}

fn statuses() -> Vec<Fault> {
    vec![
        handshake("400", says(400, "<h1>Bad Request</h1>")),
        handshake("401", says(401, "")),
        handshake("403", says(403, "who are you")),
        handshake("404", says(404, "Cannot GET /x")),
        handshake("405", says(405, "")),
        handshake("407 without a proxy", says(407, "<title>Access Denied</title>")),
        handshake("408", says(408, "")),
        handshake("413", says(413, "too much")),
        handshake("429", head(429, "Retry-After: 900\r\n", "slow down")),
        handshake("500", says(500, "no such column: punch")),
        handshake("502", says(502, "<title>Bad Gateway</title>")),
        handshake("503", says(503, "")),
        handshake("504", says(504, "")),
    ]
}

fn texts() -> Vec<Fault> {
    vec![
        handshake("204", RawAnswer::Exactly(b"HTTP/1.1 204 No Content\r\n\r\n".to_vec())),
        handshake("an empty body", says(200, "")),
        handshake("a web page", says(200, "<!DOCTYPE html><html><title>Log in</title>")),
        handshake("JSON", says(200, "{\"code\": 0}")),
        handshake("gzip", RawAnswer::Bytes(b"\x1f\x8b\x08\x00\x00\x00OK".to_vec())),
        handshake("`Content-Encoding`", head(200, "Content-Encoding: br\r\n", "xyz")),
        handshake("`UNKNOWN DEVICE`", says(200, "UNKNOWN DEVICE")),
        handshake("`Terminal Not Authorized`", says(200, "Terminal Not Authorized")),
        handshake("`RETRY`", says(200, "RETRY")),
        handshake("another text", says(200, "FAIL")),
        handshake("only `OK`", says(200, "OK")),
        handshake("only `\"OK\"`, in quotes", says(200, "\"OK\"")),
        Fault::new("another serial number", |_| {
            let RawAnswer::Says(_, _, text) = options("") else { unreachable!() };
            let other = says(200, text.replace("MADE0001", "OTHER-1"));
            serving(move |request| request.is_handshake().then(|| other.clone()))
        }),
    ]
}

/// A server that answers uploads of punches so, and all else well.
fn upload(name: &'static str, answer: RawAnswer) -> Fault {
    Fault::new(name, move |_| {
        let answer = answer.clone();
        serving(move |request| request.is_upload("ATTLOG").then(|| answer.clone())).with_punch()
    })
}

/// A server that answers polls so, and all else well.
fn poll(name: &'static str, answer: RawAnswer) -> Fault {
    Fault::new(name, move |_| {
        let answer = answer.clone();
        serving(move |request| request.is_poll().then(|| answer.clone()))
    })
}

fn serving(fault: impl Fn(&RawRequest) -> Option<RawAnswer> + Send + 'static) -> Link {
    let server = RawServer::start(move |request| match fault(request) {
        Some(answer) => answer,
        None if request.is_handshake() => patient_options(),
        None => says(200, "OK"),
    });
    Link::to(server.url()).keep(server)
}

/// The options of a server that wants no second attempt while the doctor looks.
fn patient_options() -> RawAnswer {
    let RawAnswer::Says(status, head, text) = options("") else { unreachable!() };
    RawAnswer::Says(status, head, text.replace("ErrorDelay=1", "ErrorDelay=60"))
}

fn uploads() -> Vec<Fault> {
    vec![
        upload("upload: 401", says(401, "")),
        upload("upload: 404", says(404, "no such page")),
        upload("upload: 413", says(413, "")),
        upload("upload: 500", says(500, "no such column: punch")),
        upload("upload: a web page", says(200, "<html><title>Log in</title>")),
        upload("upload: an empty body", says(200, "")),
        upload("upload: JSON", says(200, "{\"code\": 0}")),
        upload("upload: another text", says(200, "FAIL")),
        upload("upload: `UNKNOWN DEVICE`", says(200, "UNKNOWN DEVICE")),
        upload("upload: a redirect", head(301, "Location: https://127.0.0.1/iclock/cdata\r\n", "")),
        upload("upload: closed", RawAnswer::Closes),
        upload("upload: reset", RawAnswer::Resets),
        Fault::new("upload: nothing is answered", |_| {
            let hangs =
                |request: &RawRequest| request.is_upload("ATTLOG").then_some(RawAnswer::Hangs);
            serving(hangs).with(SHORT).with_punch()
        }),
    ]
}

fn polls() -> Vec<Fault> {
    vec![
        poll("poll: 404", says(404, "")),
        poll("poll: 500", says(500, "out of memory")),
        poll("poll: closed", RawAnswer::Closes),
        poll("poll: a command without `C:ID:`", says(200, "REBOOT")),
    ]
}
