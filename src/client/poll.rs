//! Asking for commands (§12), and carrying them out as they come.

use std::time::Duration;

use super::{Client, Trouble};
use crate::protocol::ack;
use crate::protocol::lines::{Line, Lines};
use crate::store::StoreError;
use crate::uplink::{Failure, Response, Uplink};

/// Bytes of a body that are looked at together: its commands share their commits.
const PIECE: usize = 16 << 10;
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
        self.heed_date(&response, self.clock.monotonic())?;
        if news.is_some() {
            self.informed = news;
        }
        let asked_again = self.fragment.is_some();
        let list = self.read_list(&mut response)?;
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
    pub(super) fn read_list(&mut self, response: &mut Response) -> Result<List, Trouble> {
        let mut lines = Lines::new(self.settings.command_bytes);
        let mut list = List { commands: 0, fresh: 0, others: Vec::new() };
        let mut piece = vec![0; PIECE];
        let earlier = self.fragment.take();
        let waiting = self.store.replies_waiting()?;
        loop {
            let amount = response.body.read(&mut piece).map_err(Failure::in_body)?;
            let mut whole = Vec::new();
            if amount > 0 {
                lines.push(&piece[..amount], |line| whole.push(line));
            } else {
                whole.extend(self.last_line(&mut lines, response.framed, earlier.as_deref()));
            }
            self.take_lines(whole, &mut list)?;
            if amount == 0 {
                return Ok(list);
            }
            if waiting + list.commands as u64 > MOST_WAITING {
                log::warn!(
                    "the server sent more commands than can be kept; it is to send the rest again"
                );
                return Ok(list);
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

    fn take_lines(&mut self, lines: Vec<Line>, list: &mut List) -> Result<(), StoreError> {
        let mut commands = Vec::new();
        for line in lines {
            let (Line::Whole(bytes) | Line::Overlong(bytes)) = &line;
            let is_command = bytes.starts_with(b"C:") && list.is_of_the_protocol();
            if is_command {
                list.commands += 1;
                commands.push(line);
            } else {
                list.keep(&line);
            }
        }
        if commands.is_empty() {
            return Ok(());
        }
        list.fresh += self.execute(&commands)?.fresh;
        Ok(())
    }
}

/// What a body held that may hold commands.
pub(super) struct List {
    /// How many commands.
    pub(super) commands: usize,
    /// How many of them were not known before.
    pub(super) fresh: usize,
    /// The lines that are no commands, as far as anybody reads them.
    pub(super) others: Vec<String>,
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
