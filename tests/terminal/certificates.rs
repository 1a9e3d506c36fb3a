//! Which servers are trusted by `[tls] ca` and `pin`, and what is said of those that are not.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::{Duration, SystemTime};

use iclock_emulator::{Emulator, PrivateCa, Settings, Tls, private_ca, private_ca_valid};

use crate::harness::{NEW_EC, Openssl, TIMEOUT, Terminal, second, server_with};

const BY_ADDRESS: &str = "-subj /CN=server -addext subjectAltName=IP:127.0.0.1";

/// A server with a certificate that `openssl` made.
fn server(openssl: &Openssl, name: &str) -> Emulator {
    let pem = |end: &str| openssl.read(&format!("{name}.{end}"));
    server_of(pem("pem"), pem("key"))
}

fn server_of(certificates: String, key: String) -> Emulator {
    let tls = Some(Tls { certificates, key, clients: None });
    server_with(Settings { tls, ..Settings::default() })
}

/// Its URL with the address in place of `localhost`.
fn by_address(server: &Emulator) -> String {
    server.url().replace("localhost", "127.0.0.1")
}

/// A terminal with these lines in `[tls]`.
fn terminal(url: &str, tls: &str) -> Terminal {
    let mut terminal = Terminal::prepare(url, &format!("[tls]\n{tls}"));
    terminal.run();
    terminal
}

fn ca(openssl: &Openssl, name: &str) -> String {
    format!("ca = \"{}\"", openssl.path(&format!("{name}.pem")).display())
}

/// Whether a punch comes to the server.
#[track_caller]
fn assert_trusted(server: &Emulator, url: &str, tls: &str) {
    let terminal = terminal(url, tls);
    terminal.driver().punch("1001", &second(1));
    let came = server.wait_until(TIMEOUT, |received| received.attlog().len() == 1);
    assert!(came, "{tls}: {}", terminal.log());
    server.assert_strict();
}

/// Waits until the reason why there is no connection is this. Nothing reached the server.
#[track_caller]
fn assert_said(url: &str, tls: &str, message: &str) {
    let terminal = terminal(url, tls);
    let trouble = |status: &serde_json::Value| {
        status["trouble"].as_str().is_some_and(|trouble| trouble.contains(message))
    };
    terminal.wait_for(&format!("in trouble: {message}"), trouble);
}

#[test]
fn a_certificate_that_stands_in_ca_itself_is_trusted() {
    let openssl = Openssl::new();
    for (more, host) in [
        ("-newkey rsa:2048 -subj /CN=server", "127.0.0.1"),
        ("-subj /CN=server", "127.0.0.1"),
        ("-subj /CN=server", "localhost"),
        (BY_ADDRESS, "127.0.0.1"),
        ("-subj /O=Made -addext subjectAltName=DNS:localhost", "localhost"),
        ("-subj /O=Made -addext subjectAltName=DNS:localhost,IP:127.0.0.1", "127.0.0.1"),
        ("-subj /CN=server -addext basicConstraints=critical,CA:FALSE", "127.0.0.1"),
    ] {
        openssl.self_signed("server", more);
        let server = server(&openssl, "server");
        let url = server.url().replace("localhost", host);
        assert_trusted(&server, &url, &ca(&openssl, "server"));
    }
}

#[test]
fn a_certificate_of_an_authority_that_nobody_knows_is_trusted_if_it_stands_in_ca_itself() {
    let openssl = Openssl::new();
    openssl.self_signed("authority", "-subj /CN=authority");
    openssl.issued("server", "authority", "subjectAltName=IP:127.0.0.1");
    let server = server(&openssl, "server");
    assert_trusted(&server, &by_address(&server), &ca(&openssl, "server"));
}

#[test]
fn a_chain_with_its_intermediate_is_trusted_and_without_it_what_is_missing_is_named() {
    let openssl = Openssl::new();
    openssl.self_signed("root", "-subj /CN=root");
    openssl.issued("intermediate", "root", "basicConstraints=critical,CA:TRUE");
    openssl.issued("server", "intermediate", "subjectAltName=IP:127.0.0.1");
    let ca = ca(&openssl, "root");
    let (alone, key) = (openssl.read("server.pem"), openssl.read("server.key"));
    let whole = format!("{alone}{}", openssl.read("intermediate.pem"));
    let server = server_of(whole, key.clone());
    assert_trusted(&server, &by_address(&server), &ca);
    let server = server_of(alone, key);
    let message = "its certificate is issued by \"intermediate\", which is no authority that this \
                   terminal trusts, and the server sends no certificate of \"intermediate\": let \
                   the server send its whole chain";
    assert_said(&by_address(&server), &ca, message);
    assert!(server.requests().is_empty());
}

#[test]
fn a_pinned_key_is_trusted_whatever_its_certificate_says() {
    let openssl = Openssl::new();
    openssl.self_signed("server", "-subj /CN=other -addext subjectAltName=DNS:other.example");
    let (server, pin) = (server(&openssl, "server"), openssl.pin("server"));
    assert_trusted(&server, &by_address(&server), &format!("pin = \"{pin}\""));

    openssl.self_signed("next", "-subj /CN=next");
    let list = format!("pin = [\"{}\", \"{}\"]", openssl.pin("next"), pin);
    let server = self::server(&openssl, "server");
    assert_trusted(&server, &by_address(&server), &list);

    let expired = expired();
    std::fs::write(openssl.path("expired.pem"), &expired.certificate).unwrap();
    let pin = openssl.pin("expired");
    let server = server_of(expired.certificate, expired.key);
    assert_trusted(&server, &by_address(&server), &format!("pin = \"{pin}\""));
}

#[test]
fn another_key_than_the_pinned_one_gets_nothing() {
    let openssl = Openssl::new();
    openssl.self_signed("server", BY_ADDRESS);
    openssl.self_signed("other", BY_ADDRESS);
    let server = server(&openssl, "server");
    let (pin, other) = (openssl.pin("server"), openssl.pin("other"));
    let message = format!(
        "its key is not the one in `pin` of [tls]: it has pin = \"{pin}\". If the server has a new \
         key, set that; otherwise another machine answers in its place"
    );
    assert_said(&by_address(&server), &format!("pin = \"{other}\""), &message);
    // Both, if both are set.
    let trusted = ca(&openssl, "server");
    assert_said(&by_address(&server), &format!("{trusted}\npin = \"{other}\""), &message);
    let message = "its certificate is self-signed and not in `ca`";
    let unknown = ca(&openssl, "other");
    assert_said(&by_address(&server), &format!("{unknown}\npin = \"{pin}\""), message);
    assert!(server.requests().is_empty());
    assert_trusted(&server, &by_address(&server), &format!("{trusted}\npin = \"{pin}\""));
}

/// A certificate that was over a day ago.
fn expired() -> PrivateCa {
    let now = SystemTime::now();
    private_ca_valid(now - 10 * A_DAY, now - A_DAY).unwrap()
}

const A_DAY: Duration = Duration::from_secs(86_400);

#[test]
fn what_is_wrong_with_a_certificate_is_said() {
    let openssl = Openssl::new();
    openssl.self_signed("authority", "-subj /O=Made/CN=Authority");
    openssl.self_signed("own", BY_ADDRESS);
    let names = (1..=9).map(|nth| format!("DNS:h{nth}.example")).collect::<Vec<_>>().join(",");
    openssl.self_signed("names", &format!("-subj /CN=server -addext subjectAltName={names}"));
    for (name, extensions) in [
        ("server", "basicConstraints=CA:FALSE"),
        ("other", "subjectAltName=DNS:other.example,IP:10.0.0.1"),
        ("client", "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=clientAuth"),
        ("ca", "subjectAltName=IP:127.0.0.1\nbasicConstraints=critical,CA:TRUE"),
    ] {
        openssl.issued(name, "authority", extensions);
    }
    let authority = ca(&openssl, "authority");
    for (name, tls, message) in [
        (
            "own",
            &authority,
            format!(
                "its certificate is self-signed and not in `ca` of [tls]: copy the certificate from \
                 the server into a file and set `ca` to it, or set pin = \"{}\" if that is the pin \
                 of the server's key",
                openssl.pin("own")
            ),
        ),
        (
            "server",
            &authority,
            "its certificate has no subjectAltName, and its common name (CN), \"server\", does not \
             count: give the server a certificate with 127.0.0.1 as subjectAltName, or put this one \
             itself into the file of `ca` in [tls]"
                .into(),
        ),
        (
            "other",
            &authority,
            "its certificate is for other.example, 10.0.0.1, not for 127.0.0.1: set `server` to a \
             name in the certificate, or give the server one with 127.0.0.1 in its subjectAltName"
                .into(),
        ),
        (
            "names",
            &ca(&openssl, "names"),
            "for h1.example, h2.example, h3.example, h4.example, …, not for 127.0.0.1".into(),
        ),
        ("client", &authority, "its certificate is not for servers".into()),
        ("ca", &authority, "its certificate is that of an authority (CA:TRUE)".into()),
    ] {
        let server = server(&openssl, name);
        assert_said(&by_address(&server), tls, &message);
        assert!(server.requests().is_empty());
    }
}

#[test]
fn an_authority_that_is_not_trusted_is_named() {
    let openssl = Openssl::new();
    for name in ["ours", "theirs"] {
        openssl.self_signed(name, &format!("-subj /CN={name}"));
    }
    openssl.issued("server", "theirs", "subjectAltName=IP:127.0.0.1");
    let chain = format!("{}{}", openssl.read("server.pem"), openssl.read("theirs.pem"));
    let server = server_of(chain, openssl.read("server.key"));
    let message = "its certificate is from the authority \"theirs\", which this terminal does not \
                   trust: put the certificate of that authority into the file of `ca` in [tls]";
    assert_said(&by_address(&server), &ca(&openssl, "ours"), message);
    // An authority that was made anew: the same name, another key.
    openssl.self_signed("anew", "-subj /CN=theirs");
    let message = "its certificate names the authority \"theirs\", but is not signed by the key";
    assert_said(&by_address(&server), &ca(&openssl, "anew"), message);
    assert!(server.requests().is_empty());
}

#[test]
fn dates_are_said_with_the_time_of_the_terminal() {
    let now = SystemTime::now();
    let later = private_ca_valid(now + 9 * A_DAY, now + 20 * A_DAY).unwrap();
    for (made, messages) in [
        (expired(), ["its certificate expired on 20", "or correct the clock if it is wrong"]),
        (later, ["its certificate is not valid yet: it begins on 20", "Correct the clock"]),
    ] {
        let openssl = Openssl::new();
        std::fs::write(openssl.path("ca.pem"), &made.ca).unwrap();
        let server = server_of(made.certificate, made.key);
        for message in messages {
            assert_said(&by_address(&server), &ca(&openssl, "ca"), message);
        }
        assert_said(
            &by_address(&server),
            &ca(&openssl, "ca"),
            "UTC, and the terminal's clock shows 20",
        );
        assert!(server.requests().is_empty());
    }
}

#[test]
fn a_server_that_speaks_no_tls_of_today_is_told_what_to_change() {
    let openssl = Openssl::new();
    openssl.self_signed("rsa", &format!("-newkey rsa:2048 {BY_ADDRESS}"));
    openssl.self_signed("short", &format!("-newkey rsa:1024 {BY_ADDRESS}"));
    // Signed by itself as people did it before: without extensions it is of version 1.
    openssl.run(&format!("req -new {NEW_EC} -keyout old.key -out old.csr -subj /CN=server"));
    openssl.run("x509 -req -in old.csr -signkey old.key -days 30 -out old.pem");
    for (name, options, message) in [
        (
            "rsa",
            "-tls1_1 -cipher ALL:@SECLEVEL=0",
            "it refused TLS (protocol_version): it speaks only old versions of TLS",
        ),
        (
            "rsa",
            "-tls1_2 -cipher AES128-GCM-SHA256",
            "it refused TLS (handshake_failure): it has no cipher suite in common",
        ),
        ("old", "", "its certificate is of X.509 version 1"),
        ("short", "-cipher ALL:@SECLEVEL=0", "an RSA key of less than 2048 bits"),
    ] {
        let server = openssl.serve(name, options);
        assert_said(server.url(), &ca(&openssl, name), message);
    }
}

#[test]
fn what_is_no_tls_at_all_is_said() {
    let openssl = Openssl::new();
    openssl.self_signed("own", BY_ADDRESS);
    let ca = ca(&openssl, "own");
    let no_tls = "it does not speak TLS: is `server` to begin with http://, or is it another port?";
    for (answer, message) in [
        (&b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"[..], no_tls),
        (b"220 mail.example ESMTP\r\n", no_tls),
        (b"SSH-2.0-OpenSSH_9.2\r\n", no_tls),
        (b"\x15\x03\x03\x00\x02\x02\x70", "it refused TLS (unrecognized_name): it does not know"),
        (b"\x15\x03\x01\x00\x02\x02\x46", "it refused TLS (protocol_version)"),
        (b"\x15\x03\x03\x00\x02\x02\x47", "it refused TLS (insufficient_security)"),
        (b"\x15\x03\x03\x00\x02\x02\x50", "it refused TLS (internal_error): look into"),
        (b"\x15\x03\x03\x00\x02\x02\xf1", "it refused TLS (alert 241): look into"),
    ] {
        assert_said(&answering(answer), &ca, message);
    }
}

/// A server that answers whatever comes with these bytes.
fn answering(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(answer);
        }
    });
    url
}

#[test]
fn a_private_authority_is_trusted_beside_certificates_of_servers() {
    let (openssl, made) = (Openssl::new(), private_ca().unwrap());
    openssl.self_signed("own", BY_ADDRESS);
    let both = format!("{}{}", openssl.read("own.pem"), made.ca);
    std::fs::write(openssl.path("both.pem"), both).unwrap();
    let ca = ca(&openssl, "both");
    let of_authority = server_of(made.certificate, made.key);
    for server in [of_authority, server(&openssl, "own")] {
        assert_trusted(&server, &by_address(&server), &ca);
    }
}
