//! What the reply to the handshake says, and what it lacks (§6).

use std::collections::BTreeSet;
use std::time::Duration;

use super::finding::{Finding, Report};
use crate::clock::{Authority, TOLERANCE, Zone, zone_name};
use crate::config::Config;
#[cfg(feature = "exchange")]
use crate::exchange::Mode;
use crate::protocol::PUSH_VERSION;
use crate::protocol::command::CommandLine;
use crate::protocol::foreign::plain;
use crate::protocol::handshake::{Handshake, NO_OPTIONS, read_handshake};
use crate::protocol::options::{Given, ServerOptions};
use crate::protocol::stream::Stream;
use crate::protocol::text::decode_for_log;
use crate::uplink::Response;

const CHECK: &str = "handshake";
/// Most characters of the first line that are shown.
const SHOWN: usize = 100;
/// An answer that takes longer does not set the clock.
const SLOW: Duration = Duration::from_secs(5);

/// Checks a reply with a status of 2xx.
pub(super) fn check(config: &Config, response: &Response, body: &[u8], report: Report<'_>) {
    let lines = body.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end);
    let (commands, others): (Vec<_>, Vec<_>) =
        lines.filter(|line| !line.is_empty()).partition(|line| CommandLine::begins(line));
    let others: Vec<String> =
        others.into_iter().map(|line| decode_for_log(line).into_owned()).collect();
    let answer = response.answer(b"");
    let read = read_handshake(&others, &ServerOptions::default(), answer);
    let first = others.first().map_or("", String::as_str);
    let first = plain(&answer.without_secrets(first), SHOWN);
    match read {
        Handshake::Refused(_) if others.is_empty() && !commands.is_empty() => {}
        Handshake::Refused(message) => return report(Finding::fault(CHECK, message)),
        Handshake::Bare => report(Finding::warning(CHECK, NO_OPTIONS)),
        Handshake::Options(options) => {
            report(Finding::ok(CHECK, format!("the server answers {first:?}")));
            for warning in &options.warnings {
                let warning = answer.without_secrets(warning);
                report(
                    Finding::warning(CHECK, warning).remedy("it has no effect: correct the server"),
                );
            }
            said(config, &options, &first, report);
        }
    }
    if !commands.is_empty() {
        let message = format!("{} commands came with the reply, and are not done", commands.len());
        report(Finding::warning(CHECK, message).remedy("the server has to send them again"));
    }
    report(date(config, response));
}

/// What the options ask for, and do not ask for.
fn said(config: &Config, options: &ServerOptions, first: &str, report: Report<'_>) {
    let serial = first.split_once(':').map_or("", |(_, serial)| serial.trim());
    if !serial.is_empty() && serial != config.serial {
        let message = format!("the reply is for the serial number {serial:?}");
        report(
            Finding::warning(CHECK, message).remedy(format!(
                "it is taken all the same; does the server know {}?",
                config.serial
            )),
        );
    }
    let version = options.push_version.min(PUSH_VERSION);
    report(Finding::ok(
        CHECK,
        format!(
            "protocol {version} (server {}), a poll every {} s, a try after a failure every {} s",
            options.push_version, options.delay, options.error_delay
        ),
    ));
    match (options.time_zone, &config.timezone) {
        (Given::Value(zone), Zone::Server) => {
            report(Finding::ok(CHECK, format!("the server names the zone {}", zone_name(zone))));
        }
        (_, Zone::Server) => report(
            Finding::warning(CHECK, "the server names no time zone that can be used (TimeZone)")
                .remedy("set TimeZone at the server, or timezone in punchd.toml"),
        ),
        _ => {}
    }
    let is_off = |stream: &Stream| {
        let kinds = stream.kinds();
        !kinds.is_empty() && !kinds.iter().any(|kind| options.trans_flag.allows(*kind))
    };
    let off: BTreeSet<_> = Stream::ALL.into_iter().filter(is_off).map(Stream::name).collect();
    let off: Vec<_> = off.into_iter().collect();
    report(match (off.is_empty(), off.contains(&Stream::Punches.name())) {
        (true, _) => Finding::ok(CHECK, "the server asks for everything (TransFlag)"),
        (_, false) => Finding::ok(
            CHECK,
            format!("the server does not ask for (TransFlag): {}", off.join(", ")),
        ),
        (_, true) => Finding::warning(
            CHECK,
            format!("the server does not ask for punches (TransFlag), nor for: {}", off.join(", ")),
        )
        .remedy("correct TransFlag at the server, or set punches = \"always\" in [upload]"),
    });
    if options.encrypt_flag.starts_with('1') && config.client_settings().attlog_key.is_none() {
        report(
            Finding::warning(CHECK, "the server wants punches encrypted (EncryptFlag)")
                .remedy("set attlog_key in [encryption] to the key of the server"),
        );
    }
    #[cfg(feature = "exchange")]
    if config.client_settings().exchange == Mode::Required && !options.asks_for_keys() {
        let message = "the server does not ask for encryption (Encrypt=1, PushProtVer=2.4.0), which is required: nothing is sent";
        report(
            Finding::fault(CHECK, message)
                .remedy("set up the exchange of keys at the server, or use https:// and exchange = \"auto\" in [encryption]"),
        );
    }
}

/// The server's clock, beside the terminal's.
fn date(config: &Config, response: &Response) -> Finding {
    const CHECK: &str = "date";
    let Some(date) = &response.date else {
        return Finding::warning(
            CHECK,
            "the answer has no Date: the server does not set the clock",
        )
        .remedy("let the server, or the proxy before it, send a Date");
    };
    let at = match date.at {
        Ok(at) => at,
        Err(why) => {
            let message = format!("the server's Date {:?} is not believed: {why}", date.text);
            return Finding::warning(CHECK, message).remedy("correct the clock of the server");
        }
    };
    if response.took > SLOW {
        let message = format!("the answer took {} s: its Date is too old", response.took.as_secs());
        return Finding::warning(CHECK, message).remedy("look for what makes the server slow");
    }
    let off = at - crate::clock::ClockOffset::default().utc();
    match off.abs() <= TOLERANCE {
        true => Finding::ok(CHECK, "the server's clock and the system's agree"),
        false if config.clock == Authority::System => {
            Finding::warning(CHECK, format!("the server's clock is {off} s off the system's"))
                .remedy("correct the one that is wrong; punchd sets neither (clock = \"system\")")
        }
        false => Finding::ok(
            CHECK,
            format!("the server's clock is {off} s off; punchd goes by the server"),
        ),
    }
}
