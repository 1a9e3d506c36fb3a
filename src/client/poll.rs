//! Asking for commands (§12), and carrying them out as they come.

use std::time::Duration;

use super::{Client, Trouble};
use crate::protocol::ack;
use crate::protocol::lines::{Line, Lines};
use crate::reactor;
use crate::store::options::LIST;
use crate::uplink::{Failure, Response, Uplink};

/// Bytes of a body that are read together.
const CHUNK: usize = 16 << 10;
/// Bytes of commands that are carried out together: a list of more is a long one.
const BATCH: usize = 64 << 10;
/// How long commands may wait for those that come after them.
const BATCH_TIME: Duration = Duration::from_millis(200);
/// Most results that wait for the server before no more commands are taken.
const MOST_WAITING: u64 = 200_000;

impl<U: Uplink> Client<U> {
    pub(super) fn poll(&mut self) -> Result<(), Trouble> {
        let news = self.news()?;
        let target = self.target("/iclock/getrequest");
        let target = match &news {
            Some(info) => target.with("INFO", info),
            None => target,
        };
        let mut response = self.get(&target)?;
        self.apply_date(&response, self.clock.monotonic())?;
        if news.is_some() {
            self.informed = news;
        }
        let asked_again = self.fragment.is_some();
        let list = self.read_list(&mut response, Whence::Poll)?;
        let first = list.others.first().map_or("", String::as_str).trim_start();
        let is_ok = first.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("OK"));
        if list.commands == 0 && !is_ok && self.fragment.is_none() {
            return Err(Trouble::Refused(ack::refusal(200, first.as_bytes())));
        }
        for line in list.others.iter().filter(|_| list.commands > 0) {
            log::warn!(
                "a line of the server was skipped, it is no command: {:?}",
                line.chars().take(80).collect::<String>()
            );
        }
        // Where one command came there may be more; one that came before is no news. What may
        // have been cut off is asked for again at once, but only once.
        let at_once = list.fresh > 0 || (self.fragment.is_some() && !asked_again);
        let pause = if at_once { 0 } else { self.options.delay };
        self.poll_at = self.clock.monotonic() + Duration::from_secs(pause.into());
        Ok(())
    }

    /// Reads a body as a stream of lines and carries out those that are commands, however
    /// many there are. A body that does not begin like the protocol is not obeyed at all.
    pub(super) fn read_list(
        &mut self,
        response: &mut Response,
        whence: Whence,
    ) -> Result<List, Trouble> {
        let was_cut_off = self.store.options().get(LIST)?.is_some();
        let room = MOST_WAITING.saturating_sub(self.store.command_log().count_replies()?);
        let mut list = List { room, ..List::default() };
        if was_cut_off {
            list.manner = Manner::Careful;
        }
        let done = self.read_lines(response, &mut list, whence);
        // The list that was cut off is behind us only when it was read to its end.
        let is_over = match list.manner {
            Manner::Short => false,
            Manner::Long => true,
            Manner::Careful => whence == Whence::Poll && list.commands > 0 && done.is_ok(),
        };
        if is_over {
            self.store.options().clear(LIST)?;
        }
        done.map(|()| list)
    }

    fn read_lines(
        &mut self,
        response: &mut Response,
        list: &mut List,
        whence: Whence,
    ) -> Result<(), Trouble> {
        let mut lines = Lines::new(self.settings.command_bytes);
        let mut chunk = vec![0; CHUNK];
        let earlier = self.fragment.take();
        let (mut batch, mut bytes, mut begun) = (Vec::new(), 0, self.clock.monotonic());
        loop {
            let amount = response.body.read(&mut chunk).map_err(Failure::in_body)?;
            bytes += amount;
            if amount > 0 {
                lines.push(&chunk[..amount], |line| batch.push(line));
            } else {
                batch.extend(self.last_line(&mut lines, response.framed, earlier.as_deref()));
            }
            // A list that trickles is not held back either.
            let is_slow = self.clock.monotonic().saturating_sub(begun) > BATCH_TIME;
            if amount == 0 || bytes >= BATCH || is_slow {
                if bytes >= BATCH && list.manner == Manner::Short {
                    self.store.options().set(LIST, "1")?;
                    list.manner = Manner::Long;
                }
                self.take_lines(std::mem::take(&mut batch), list)?;
                (bytes, begun) = (0, self.clock.monotonic());
            }
            if amount == 0 {
                return Ok(());
            }
            // The options of a handshake are wanted all the same.
            if list.is_full && whence == Whence::Poll {
                return Ok(());
            }
        }
    }

    /// What stands after the last line end. It is a whole line if the end of the body is
    /// known; otherwise only if the next body ends with the same bytes.
    fn last_line(
        &mut self,
        lines: &mut Lines,
        framed: bool,
        earlier: Option<&[u8]>,
    ) -> Option<Line> {
        let line = lines.rest()?;
        match &line {
            Line::Whole(bytes) if !framed && bytes.starts_with(b"C:") && earlier != Some(bytes) => {
                log::debug!("the end of the command list may be cut off, asking again");
                self.fragment = Some(bytes.clone());
                None
            }
            _ => Some(line),
        }
    }

    fn take_lines(&mut self, lines: Vec<Line>, list: &mut List) -> Result<(), Trouble> {
        let mut commands = Vec::new();
        for line in lines {
            let (Line::Whole(bytes) | Line::Overlong(bytes)) = &line;
            let is_command = bytes.starts_with(b"C:") && list.is_of_the_protocol();
            if is_command && list.commands as u64 >= list.room {
                if !std::mem::replace(&mut list.is_full, true) {
                    log::warn!(
                        "{MOST_WAITING} results wait for the server, no more commands are taken; it is to send them again"
                    );
                }
            } else if is_command {
                list.commands += 1;
                commands.push(line);
            } else {
                list.keep(&line);
            }
        }
        if commands.is_empty() {
            return Ok(());
        }
        let mut rest = &commands[..];
        while !rest.is_empty() {
            let (effects, done) = match list.manner {
                Manner::Long => self.executor().run_swiftly(rest)?,
                Manner::Short | Manner::Careful => self.executor().run(rest)?,
            };
            self.apply_effects(&effects)?;
            list.fresh += effects.fresh;
            rest = &rest[done..];
            if !rest.is_empty() {
                reactor::yield_now()?;
            }
        }
        Ok(())
    }
}

/// In what a list comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whence {
    Handshake,
    Poll,
}

/// How the commands of a list are carried out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Manner {
    /// Together, what was tried written down for each.
    #[default]
    Short,
    /// Fast, what was tried written down for all of them.
    Long,
    /// As a short list, because the last list was cut off.
    Careful,
}

/// What a body held that may hold commands.
#[derive(Default)]
pub(super) struct List {
    /// How many commands.
    pub(super) commands: usize,
    /// How many of them were not known before.
    pub(super) fresh: usize,
    /// The lines that are no commands, as far as anybody reads them.
    pub(super) others: Vec<String>,
    manner: Manner,
    /// How many commands can be taken.
    room: u64,
    /// There were more.
    is_full: bool,
}

impl List {
    /// Takes a line that is no command.
    fn keep(&mut self, line: &Line) {
        const MOST: usize = 300;
        const LONGEST: usize = 8 << 10;
        let (Line::Whole(bytes) | Line::Overlong(bytes)) = line;
        if self.others.len() < MOST {
            self.others
                .push(String::from_utf8_lossy(&bytes[..bytes.len().min(LONGEST)]).into_owned());
        }
    }

    /// Whether the body so far may be of the protocol: a web page that holds a line `C:1:…`
    /// is no command list.
    fn is_of_the_protocol(&self) -> bool {
        self.others.first().is_none_or(|first| !first.trim_start().starts_with('<'))
    }
}
