//! Commands: their queue, and how they go out with the polls (chapters 10 and 12).

use std::collections::HashMap;
use std::net::IpAddr;

use crate::answer::Answer;
use crate::deviation::{Flaw, Flaws, Kind};
use crate::http::Request;
use crate::state::State;

/// How often a command goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Repeat {
    /// With every poll until it is answered.
    #[default]
    UntilAnswered,
    /// Once, answered or not.
    Once,
    /// So many times, answered or not.
    Times(u32),
}

/// A command of the server.
#[derive(Debug, Clone)]
pub(crate) struct Command {
    pub id: String,
    pub text: String,
    repeat: Repeat,
    pub handed_out: u32,
    pub replies: u32,
}

impl Command {
    fn is_due(&self) -> bool {
        match self.repeat {
            Repeat::UntilAnswered => self.replies == 0,
            Repeat::Once => self.handed_out == 0,
            Repeat::Times(n) => self.handed_out < n,
        }
    }

    /// The `CMD` its reply must carry; `None` for a command the protocol does not know.
    pub(crate) fn reply_name(&self) -> Option<&'static str> {
        let mut words = self.text.split([' ', '\t']);
        Some(match (words.next().unwrap_or(""), words.next().unwrap_or("")) {
            ("DATA", _) => "DATA",
            ("CLEAR", "LOG") => "CLEAR_LOG",
            ("CLEAR", "PHOTO") => "CLEAR_PHOTO",
            ("CLEAR", "DATA") => "CLEAR_DATA",
            ("CHECK", _) => "CHECK",
            ("LOG", _) => "LOG",
            ("VERIFY", "SUM") => "VERIFY SUM",
            ("SET", "OPTION") => "SET OPTION",
            ("RELOAD", "OPTIONS") => "RELOAD OPTIONS",
            ("INFO", _) => "INFO",
            ("GetFile", _) => "GetFile",
            ("PutFile", _) => "PutFile",
            ("ENROLL_FP", _) => "ENROLL_FP",
            ("ENROLL_MF", _) => "ENROLL_MF",
            ("ENROLL_BIO", _) => "ENROLL_BIO",
            ("REBOOT", _) => "REBOOT",
            ("AC_UNLOCK", _) => "AC_UNLOCK",
            ("AC_UNALARM", _) => "AC_UNALARM",
            ("SHELL", _) => "Shell",
            ("UPGRADE", _) => "UPGRADE",
            _ => return None,
        })
    }
}

/// The queue.
#[derive(Debug, Default)]
pub(crate) struct Commands {
    all: Vec<Command>,
    /// Where in `all` the commands of an id are: there may be a hundred thousand.
    places: HashMap<String, Vec<usize>>,
    counter: u64,
}

impl Commands {
    /// Queues a command under the next number.
    pub(crate) fn queue(&mut self, prefix: &str, text: &str) -> String {
        self.counter += 1;
        let id = format!("{prefix}{}", self.counter);
        self.queue_as(&id, text, Repeat::UntilAnswered);
        id
    }

    pub(crate) fn queue_as(&mut self, id: &str, text: &str, repeat: Repeat) {
        self.add(id, text, repeat, 0);
    }

    fn add(&mut self, id: &str, text: &str, repeat: Repeat, handed_out: u32) {
        self.places.entry(id.to_owned()).or_default().push(self.all.len());
        self.all.push(Command {
            id: id.to_owned(),
            text: text.to_owned(),
            repeat,
            handed_out,
            replies: 0,
        });
    }

    /// The places of the commands of an id, the last first.
    fn places(&self, id: &str) -> impl Iterator<Item = usize> {
        self.places.get(id).cloned().unwrap_or_default().into_iter().rev()
    }

    /// The lines that are due now. They count as handed out.
    pub(crate) fn due(&mut self, limit: usize) -> Vec<String> {
        let due = self.all.iter_mut().filter(|command| command.is_due()).take(limit);
        due.map(|command| {
            command.handed_out += 1;
            format!("C:{}:{}", command.id, command.text)
        })
        .collect()
    }

    /// Takes note of commands in a text the test has sent by itself.
    pub(crate) fn know(&mut self, text: &str) {
        for line in text.lines().filter_map(|line| line.trim().strip_prefix("C:")) {
            let Some((id, text)) = line.split_once(':') else { continue };
            let known = self.places(id).find(|place| self.all[*place].text == text);
            if let Some(place) = known {
                self.all[place].handed_out = self.all[place].handed_out.max(1);
            } else {
                self.add(id, text, Repeat::Once, 1);
            }
        }
    }

    /// The last command of that id that went out.
    pub(crate) fn handed_out(&mut self, id: &str) -> Option<&mut Command> {
        let place = self.places(id).find(|place| self.all[*place].handed_out > 0)?;
        self.all.get_mut(place)
    }

    /// All of them, in the order in which they were queued.
    pub(crate) fn all(&self) -> &[Command] {
        &self.all
    }

    pub(crate) fn queued(&self) -> usize {
        self.all.len()
    }

    pub(crate) fn answered(&self) -> usize {
        self.all.iter().filter(|command| command.replies > 0).count()
    }
}

impl State {
    /// Answers a poll: the commands that are due, or `OK`.
    pub(crate) fn poll(&mut self, request: &Request, sn: &str, flaws: &mut Flaws) -> Answer {
        flaws.note(request.parameter("INFO").and_then(|info| check_info(info).err()));
        if let Some(body) = self.next_polls.pop_front() {
            self.commands.know(&String::from_utf8_lossy(&body));
            return Answer::ok(body);
        }
        let lines = self.commands.due(self.settings.commands_per_poll);
        if lines.is_empty() {
            return Answer::ok("OK");
        }
        self.note(&format!("commands handed to {sn}: {}", lines.len()));
        let end = self.settings.manners.command_end.text();
        let charset = self.session(sn).terms.charset;
        let tail = if end == "\n" { "" } else { end };
        Answer::ok(charset.encode(&(lines.join(end) + tail)))
    }
}

/// The ten values of chapter 10.
fn check_info(info: &str) -> Result<(), Flaw> {
    let values: Vec<&str> = info.split(',').collect();
    let wrong = |text: String| Err(Flaw::new(Kind::InfoValue, text));
    match values.len() {
        10 => {}
        n @ (6 | 13) => {
            return Err(Flaw::new(Kind::InfoDialect, format!("INFO has {n} values, not 10")));
        }
        n => return Err(Flaw::new(Kind::InfoCount, format!("INFO has {n} values, not 10"))),
    }
    if values[0].is_empty() {
        return wrong("the firmware version of INFO is empty".into());
    }
    if let Some(n) = [1, 2, 3, 5, 6, 7, 8]
        .into_iter()
        .find(|n| values[*n].is_empty() || !values[*n].bytes().all(|b| b.is_ascii_digit()))
    {
        return wrong(format!("value {} of INFO is {:?}, not a number", n + 1, values[n]));
    }
    if values[4].parse::<IpAddr>().is_err() {
        return wrong(format!("value 5 of INFO is {:?}, not an IP address", values[4]));
    }
    let flags = values[9];
    if ![3, 5].contains(&flags.len()) || !flags.bytes().all(|b| b == b'0' || b == b'1') {
        return wrong(format!("the flags of INFO are {flags:?}, not 3 or 5 digits 0 and 1"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_goes_out_until_it_is_answered() {
        let mut commands = Commands::default();
        assert_eq!(commands.queue("x", "CHECK"), "x1");
        commands.queue_as("b", "LOG", Repeat::Once);
        commands.queue_as("c", "REBOOT", Repeat::Times(2));
        assert_eq!(commands.due(100), ["C:x1:CHECK", "C:b:LOG", "C:c:REBOOT"]);
        assert_eq!(commands.due(1), ["C:x1:CHECK"]);
        commands.handed_out("x1").unwrap().replies += 1;
        assert_eq!(commands.due(100), ["C:c:REBOOT"]);
        assert!(commands.due(100).is_empty());
    }

    #[test]
    fn a_command_queued_again_under_its_id_is_another() {
        let mut commands = Commands::default();
        commands.queue_as("7", "CHECK", Repeat::UntilAnswered);
        commands.due(1);
        commands.handed_out("7").unwrap().replies += 1;
        commands.queue_as("7", "LOG", Repeat::UntilAnswered);
        assert_eq!(commands.handed_out("7").unwrap().text, "CHECK");
        assert_eq!(commands.due(1), ["C:7:LOG"]);
        assert_eq!(commands.handed_out("7").unwrap().text, "LOG");
    }

    #[test]
    fn info() {
        assert_eq!(check_info("Ver 2.0.12-20150625,0,0,0,192.168.16.27,10,7,15,0,111"), Ok(()));
        for (info, kind) in [
            ("Ver,1,0,16,192.168.0.25,10,39,12,1,01110,0,0,0", Kind::InfoDialect),
            ("Ver,5,3,71,192.168.1.201,10", Kind::InfoDialect),
            ("Ver,5", Kind::InfoCount),
            (",0,0,0,192.168.16.27,10,7,15,0,111", Kind::InfoValue),
            ("Ver,x,0,0,192.168.16.27,10,7,15,0,111", Kind::InfoValue),
            ("Ver,0,0,0,192.168.16,10,7,15,0,111", Kind::InfoValue),
            ("Ver,0,0,0,192.168.16.27,10,7,15,0,1111", Kind::InfoValue),
            ("Ver,0,0,0,192.168.16.27,10,7,15,0,112", Kind::InfoValue),
        ] {
            assert_eq!(check_info(info).map_err(|flaw| flaw.kind), Err(kind), "{info}");
        }
    }
}
