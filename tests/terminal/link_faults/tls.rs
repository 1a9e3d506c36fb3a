//! Faults of TLS and of certificates, against `openssl s_server`.

use std::time::{Duration, SystemTime};

use iclock_emulator::private_ca_valid;

use super::Fault;
use super::peers::{Certificates, Link, saying_at_once};

const A_DAY: Duration = Duration::from_secs(86_400);

/// Nothing in common, or a refusal of the server.
pub fn handshakes() -> Vec<Fault> {
    versions().into_iter().chain(client_certificates()).collect()
}

/// A certificate that is refused, or files that cannot be used.
pub fn certificates() -> Vec<Fault> {
    certificates_of_servers().into_iter().chain(files()).collect()
}

fn versions() -> Vec<Fault> {
    let alert = |bytes: &'static [u8]| Link::to(format!("https://{}", saying_at_once(bytes)));
    vec![
        Fault::new("TLS 1.1 only", |it| it.served("rsa", "-tls1_1 -cipher ALL:@SECLEVEL=0", "rsa")),
        Fault::new("no cipher in common", |it| {
            it.served("rsa", "-tls1_2 -cipher ECDHE-RSA-CAMELLIA128-SHA256", "rsa")
        }),
        Fault::new("RSA key exchange only", |it| {
            it.served("rsa", "-tls1_2 -cipher AES128-GCM-SHA256", "rsa")
        }),
        Fault::new("a host name that the server does not know", move |_| {
            alert(b"\x15\x03\x03\x00\x02\x02\x70")
        }),
        Fault::new("an error within the server", move |_| alert(b"\x15\x03\x03\x00\x02\x02\x50")),
    ]
}

/// Servers that want a certificate of the terminal.
fn client_certificates() -> Vec<Fault> {
    const WANTS: &str = "-Verify 1 -verify_return_error -CAfile clients.pem";
    let with_stranger = |it: &Certificates, options: &str| {
        let link = it.served("own", options, "own");
        let (cert, key) = (it.file("stranger.pem"), it.file("stranger.key"));
        let more = format!("{}cert = {cert}\nkey = {key}\n", link.more);
        link.with(more)
    };
    vec![
        Fault::new("a client certificate is wanted", |it| it.served("own", WANTS, "own")),
        Fault::new("a client certificate is wanted, TLS 1.2", |it| {
            it.served("own", &format!("-tls1_2 {WANTS}"), "own")
        }),
        Fault::new("a client certificate of an unknown authority", move |it| {
            with_stranger(it, WANTS)
        }),
        Fault::new("a client certificate of an unknown authority, TLS 1.2", move |it| {
            with_stranger(it, &format!("-tls1_2 {WANTS}"))
        }),
    ]
}

fn certificates_of_servers() -> Vec<Fault> {
    vec![
        Fault::new("self-signed", |it| it.served("own", "", "authority")),
        Fault::new("self-signed, in `ca`, for another name", |it| it.served("named", "", "named")),
        Fault::new("another name", |it| it.served("misnamed", "", "authority")),
        Fault::new("a name only in CN", |it| it.served("nameless", "", "authority")),
        Fault::new("another key than that of `pin`", |it| {
            let link = it.served("own", "", "own");
            link.with(format!("[tls]\npin = \"{}\"\n", it.0.pin("other")))
        }),
        Fault::new("a chain without its intermediate", |it| it.served("leaf", "", "root")),
        Fault::new("an authority that is not trusted", |it| {
            it.served("good", "-cert_chain authority.pem", "root")
        }),
        Fault::new("an authority that was made anew", |it| it.served("good", "", "anew")),
        Fault::new("not for servers", |it| it.served("client", "", "authority")),
        Fault::new("that of an authority", |it| it.served("sub", "", "authority")),
        Fault::new("X.509 version 1", |it| it.served("old", "", "old")),
        Fault::new("a short RSA key", |it| it.served("short", "-cipher ALL:@SECLEVEL=0", "short")),
        Fault::new("expired, or the clock is ahead", |it| {
            let now = SystemTime::now();
            dated(it, "expired", now - 10 * A_DAY, now - A_DAY)
        }),
        Fault::new("not yet valid, or the clock is behind", |it| {
            let now = SystemTime::now();
            dated(it, "early", now + 9 * A_DAY, now + 20 * A_DAY)
        }),
    ]
}

/// A server with a certificate that is valid from and until then.
fn dated(it: &Certificates, name: &str, from: SystemTime, until: SystemTime) -> Link {
    let made = private_ca_valid(from, until).unwrap();
    let write = |end: &str, text| std::fs::write(it.0.path(&format!("{name}{end}")), text).unwrap();
    write(".pem", made.certificate);
    write(".key", made.key);
    write("-ca.pem", made.ca);
    it.served(name, "", &format!("{name}-ca"))
}

/// Files of `[tls]` that cannot be used.
fn files() -> Vec<Fault> {
    vec![
        Fault::new("the file of `ca` is missing", |it| it.served("own", "", "missing")),
        Fault::new("the file of `ca` is empty", |it| it.served("own", "", "empty")),
        Fault::new("the file of `ca` is no PEM", |it| {
            let link = it.served("own", "", "own");
            link.with(format!("[tls]\nca = {}\n", it.file("own.key")))
        }),
        Fault::new("the file of `key` is missing", |it| {
            let link = it.served("own", "", "own");
            let more =
                format!("{}cert = {}\nkey = \"/no/key.pem\"\n", link.more, it.file("own.pem"));
            link.with(more)
        }),
    ]
}
