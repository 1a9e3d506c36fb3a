//! The server, as the document has it.

use super::commands::Commands;
use super::journal::{Again, Journal};
use super::plan::{Character, Kind, Says};
use super::stamps::Stamps;
use crate::store::Seq;

/// A request that reached the server.
pub(super) struct Request {
    pub(super) kind: Kind,
    pub(super) target: String,
    pub(super) body: Vec<u8>,
}

/// What the server says.
#[derive(Clone)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
    pub(super) retry_after: Option<u32>,
}

pub(super) struct Server {
    character: Character,
    /// Whether it knows the terminal.
    knows: bool,
    stamps: Stamps,
    zone: i32,
    /// All zones that it had.
    zones: Vec<i32>,
}

impl Request {
    pub(super) fn of(request: &crate::uplink::Request<'_>) -> Self {
        let target = request.target.to_owned();
        let body = request.body.map_or(Vec::new(), |body| body.whole());
        let has = |part: &str| target.contains(part);
        let kind = if has("options=all") {
            Kind::Handshake
        } else if has("/getrequest") {
            Kind::Poll
        } else if has("/devicecmd") {
            Kind::Reply
        } else if has("CmdId=") {
            Kind::Query
        } else if has("table=ATTLOG") {
            Kind::Punches
        } else if has("table=options") || has("/registry") {
            Kind::Other
        } else if has("table=") {
            Kind::Rows
        } else {
            Kind::File
        };
        Self { kind, target, body }
    }

    fn value(&self, key: &str) -> Option<&str> {
        self.target.split(['?', '&']).find_map(|part| part.strip_prefix(key))
    }
}

impl Answer {
    fn says(body: impl Into<Vec<u8>>) -> Self {
        Self { status: 200, body: body.into(), retry_after: None }
    }
}

impl Server {
    pub(super) fn new(character: &Character) -> Self {
        Self {
            zone: character.zone,
            zones: vec![character.zone],
            character: character.clone(),
            knows: false,
            stamps: Stamps::default(),
        }
    }

    pub(super) fn forget(&mut self) {
        self.knows = false;
    }

    /// It has lost all rows, and with them what it knew of the terminal.
    pub(super) fn lose(&mut self) {
        self.knows = false;
        self.stamps.lose();
    }

    pub(super) fn back_up(&mut self) {
        self.stamps.back_up();
    }

    /// It is set back to its copy, and does not know the terminal.
    pub(super) fn restore(&mut self) {
        self.knows = false;
        self.stamps.restore();
    }

    pub(super) fn move_zone(&mut self, by: i32) {
        self.zone = (self.zone + by).clamp(-12, 14);
        self.zones.push(self.zone);
    }

    pub(super) fn zones(&self) -> &[i32] {
        &self.zones
    }

    pub(super) fn answer(
        &mut self,
        got: &Request,
        rows: &[usize],
        (punches, operations): (&mut Journal, &mut Journal),
        commands: &mut Commands,
    ) -> Result<Answer, String> {
        if got.kind == Kind::Handshake {
            self.knows = true;
            let stamp = self.stamps.say();
            return Ok(Answer::says(self.options(stamp)));
        }
        if got.kind == Kind::File {
            return Ok(commands.file(&got.target));
        }
        if !self.knows {
            return Ok(Answer::says("UNKNOWN DEVICE\n"));
        }
        match got.kind {
            Kind::Poll => Ok(Answer::says(commands.give(punches.count_dated()))),
            Kind::Reply => {
                commands.take_replies(&got.body)?;
                Ok(Answer::says("OK\n"))
            }
            Kind::Punches => {
                let new = punches.count_new(rows);
                punches.store(rows);
                let stamp = got.value("Stamp=").and_then(|stamp| stamp.parse().ok());
                self.stamps.take(stamp.unwrap_or(0));
                Ok(Answer::says(match self.character.says {
                    Says::Ok => "OK\n".into(),
                    Says::Count => format!("OK:{}\n", rows.len()),
                    Says::CountOfNew => format!("OK:{new}\n"),
                }))
            }
            Kind::Query => {
                let id = got.value("CmdId=").unwrap_or_default();
                commands.take_rows(id, rows);
                Ok(Answer::says(format!("OK:{}\n", count_rows(&got.body))))
            }
            _ => {
                operations.store(rows);
                commands.uploads.take(&got.body);
                Ok(Answer::says(format!("OK:{}\n", count_rows(&got.body))))
            }
        }
    }

    fn options(&self, stamp: Seq) -> String {
        let Character { delay, error_delay, .. } = self.character;
        format!(
            "GET OPTION FROM: MADE0001\nATTLOGStamp={stamp}\nErrorDelay={error_delay}\nDelay={delay}\n\
             TransFlag=1111111111\nTimeZone={}\nRealtime=1\nPushProtVer=2.4.1\n",
            self.zone
        )
    }

    /// An answer reached the terminal; all of it, if `is_whole`.
    pub(super) fn reached(&mut self, got: &Request, answer: &[u8], is_whole: bool, log: &Journal) {
        if String::from_utf8_lossy(answer).contains(":CHECK\n") {
            self.stamps.checked();
        }
        if got.kind == Kind::Handshake && is_whole && answer.starts_with(b"GET OPTION") {
            self.stamps.heard(log);
        }
    }

    /// The step came to its end. What the server asked for again.
    pub(super) fn step_ended(&mut self) -> Option<Again> {
        self.stamps.step_ended()
    }

    /// The terminal died in the step in which an answer reached it: what it understood is not known.
    pub(super) fn cut_off(&mut self) -> Option<Again> {
        self.stamps.cut_off()
    }
}

fn count_rows(body: &[u8]) -> usize {
    body.iter().filter(|byte| **byte == b'\n').count()
}
