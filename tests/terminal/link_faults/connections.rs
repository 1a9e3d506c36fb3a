//! Faults of connections, and of HTTP on them.

use std::io::Write;

use super::Fault;
use super::peers::{
    Link, SHORT, nothing_listens, peer, read_head, reset, saying, saying_and_waiting,
    saying_at_once, wait_for_bytes, wait_for_end,
};

/// An answer that begins so; the options of a handshake are in it, as far as it goes.
const LENGTH: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nGET OPTION FROM: MADE0001\n";
const CLOSE: &[u8] = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nGET OPTION FROM: MADE0001\n";

fn http(address: impl AsRef<str>) -> Link {
    Link::to(format!("http://{}", address.as_ref()))
}

pub fn faults() -> Vec<Fault> {
    vec![
        Fault::new("nothing listens at the port", |_| {
            let (address, reserved) = nothing_listens();
            http(address).keep(reserved)
        }),
        Fault::new("no route", |_| Link { has_no_network: true, ..http("192.0.2.7:8081") }),
        Fault::new("the name is not known", |_| http("server.invalid:8081")),
        Fault::new("nothing is answered", |_| http(peer(wait_for_end)).with(SHORT)),
        Fault::new("closed after the request", |_| http(peer(|stream| read_head(&stream)))),
        Fault::new("reset after the request", |_| {
            http(peer(|stream| {
                read_head(&stream);
                reset(stream);
            }))
        }),
        Fault::new("another protocol", |_| http(saying_at_once(b"SSH-2.0-OpenSSH_9.2\r\n"))),
        Fault::new("bytes without sense", |_| http(saying_at_once(&[0x80, 0xff, 0, 7, 13, 10]))),
        Fault::new("half a head", |_| http(saying(b"HTTP/1.1 200 OK\r\nContent-Le"))),
        Fault::new("a head that never ends", |_| {
            http(peer(|mut stream| {
                read_head(&stream);
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n");
                while stream.write_all(b"X-Filler: abcdefghijklmnopqrstuvwxyz\r\n").is_ok() {}
            }))
        }),
        Fault::new("a head longer than 16 KiB", |_| {
            http(peer(|mut stream| {
                read_head(&stream);
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nX-Filler: ");
                while stream.write_all(&[b'x'; 1024]).is_ok() {}
            }))
        }),
        Fault::new("half a body", |_| http(saying(LENGTH))),
        Fault::new("half a body, and no more comes", |_| {
            http(saying_and_waiting(LENGTH)).with(SHORT)
        }),
        Fault::new("a body longer than its length", |_| {
            http(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK, and more"))
        }),
        Fault::new("chunks cut off", |_| {
            http(saying(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n20\r\nGET OPTION"))
        }),
        Fault::new("a body without a length, reset", |_| {
            http(peer(|mut stream| {
                read_head(&stream);
                let _ = stream.write_all(CLOSE);
                reset(stream);
            }))
        }),
        Fault::new("`http://` to a port of TLS", |certificates| {
            let server = certificates.0.serve("own", "");
            Link::to(server.url().replace("https:", "http:")).keep(server)
        }),
        Fault::new("`http://` to a port of TLS that answers with an alert", |_| {
            http(saying(b"\x15\x03\x01\x00\x02\x02\x46"))
        }),
        Fault::new("`http://` to a port of TLS that answers in HTTP", |_| {
            http(saying(
                b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n<html><title>400 The plain \
                  HTTP request was sent to HTTPS port</title>",
            ))
        }),
        Fault::new("`https://` to a port of HTTP", |_| {
            https(saying_at_once(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"))
        }),
        Fault::new("`https://` to a port that is silent", |_| {
            https(peer(wait_for_end)).with(SHORT)
        }),
        Fault::new("`https://`, closed in the handshake", |_| {
            https(peer(|stream| wait_for_bytes(&stream)))
        }),
        Fault::new("`https://`, reset in the handshake", |_| {
            https(peer(|stream| {
                wait_for_bytes(&stream);
                reset(stream);
            }))
        }),
        Fault::new("`https://` to another protocol", |_| {
            https(saying_at_once(b"220 mail.example ESMTP\r\n"))
        }),
    ]
}

fn https(address: impl AsRef<str>) -> Link {
    Link::to(format!("https://{}", address.as_ref()))
}
