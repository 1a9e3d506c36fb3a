//! The reply to the handshake (§6): the options of the server, or a refusal.

use super::ack;
use super::foreign::BYTE_ORDER_MARK;
use super::options::ServerOptions;
use super::refusal::Answer;

/// What is wrong with a reply that is only `OK`, and what to do about it.
pub const NO_OPTIONS: &str = "the server answers only \"OK\", and no options: register the serial \
                              number at the server; until then, defaults hold";

/// The meaning of a handshake reply.
#[derive(Debug, PartialEq, Eq)]
pub enum Handshake {
    /// The reply sets options.
    Options(Box<ServerOptions>),
    /// The reply is only `OK`: the defaults hold for now.
    Bare,
    /// The reply is no handshake; the reason, for people.
    Refused(String),
}

/// Reads the lines of a reply with a status of 2xx, without those that are commands. Options that the
/// reply does not name have the value of `base`; `answer` is what else is known of the reply.
pub fn read_handshake(lines: &[String], base: &ServerOptions, answer: Answer<'_>) -> Handshake {
    let first = lines.first().map_or("", |line| line.trim_start_matches(BYTE_ORDER_MARK).trim());
    let refused = || Handshake::Refused(Answer { body: first.as_bytes(), ..answer }.refusal());
    if lines.iter().any(|line| line.trim().eq_ignore_ascii_case("RETRY")) {
        return Handshake::Refused("the server asks to try again later (RETRY)".into());
    }
    if ack::is_bare_ok(first) {
        return Handshake::Bare;
    }
    if !first.to_ascii_uppercase().starts_with("GET OPTION") {
        return refused();
    }
    let mut options = base.clone();
    // The example in the document has a line break after the first word of TransFlag.
    let mut is_wrapped = false;
    for line in &lines[1..] {
        // Some servers write `key: value`; a value may contain either.
        match line.split_once('=').or_else(|| line.split_once(": ")) {
            Some((name, value)) => {
                let (key, value) = (name.trim().to_ascii_lowercase(), value.trim());
                options.set(&key, value);
                is_wrapped = key == "transflag" && value.eq_ignore_ascii_case("TransData");
            }
            None if is_wrapped => {
                options.set("transflag", &format!("TransData {}", line.trim()));
                is_wrapped = false;
            }
            None => {}
        }
    }
    Handshake::Options(Box::new(options))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::options::Given;
    use crate::protocol::transflag::{Kind, TransFlag};
    use crate::protocol::version::Version;

    fn read(body: &str) -> Handshake {
        let lines: Vec<String> = body.lines().map(str::to_owned).collect();
        read_handshake(&lines, &ServerOptions::default(), Answer::new(200, b""))
    }

    fn options(body: &str) -> ServerOptions {
        match read(body) {
            Handshake::Options(options) => *options,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_example_of_the_document_is_read_with_its_line_break() {
        let options = options(
            "GET OPTION FROM: MADE01\nATTLOGStamp=None\nOPERLOGStamp=9999\nATTPHOTOStamp=None\n\
             ErrorDelay=30\nDelay=10\nTransTimes=00:00;14:05\nTransInterval=1\nTransFlag=TransData\n\
             AttLog OpLog AttPhoto EnrollUser ChgUser EnrollFP ChgFP UserPic\nTimeZone=8\nRealtime=1\nEncrypt=None",
        );
        assert_eq!((options.error_delay, options.delay, options.trans_interval), (30, 10, 1));
        assert_eq!(options.trans_times, [0, 14 * 60 + 5]);
        assert!(
            options.trans_flag.allows(Kind::UserPic) && !options.trans_flag.allows(Kind::BioPhoto)
        );
        assert_eq!(options.time_zone, Given::Value(8 * 3600));
        assert_eq!(options.push_version, Version::OLDEST);
        assert!(options.realtime && !options.encrypt);
        assert_eq!(options.stamp(["operlogstamp", "opstamp"]), Some("9999"));
        assert_eq!(options.warnings, Vec::<String>::new());
    }

    #[test]
    fn every_option_of_the_document_is_read() {
        let options = options(
            "get options from MADE01\r\nStamp=5\nOpStamp=6\nPhotoStamp=7\nENCRYPT=1\nEncryptFlag=1000000000\n\
             PushProtVer=2.4.1\nServerVer=2.4.1 2020\nPushOptionsFlag=1\nPushOptions=FingerFunOn, FaceFunOn\n\
             ATTPHOTOBase64=1\nMaxPostSize=1048576\nSupportPing=1\nEmpty=\nRealtime=0\nOK",
        );
        assert_eq!(options.stamp(["attlogstamp", "stamp"]), Some("5"));
        assert!(options.encrypt && options.photos_base64 && !options.realtime);
        assert_eq!(options.encrypt_flag, "1000000000");
        assert_eq!(options.push_version, Version(2, 4, 1));
        assert_eq!(options.push_options, ["FingerFunOn", "FaceFunOn"]);
        assert_eq!(options.max_post_size, Some(1_048_576));
        assert_eq!(options.others["supportping"], "1");
    }

    #[test]
    fn a_final_ok_is_not_part_of_the_options() {
        for flag in ["1111111111", "TransData AttLog\tOpLog"] {
            let options = options(&format!("GET OPTION FROM: MADE01\nTransFlag={flag}\nOK"));
            assert!(options.trans_flag.allows(Kind::AttLog), "{flag}");
        }
    }

    #[test]
    fn an_invalid_value_is_ignored_with_a_warning_and_delays_are_clamped() {
        let options = options(
            "GET OPTION FROM: MADE01\nDelay=0\nErrorDelay=99999999\n\
             TransTimes=25:00;13004:05;07:30;24:00\nTransFlag=2\nTimeZone=99\nRealtime=x",
        );
        assert_eq!((options.delay, options.error_delay), (1, 86_400));
        assert_eq!(options.trans_flag, TransFlag::ALL);
        assert_eq!(options.time_zone, Given::Invalid);
        assert_eq!(options.trans_times, [450, 0]);
        assert_eq!(options.warnings.len(), 5, "{:?}", options.warnings);
    }

    #[test]
    fn replies_that_are_no_handshake_are_refused() {
        for body in ["OK\r\n", "ok", "OK: 0", "\u{feff}OK"] {
            assert_eq!(read(body), Handshake::Bare, "{body:?}");
        }
        for body in [
            "",
            "UNKNOWN DEVICE",
            "GET OPTION FROM: MADE01\nRETRY\n",
            "<html>",
            "UNAUTHORIZED\nDelay=1",
            "ok then",
        ] {
            assert!(matches!(read(body), Handshake::Refused(_)), "{body:?}");
        }
    }
}
