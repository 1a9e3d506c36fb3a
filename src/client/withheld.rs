//! Why new rows of a stream do not go up by themselves: the server does not ask for them, or its
//! version of the protocol does not have them.

use std::fmt;

use crate::protocol::options::ServerOptions;
use crate::protocol::stream::{Stream, Table};
use crate::protocol::version::Version;

/// The owner's key that sends punches whatever `TransFlag` says.
const PUNCHES_KEY: &str = "[upload] punches";

/// What brings rows that the server does not ask for.
const REMEDY: &str = "correct TransFlag at the server, or let it send the command LOG";

/// Why new rows of a stream wait for the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Withheld {
    /// `TransFlag` does not name them.
    ByTransFlag {
        /// The name in `TransFlag` that lets them go.
        flag: &'static str,
        /// The key of the configuration that lets them go all the same.
        override_key: Option<&'static str>,
    },
    /// `TransFlag` has zeros only: nothing goes but attendance photos (§6).
    ZerosOnly,
    /// The version of the session does not have such rows (App. 6).
    ByVersion {
        /// The first version that has them.
        needs: Version,
        /// The version of the session.
        server: Version,
    },
}

/// Why new rows of this stream do not go up by themselves; `None` if they do. `version` is that of
/// the session, `punches_always` what the owner wants.
pub(crate) fn withheld(
    stream: Stream,
    options: &ServerOptions,
    version: Version,
    punches_always: bool,
) -> Option<Withheld> {
    if stream.since() > version {
        return Some(Withheld::ByVersion { needs: stream.since(), server: version });
    }
    let is_punch = stream.table() == Table::Attlog;
    if is_punch && punches_always {
        return None;
    }
    let (flag, kinds) = (options.trans_flag, stream.kinds());
    match kinds.first() {
        None => (!flag.allows_the_rest()).then_some(Withheld::ZerosOnly),
        Some(_) if kinds.iter().any(|kind| flag.allows(*kind)) => None,
        Some(kind) => Some(Withheld::ByTransFlag {
            flag: kind.name(),
            override_key: is_punch.then_some(PUNCHES_KEY),
        }),
    }
}

impl fmt::Display for Withheld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ByTransFlag { flag, override_key } => {
                write!(f, "not asked for by the server's TransFlag ({flag})")?;
                match override_key {
                    Some(key) => write!(f, "; {key} = \"always\" overrides it"),
                    None => write!(f, "; {REMEDY}"),
                }
            }
            Self::ZerosOnly => write!(f, "the server's TransFlag has zeros only; {REMEDY}"),
            Self::ByVersion { needs, server } => write!(
                f,
                "newer than the server's version: {needs} is needed, it speaks {server}; they go up \
                 when the server is updated"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::PUSH_VERSION;

    #[test]
    fn the_reason_follows_this_table() {
        let by_flag = |flag| Withheld::ByTransFlag { flag, override_key: None };
        let punches =
            Withheld::ByTransFlag { flag: "AttLog", override_key: Some("[upload] punches") };
        let by_version = Withheld::ByVersion { needs: Version(2, 4, 1), server: Version(2, 4, 0) };
        let (old, new) = (Version(2, 4, 0), PUSH_VERSION);
        let cases = [
            ("1", new, Stream::Punches, None),
            ("TransData OpLog", new, Stream::Punches, Some(punches)),
            ("TransData OpLog", new, Stream::Faces, Some(by_flag("FACE"))),
            ("TransData OpLog", new, Stream::FingerVeins, None),
            ("TransData OpLog", old, Stream::Errors, Some(by_version)),
            ("0000000000", new, Stream::Photos, None),
            ("0000000000", new, Stream::Punches, Some(punches)),
            ("0000000000", new, Stream::FingerVeins, Some(Withheld::ZerosOnly)),
            ("0000000000", new, Stream::Unified, Some(Withheld::ZerosOnly)),
            ("0000000000", new, Stream::IdCards, Some(Withheld::ZerosOnly)),
            ("0000000000", new, Stream::Errors, Some(Withheld::ZerosOnly)),
        ];
        for (value, version, stream, expected) in cases {
            let mut options = ServerOptions::default();
            options.set("transflag", value);
            let found = withheld(stream, &options, version, false);
            assert_eq!(found, expected, "{value:?} {version} {}", stream.name());
        }
        let mut options = ServerOptions::default();
        options.set("transflag", "TransData OpLog");
        assert_eq!(withheld(Stream::Punches, &options, new, true), None);
        assert_eq!(
            punches.to_string(),
            "not asked for by the server's TransFlag (AttLog); [upload] punches = \"always\" \
             overrides it"
        );
    }
}
