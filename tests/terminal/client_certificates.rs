//! `[tls] cert` and `key`: servers that want a certificate of the terminal.

use std::os::unix::fs::PermissionsExt;

use iclock_emulator::{Emulator, Settings, Tls};

use crate::harness::{Openssl, TIMEOUT, Terminal, second, server_with};

/// A server that wants a certificate of the authority `clients`; its own stands in `server.pem`.
fn wanting_server(openssl: &Openssl) -> Emulator {
    openssl.self_signed("clients", "-subj /CN=clients");
    openssl.self_signed(
        "server",
        "-subj /CN=server -addext subjectAltName=DNS:localhost,IP:127.0.0.1",
    );
    openssl.issued("terminal", "clients", "extendedKeyUsage=clientAuth");
    server_with_files(openssl)
}

/// Another server with the same files.
fn server_with_files(openssl: &Openssl) -> Emulator {
    let (certificates, key) = (openssl.read("server.pem"), openssl.read("server.key"));
    let tls = Some(Tls { certificates, key, clients: Some(openssl.read("clients.pem")) });
    server_with(Settings { tls, ..Settings::default() })
}

/// Lines of `[tls]` with these files.
fn tls(openssl: &Openssl, cert: &str, key: &str) -> String {
    let path = |file: &str| openssl.path(file).display().to_string();
    let (ca, cert, key) = (path("server.pem"), path(cert), path(key));
    format!("[tls]\nca = \"{ca}\"\ncert = \"{cert}\"\nkey = \"{key}\"")
}

#[test]
fn a_server_that_wants_a_certificate_gets_it_with_keys_of_every_form() {
    let openssl = Openssl::new();
    drop(wanting_server(&openssl));
    openssl.run("ec -in terminal.key -out sec1.key");
    openssl.run("genrsa -traditional -out pkcs1.key 2048");
    openssl.run(
        "req -x509 -CA clients.pem -CAkey clients.key -key pkcs1.key -days 30 \
                 -subj /CN=rsa -addext basicConstraints=CA:FALSE -out rsa.pem",
    );
    // openssl puts the parameters of the curve before such a key.
    let parameters = openssl.run("ecparam -name prime256v1");
    let key = [&parameters[..], openssl.read("sec1.key").as_bytes()].concat();
    std::fs::write(openssl.path("parameters.key"), key).unwrap();
    for (cert, key, form) in [
        ("terminal.pem", "terminal.key", "BEGIN PRIVATE KEY"),
        ("terminal.pem", "sec1.key", "BEGIN EC PRIVATE KEY"),
        ("terminal.pem", "parameters.key", "BEGIN EC PARAMETERS"),
        ("rsa.pem", "pkcs1.key", "BEGIN RSA PRIVATE KEY"),
    ] {
        assert!(openssl.read(key).contains(form), "{key}");
        let server = server_with_files(&openssl);
        let mut terminal = Terminal::prepare(&server.url(), &tls(&openssl, cert, key));
        terminal.run();
        terminal.driver().punch("1001", &second(1));
        let came = server.wait_until(TIMEOUT, |received| received.attlog().len() == 1);
        assert!(came, "{key}: {}", terminal.log());
        server.assert_strict();
    }
}

#[test]
fn a_server_that_does_not_accept_the_terminal_is_told_what_to_set() {
    let openssl = Openssl::new();
    let server = wanting_server(&openssl);
    openssl.self_signed("others", "-subj /CN=others");
    openssl.issued("stranger", "others", "extendedKeyUsage=clientAuth");
    let ca_only = tls(&openssl, "", "").lines().take(2).collect::<Vec<_>>().join("\n");
    let stranger = tls(&openssl, "stranger.pem", "stranger.key");
    let strict = openssl.serve("server", "-Verify 1 -verify_return_error -CAfile clients.pem");
    let strict_1_2 =
        openssl.serve("server", "-tls1_2 -Verify 1 -verify_return_error -CAfile clients.pem");
    let wants = "it refused TLS (certificate_required): it wants a certificate of the terminal \
                 (client certificate): set `cert` and `key` in [tls]";
    let unknown = "it refused TLS (unknown_ca): it does not trust the authority of the terminal's \
                   certificate (`cert` in [tls])";
    for (url, tls, message) in [
        (&*server.url(), &ca_only, wants),
        (strict.url(), &ca_only, wants),
        (strict_1_2.url(), &ca_only, "or wants a certificate of the terminal"),
        (&*server.url(), &stranger, unknown),
        (strict.url(), &stranger, unknown),
        (strict_1_2.url(), &stranger, unknown),
    ] {
        let mut terminal = Terminal::prepare(url, tls);
        terminal.run();
        terminal.wait_for(message, |status| {
            status["trouble"].as_str().is_some_and(|trouble| trouble.contains(message))
        });
    }
    assert!(server.requests().is_empty());
}

#[test]
fn files_that_cannot_be_used_are_named_by_check_and_in_the_log() {
    let openssl = Openssl::new();
    let server = wanting_server(&openssl);
    openssl.run("pkey -in terminal.key -aes128 -passout pass:made -out encrypted.key");
    openssl.run("ec -in terminal.key -aes128 -passout pass:made -out old.key");
    openssl.run("pkey -in terminal.key -outform der -out der.key");
    openssl.run("ecparam -name secp521r1 -genkey -noout -out p521.key");
    let path = |file: &str| openssl.path(file).display().to_string();
    for (cert, key, message) in [
        ("none.pem", "terminal.key", format!("[tls] cert: cannot read {}", path("none.pem"))),
        ("terminal.key", "terminal.key", format!("cert: {} holds no cert", path("terminal.key"))),
        ("terminal.pem", "none.key", format!("[tls] key: cannot read {}", path("none.key"))),
        ("terminal.pem", "terminal.pem", format!("key: {} holds no priv", path("terminal.pem"))),
        ("terminal.pem", "der.key", format!("key: {} holds no private", path("der.key"))),
        ("terminal.pem", "encrypted.key", format!("{} is encrypted", path("encrypted.key"))),
        ("terminal.pem", "old.key", format!("{} is encrypted", path("old.key"))),
        (
            "terminal.pem",
            "server.key",
            format!(
                "[tls] key: {} is not the private key of the first certificate in {}",
                path("server.key"),
                path("terminal.pem")
            ),
        ),
        ("terminal.pem", "p521.key", format!("[tls] key: {} cannot be used", path("p521.key"))),
    ] {
        let terminal = Terminal::prepare(&server.url(), &tls(&openssl, cert, key));
        let check = terminal.punchd(&["check"]);
        let said = String::from_utf8_lossy(&check.stderr).into_owned();
        assert_eq!(check.status.code(), Some(78), "{said}");
        assert!(said.contains(&message), "{message}: {said}");
    }
    // A terminal that runs says the same, and goes on when the file is there.
    let mut terminal = Terminal::prepare(&server.url(), &tls(&openssl, "late.pem", "terminal.key"));
    terminal.run();
    terminal.driver().punch("1001", &second(1));
    let status = terminal.wait_for("in trouble", |status| !status["trouble"].is_null());
    assert!(status["trouble"].as_str().unwrap().contains("late.pem"), "{status:#}");
    assert!(terminal.log().contains("late.pem"), "{}", terminal.log());
    std::fs::copy(openssl.path("terminal.pem"), openssl.path("late.pem")).unwrap();
    assert!(server.wait_until(TIMEOUT, |received| received.attlog().len() == 1));
}

#[test]
fn a_key_that_everybody_may_read_is_warned_of() {
    let openssl = Openssl::new();
    let server = wanting_server(&openssl);
    let key = openssl.path("terminal.key");
    let terminal = Terminal::prepare(&server.url(), &tls(&openssl, "terminal.pem", "terminal.key"));
    for (mode, is_warned) in [(0o600, false), (0o640, false), (0o644, true)] {
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(mode)).unwrap();
        let check = terminal.punchd(&["check"]);
        let said = String::from_utf8_lossy(&check.stderr).into_owned();
        assert!(check.status.success(), "{said}");
        let warning = format!("every user of this machine may read {}", key.display());
        assert_eq!(said.contains(&warning), is_warned, "{mode:o}: {said}");
    }
}
