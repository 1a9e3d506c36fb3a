//! The link to the server, one step after the other: the name, each address, the proxy, TLS, one
//! handshake.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs as _};
use std::time::{Duration, Instant};

use super::finding::{Finding, Level, Report};
use super::handshake;
use crate::clock::ClockOffset;
use crate::config::Config;
use crate::protocol::PUSH_VERSION;
use crate::protocol::ack::{self, Ack};
use crate::uplink::{
    Cause, Failure, MOST_ADDRESSES, Request, Response, Server, Settings, Uplink as _,
};

/// Most bytes of the reply to the handshake that are looked at.
const MOST_BYTES: usize = 256 << 10;

/// Checks the link; whether it is without a fault. What cannot be checked after a fault is left out.
pub(super) fn check(config: &Config, report: Report<'_>) -> bool {
    let mut is_well = true;
    steps(config, &mut |finding: Finding| {
        is_well &= finding.level != Level::Fault;
        report(finding);
    });
    is_well
}

fn steps(config: &Config, report: Report<'_>) {
    let settings = config.uplink_settings(ClockOffset::default());
    if !is_reached(config, &settings, report) {
        return;
    }
    let options = config.client_settings();
    let target = options.dialect.handshake(
        &options.profile.serial,
        options.language,
        PUSH_VERSION,
        &options.comm_key,
    );
    let mut server = Server::new(&settings);
    let answer = server.exchange(&Request::get(target.as_str()));
    let mut response = match answer {
        Ok(response) => response,
        Err(failure) => return report(failed(&settings, &failure)),
    };
    if response.status == 407 {
        return report(refused("proxy", &mut response));
    }
    if let Some(proxy) = &settings.proxy {
        let message = format!("{}:{} passes the request on", proxy.host, proxy.port);
        report(Finding::ok("proxy", message));
    }
    report(tls(&settings, server.certificate()));
    match response.status {
        300..=399 => report(refused("redirect", &mut response)),
        status if !ack::is_success(status) => report(refused("handshake", &mut response)),
        _ => match response.read_up_to(MOST_BYTES) {
            Ok(body) => handshake::check(config, &response, &body, report),
            Err(failure) => report(Finding::fault("handshake", failure.to_string())),
        },
    }
}

/// Whether one address of the server, or of the proxy, takes a connection.
fn is_reached(config: &Config, settings: &Settings, report: Report<'_>) -> bool {
    let (host, port) = match &settings.proxy {
        Some(proxy) => (proxy.host.clone(), proxy.port),
        None => config.server.host_and_port(),
    };
    let addresses = match look_up(&host, port) {
        Ok(addresses) => addresses,
        Err(error) => {
            let message = format!("{host} cannot be resolved ({error})");
            report(Finding::fault("name", message).remedy(
                "is it spelled correctly, and does the terminal reach its DNS server \
                 (/etc/resolv.conf)?",
            ));
            return false;
        }
    };
    if host.parse::<IpAddr>().is_ok() {
        report(Finding::ok("name", format!("{host} is an address: nothing to look up")));
    } else {
        let listed: Vec<_> = addresses.iter().map(|address| address.ip().to_string()).collect();
        report(Finding::ok("name", format!("{host} is {}", listed.join(", "))));
    }
    let tried: Vec<_> =
        addresses.iter().map(|address| (address, connect(address, settings.connect))).collect();
    let is_reached = tried.iter().any(|(_, took)| took.is_ok());
    // Another address makes up for one that is not reached.
    let level = if is_reached { Level::Warning } else { Level::Fault };
    for (address, took) in tried {
        report(match took {
            Ok(took) => Finding::ok(
                "tcp",
                format!("{address} took the connection in {} ms", took.as_millis()),
            ),
            Err(error) => {
                let (message, remedy) = not_reached(address, &error);
                Finding { level, ..Finding::ok("tcp", message).remedy(remedy) }
            }
        });
    }
    is_reached
}

fn look_up(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let addresses: Vec<_> = (host, port).to_socket_addrs()?.take(MOST_ADDRESSES).collect();
    match addresses.is_empty() {
        true => Err(io::Error::other("it has no address")),
        false => Ok(addresses),
    }
}

/// How long a connection took.
fn connect(address: &SocketAddr, timeout: Duration) -> io::Result<Duration> {
    let started = Instant::now();
    TcpStream::connect_timeout(address, timeout).map(|_| started.elapsed())
}

fn not_reached(address: &SocketAddr, error: &io::Error) -> (String, &'static str) {
    let (what, remedy) = match error.kind() {
        ErrorKind::ConnectionRefused => (
            "refused the connection: nothing listens there".into(),
            "is it running, and is the port correct?",
        ),
        ErrorKind::ConnectionReset => (
            "took the connection and reset it".into(),
            "is the port correct, and does a firewall on the way let the terminal pass?",
        ),
        ErrorKind::TimedOut => {
            ("did not answer in time".into(), "is it switched on, and does no firewall block it?")
        }
        ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable => (
            "is not reached: there is no route to it".into(),
            "is the cable plugged in, and are address and gateway of the terminal correct?",
        ),
        _ => (format!("failed: {error}"), "see the network of the terminal"),
    };
    (format!("{address} {what}"), remedy)
}

/// What an exchange without an answer means. Its message says what to change.
fn failed(settings: &Settings, failure: &Failure) -> Finding {
    let check = match failure {
        Failure::Unsent(Cause::Proxy, _) => "proxy",
        _ if settings.proxy.is_some() && settings.url.starts_with("http:") => "proxy",
        Failure::Unsent(..) if settings.url.starts_with("https:") => "tls",
        _ => "handshake",
    };
    Finding::fault(check, failure.to_string())
}

/// An answer that is no success. Its message says what to change.
fn refused(check: &'static str, response: &mut Response) -> Finding {
    let body = response.read_up_to(ack::ANSWER_BYTES).unwrap_or_default();
    let message = match ack::not_taken(&response.answer(&body)) {
        Ack::Taken(_) => String::new(), // an answer that is not taken is never this
        not_taken => not_taken.message(),
    };
    Finding::fault(check, message)
}

fn tls(settings: &Settings, certificate: Option<String>) -> Finding {
    if !settings.url.starts_with("https:") {
        return Finding::ok("tls", "not used: server is http://, everybody on the way can read it");
    }
    let trust = match &settings.tls.ca {
        Some(file) => format!("{} ([tls] ca)", file.display()),
        #[cfg(feature = "tls")]
        None if !settings.tls.pins.is_empty() => "[tls] pin".into(),
        None => "the system's certificates".into(),
    };
    let says = certificate.map_or(String::new(), |says| format!(": {says}"));
    Finding::ok("tls", format!("the server's certificate is trusted by {trust}{says}"))
}
