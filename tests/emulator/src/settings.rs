//! How an emulator is to be: where it listens, what it answers, which server of the field it plays.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::deviation;
use crate::documented::documented;

/// Where a line for each event goes.
pub type Log = Arc<dyn Fn(&str) + Send + Sync>;

/// What an emulator is started with. The default listens on a free port of 127.0.0.1 and behaves as
/// the document has it.
#[derive(Clone)]
pub struct Settings {
    /// Where terminals connect. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where the admin interface is, if it is wanted.
    pub admin: Option<SocketAddr>,
    /// Where the page for browsers is, if it is wanted.
    pub page: Option<SocketAddr>,
    /// How it behaves where servers differ.
    pub manners: Manners,
    /// The serial numbers it knows; none means any.
    pub serials: Vec<String>,
    /// Options of the handshake, in place of or in addition to the usual ones.
    pub options: Vec<(String, String)>,
    /// The certificate chain and key, PEM: then it speaks HTTPS.
    pub tls: Option<Tls>,
    /// How many commands go out in one poll.
    pub commands_per_poll: usize,
    /// What stands before the number of a command's id.
    pub id_prefix: String,
    /// The key of attendance rows that come encrypted, where the handshake says `EncryptFlag=1…`.
    pub attlog_key: Option<String>,
    /// Whether it exchanges keys where the handshake says `Encrypt=1`, and encrypts what follows
    /// (`docs/encryption.md`). No server in use does.
    pub exchanges_keys: bool,
    /// How long it waits for the rest of a request, or for the next on the same connection.
    pub timeout: Duration,
    /// How long after the header the body may begin.
    pub body_grace: Duration,
    /// Whether a connection may carry several requests.
    pub keep_alive: bool,
    /// Gets a line for each event.
    pub log: Option<Log>,
}

/// A certificate chain and its key, PEM.
#[derive(Clone, Default)]
pub struct Tls {
    /// The certificates, the server's own first.
    pub certificates: String,
    /// The private key.
    pub key: String,
    /// Authorities of terminals, PEM: then a terminal has to show a certificate of one of them.
    pub clients: Option<String>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            admin: None,
            page: None,
            manners: Manners::default(),
            serials: Vec::new(),
            options: Vec::new(),
            tls: None,
            commands_per_poll: 100,
            id_prefix: String::new(),
            attlog_key: None,
            exchanges_keys: false,
            timeout: Duration::from_secs(10),
            body_grace: Duration::from_millis(200),
            keep_alive: true,
            log: None,
        }
    }
}

impl Settings {
    /// The default, with the behaviour of a persona.
    pub fn persona(persona: Persona) -> Settings {
        Settings { manners: Manners::of(persona), ..Settings::default() }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("listen", &self.listen)
            .field("admin", &self.admin)
            .field("page", &self.page)
            .field("manners", &self.manners)
            .finish_non_exhaustive()
    }
}

documented! {
    /// Servers of the field, by their oddity.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    pub enum Persona {
        /// As the document says.
        Document,
        /// Sends stamps `None`, by the new names and by the old ones.
        NoneStamps,
        /// Answers only `OK` to the handshake.
        OkOnly,
        /// Ends its lines with CRLF.
        Crlf,
        /// Sends commands at the end of its options.
        CommandsInHandshake,
        /// `OK: n` counts only new rows.
        CountNewOnly,
        /// Reads its socket once, half a second after the connection, and answers `OK` also for what came later.
        ReadOnce,
        /// Ends commands with LF CR LF.
        LfCrLf,
        /// Every stamp is 0.
        ZeroStamps,
        /// Stores stamps and sends them back.
        KeepStamps,
        /// Every stamp is 9999.
        #[serde(rename = "stamps-9999")]
        Stamps9999,
        /// Every stamp is the time in unix seconds.
        UnixStamps,
        /// A web page for unknown terminals and paths.
        HtmlOnUnknown,
        /// Passes over the other rows of a body in which `USERPIC` stands, and says OK to all.
        UserpicAlone,
    }
}

impl Persona {
    /// The persona of that name, as `--persona` takes it.
    pub fn named(name: &str) -> Option<Persona> {
        deviation::named(name)
    }

    /// The persona that behaves like this; `None` for a mixture.
    pub(crate) fn with(manners: &Manners) -> Option<Persona> {
        Persona::ALL.into_iter().find(|persona| Manners::of(*persona) == *manners)
    }
}

impl fmt::Display for Persona {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// Which stamps the handshake gives back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stamps {
    /// `None`, as in the document's example.
    #[default]
    None,
    /// 0: upload again.
    Zero,
    /// The last one of each table, 0 before the first.
    Keep,
    /// 9999.
    Nines,
    /// The time in unix seconds.
    Unix,
}

/// What ends a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub enum LineEnd {
    #[default]
    Lf,
    CrLf,
    LfCrLf,
}

impl LineEnd {
    pub(crate) fn text(self) -> &'static str {
        match self {
            LineEnd::Lf => "\n",
            LineEnd::CrLf => "\r\n",
            LineEnd::LfCrLf => "\n\r\n",
        }
    }
}

/// How servers in the field differ. A persona is a set of these; each can also be set alone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Manners {
    /// Which stamps it sends.
    pub stamps: Stamps,
    /// Whether it also sends them under the names `Stamp`, `OpStamp`, `PhotoStamp`.
    pub old_stamp_names: bool,
    /// What ends the lines of the handshake's reply.
    pub option_end: LineEnd,
    /// What stands between commands, and after the last where it is not LF.
    pub command_end: LineEnd,
    /// Only `OK` for the handshake.
    pub ok_only: bool,
    /// Commands at the end of the handshake's reply.
    pub commands_in_handshake: bool,
    /// `OK: n`, n being the new rows only.
    pub count_new_only: bool,
    /// One read, half a second after the connection.
    pub read_once: bool,
    /// A page instead of `UNKNOWN DEVICE` and 404.
    pub html_on_unknown: bool,
    /// Only the photos of users of a body in which `USERPIC` stands are read.
    pub userpic_alone: bool,
}

impl Manners {
    /// The behaviour of a persona.
    pub fn of(persona: Persona) -> Manners {
        let plain = Manners::default();
        match persona {
            Persona::Document => plain,
            Persona::NoneStamps => Manners { old_stamp_names: true, ..plain },
            Persona::OkOnly => Manners { ok_only: true, ..plain },
            Persona::Crlf => {
                Manners { option_end: LineEnd::CrLf, command_end: LineEnd::CrLf, ..plain }
            }
            Persona::CommandsInHandshake => Manners { commands_in_handshake: true, ..plain },
            Persona::CountNewOnly => Manners { count_new_only: true, ..plain },
            Persona::ReadOnce => Manners { read_once: true, ..plain },
            Persona::LfCrLf => Manners { command_end: LineEnd::LfCrLf, ..plain },
            Persona::ZeroStamps => Manners { stamps: Stamps::Zero, ..plain },
            Persona::KeepStamps => Manners { stamps: Stamps::Keep, ..plain },
            Persona::Stamps9999 => Manners { stamps: Stamps::Nines, ..plain },
            Persona::UnixStamps => Manners { stamps: Stamps::Unix, ..plain },
            Persona::HtmlOnUnknown => Manners { html_on_unknown: true, ..plain },
            Persona::UserpicAlone => Manners { userpic_alone: true, ..plain },
        }
    }
}

/// The `Date` of the answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DateField {
    /// Once, as it should be.
    #[default]
    Once,
    /// Not at all.
    Omitted,
    /// Twice, the second an hour off.
    Doubled,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn personas_are_known_by_name() {
        assert_eq!(Persona::named("lf-cr-lf"), Some(Persona::LfCrLf));
        assert_eq!(Persona::named("stamps-9999"), Some(Persona::Stamps9999));
        assert_eq!(Persona::named("nobody"), None);
    }
}
