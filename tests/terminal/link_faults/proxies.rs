//! Faults of a proxy: by CONNECT for `https://`, by the whole URL for `http://`.

use super::Fault;
use super::peers::{
    Link, SHORT, nothing_listens, peer, read_head, saying, saying_and_waiting, saying_at_once,
    wait_for_end,
};

/// The servers behind the proxies: none of them is ever reached.
const HTTPS: &str = "https://server.example";
const HTTP: &str = "http://server.example";

fn by(url: &str, proxy: impl AsRef<str>) -> Link {
    Link::to(url).by_proxy("", proxy.as_ref())
}

pub fn faults() -> Vec<Fault> {
    let refusal = |head: &'static [u8]| move || by(HTTPS, saying(head));
    let forbidden = refusal(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
    let bad_gateway = refusal(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n");
    let wants = b"HTTP/1.1 407 X\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n";
    vec![
        Fault::new("nothing listens at the proxy's port", |_| {
            let (address, reserved) = nothing_listens();
            by(HTTP, address).keep(reserved)
        }),
        Fault::new("the proxy's name is not known", |_| by(HTTP, "proxy.invalid:3128")),
        Fault::new("the proxy does not answer (`http://`)", |_| {
            Link::to(HTTP).with(SHORT).by_proxy("", &peer(wait_for_end))
        }),
        Fault::new("the proxy does not answer (`https://`)", |_| {
            Link::to(HTTPS).with(SHORT).by_proxy("", &peer(wait_for_end))
        }),
        Fault::new("the proxy closes the connection (`http://`)", |_| {
            by(HTTP, peer(|stream| read_head(&stream)))
        }),
        Fault::new("the proxy closes the connection (`https://`)", |_| {
            by(HTTPS, peer(|stream| read_head(&stream)))
        }),
        Fault::new("the proxy is no HTTP (`http://`)", |_| {
            by(HTTP, saying_at_once(b"SSH-2.0-OpenSSH_9.2\r\n"))
        }),
        Fault::new("the proxy is no HTTP (`https://`)", |_| {
            by(HTTPS, saying_at_once(b"SSH-2.0-OpenSSH_9.2\r\n"))
        }),
        Fault::new("the proxy answers with a page (`http://`)", |_| {
            by(
                HTTP,
                saying(
                    b"HTTP/1.1 200 OK\r\nContent-Length: 38\r\n\r\n<html><title>Policy \
                          notice</title></p>",
                ),
            )
        }),
        Fault::new("the proxy answers with a page (`https://`)", |_| {
            by(HTTPS, saying_and_waiting(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>"))
        }),
        Fault::new("the proxy wants a password (`http://`)", move |_| by(HTTP, saying(wants))),
        Fault::new("the proxy wants a password (`https://`)", move |_| by(HTTPS, saying(wants))),
        Fault::new("the proxy wants another password (`http://`)", move |_| {
            Link::to(HTTP).by_proxy("me:wrong@", &saying(wants))
        }),
        Fault::new("the proxy wants another password (`https://`)", move |_| {
            Link::to(HTTPS).by_proxy("me:wrong@", &saying(wants))
        }),
        Fault::new("the proxy forbids the address", move |_| forbidden()),
        Fault::new("the proxy does not reach the server", move |_| bad_gateway()),
        Fault::new("the proxy connects, and then nothing comes", |_| {
            let connects = saying_and_waiting(b"HTTP/1.1 200 Connection established\r\n\r\n");
            Link::to(HTTPS).with(SHORT).by_proxy("", &connects)
        }),
    ]
}
