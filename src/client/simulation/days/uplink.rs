//! The way to the server, and what happens on it.

use std::io::{self, Cursor, ErrorKind, Read};
use std::rc::Rc;
use std::time::Duration;

use super::super::world::{TIME_OUT, says};
use super::journal::Heard;
use super::plan::{DAY, Event, Kind, MINUTE, Mishap, Says};
use super::server::{Answer, Request as Got};
use super::story::violated;
use super::world::World;
use crate::uplink::{
    Cause, DateHeader, Exchange, Failure, HeldExchange, ReadLimit, Request, Response, Uplink,
};

pub(super) struct DayUplink(pub(super) Rc<World>);

impl Uplink for DayUplink {
    fn exchange(&mut self, request: &Request<'_>) -> Result<Response, Failure> {
        let world = &self.0;
        let sent = world.send(request);
        world.finish(sent)
    }

    fn exchange_or_hold(&mut self, request: &Request<'_>) -> Result<Exchange, Failure> {
        let sent = self.0.send(request);
        let Some(Mishap::Hold(seconds)) = sent.fate else {
            return self.0.finish(sent).map(|response| Exchange::Answered(Box::new(response)));
        };
        let until = self.0.now() + Duration::from_secs(seconds.into());
        self.0.attempts.borrow_mut().ask_later(until);
        self.0.held_until.set(until);
        // A punch comes while it is held.
        self.0.soon(HELD_AFTER + Duration::from_secs(1), Event::Punches(1));
        self.0.pass(HELD_AFTER);
        Ok(Exchange::Held(Box::new(Held { world: Rc::clone(&self.0), sent: Some(sent), until })))
    }
}

/// After so long the loop goes on while a request is held.
const HELD_AFTER: Duration = Duration::from_secs(2);

/// A poll that the server holds.
struct Held {
    world: Rc<World>,
    sent: Option<Sent>,
    until: Duration,
}

impl HeldExchange for Held {
    fn head(&mut self, reads: &ReadLimit) -> Result<Option<Response>, Failure> {
        if !self.world.waits_until(self.until, reads) {
            return Ok(None);
        }
        let world = &self.world;
        match self.sent.take() {
            Some(sent) => world.finish(sent).map(Some),
            None => Err(Failure::new("it was answered before")),
        }
    }
}

/// A body that comes in parts, each after a time.
struct SlowBody {
    world: Rc<World>,
    reads: ReadLimit,
    body: Box<dyn Read>,
    each: Duration,
    next: Duration,
}

impl Read for SlowBody {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if !self.world.waits_until(self.next, &self.reads) {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.next += self.each;
        let part = into.len().min(PART);
        self.body.read(&mut into[..part])
    }
}

/// Bytes of a slow file that come at once.
const PART: usize = 40;

/// A request on its way.
struct Sent {
    got: Got,
    rows: Vec<usize>,
    fate: Option<Mishap>,
    begun: Duration,
}

impl World {
    /// Waits for something of the server until that time, or as long as reads may. Whether it came.
    fn waits_until(&self, until: Duration, reads: &ReadLimit) -> bool {
        let now = self.now();
        // The limit is on the real clock, of which little passes.
        let left = reads.left().unwrap_or(Duration::MAX);
        let left = Duration::from_millis((left.as_millis() as u64).saturating_add(1));
        let next = self.next_event().unwrap_or(Duration::MAX);
        self.pass_until(until.min(next).min(now.saturating_add(left)).max(now));
        self.now() >= until
    }

    /// A request leaves the terminal.
    fn send(&self, request: &Request<'_>) -> Sent {
        let begun = self.now();
        let got = Got::of(request);
        let found = self.attempts.borrow_mut().attempt(&self.plan.server, got.kind, begun);
        self.require(found);
        let rows = self.rows_of(&got);
        let fate = self.fate(got.kind, &rows);
        self.tell(|| {
            let numbers = rows.iter().map(|row| (row + 1).to_string()).collect::<Vec<_>>();
            let fate = fate.map_or(String::new(), |fate| format!(" -- {fate:?}"));
            format!("{:?} {}{fate}", got.kind, numbers.join(" "))
        });
        self.pass(Duration::from_millis(10 + self.below(60)));
        Sent { got, rows, fate, begun }
    }

    /// It reaches the server, if it does, and an answer the terminal.
    fn finish(self: &Rc<Self>, sent: Sent) -> Result<Response, Failure> {
        let done = self.deliver(sent);
        self.attempts.borrow_mut().ended(self.now());
        done
    }

    fn deliver(self: &Rc<Self>, sent: Sent) -> Result<Response, Failure> {
        let Sent { got, rows, fate, begun } = sent;
        let broken = |cause, what: &str| Err(Failure::Broken(cause, what.into()));
        let unsent = |cause, what: &str| Err(Failure::Unsent(cause, what.into()));
        match fate {
            Some(Mishap::Refused) => return unsent(Cause::NoConnection, "refused"),
            Some(Mishap::CutRequest) => return unsent(Cause::Closed, "reset in the request"),
            Some(Mishap::TimeOut(false)) => return self.time_out(got.kind),
            _ => {}
        }
        let mut answer = self.answer(&got, &rows, fate);
        let was_repeated = fate == Some(Mishap::Twice);
        if was_repeated {
            answer = self.answer(&got, &rows, None);
        }
        self.pass(Duration::from_millis(10 + self.below(60)));
        match fate {
            Some(Mishap::LostAnswer) => return broken(Cause::Closed, "closed"),
            Some(Mishap::TimeOut(true)) => return self.time_out(got.kind),
            _ => {}
        }
        let cut = match fate {
            Some(Mishap::CutAnswer(share)) => Some(self.cut(&got, &answer, share)),
            _ => None,
        };
        self.heard(&got, &rows, &answer, cut);
        let took = self.now() - begun;
        let mut response = self.response(answer, cut, took, was_repeated);
        if let Some(Mishap::Slow(each)) = fate {
            let each = Duration::from_millis(each.into());
            self.soon(each * 2, Event::Punches(1));
            let (world, reads, body) = (Rc::clone(self), response.reads.clone(), response.body);
            response.body =
                Box::new(SlowBody { world, reads, body, each, next: self.now() + each });
        }
        Ok(response)
    }

    /// No answer comes in time.
    fn time_out(&self, kind: Kind) -> Result<Response, Failure> {
        if kind == Kind::Punches && self.now() < self.held_until.get() {
            // For a day, punches wait for a poll that is held.
            self.alone_until.set(self.now() + DAY + MINUTE);
        }
        self.pass(TIME_OUT);
        Err(Failure::Broken(Cause::TimedOut, "timed out".into()))
    }

    /// After how many bytes an answer breaks off. What follows the last line end of a list is never the same
    /// twice running: then it would be a whole line for the terminal.
    fn cut(&self, got: &Got, answer: &Answer, share: u64) -> usize {
        let length = answer.body.len() * share as usize / 1000;
        if got.kind != Kind::Poll {
            return length;
        }
        let mut commands = self.commands.borrow_mut();
        let is_same = commands.fragment == last_line(&answer.body[..length]);
        let length = length - usize::from(is_same && length > 0);
        commands.fragment = last_line(&answer.body[..length]).to_vec();
        length
    }

    /// The rows of the journals in a request, and whether they may be sent.
    fn rows_of(&self, got: &Got) -> Vec<usize> {
        let (journal, is_asked) = match got.kind {
            Kind::Punches => (&self.punches, false),
            Kind::Query if got.target.contains("table=ATTLOG") => (&self.punches, true),
            Kind::Rows => (&self.operations, false),
            _ => return Vec::new(),
        };
        let found = self.with_now(|now| journal.borrow_mut().sent(&got.body, is_asked, now));
        let found = found.and_then(|rows| match got.kind {
            Kind::Punches if self.passes_new_punches(&rows) => {
                Err("punches go again before a new one".into())
            }
            _ => Ok(rows),
        });
        found.unwrap_or_else(|what| {
            self.tell(|| format!("{:?} {}", got.kind, got.target));
            violated(what)
        })
    }

    /// Whether these rows of an upload go although a new punch waits that the server never refused.
    fn passes_new_punches(&self, rows: &[usize]) -> bool {
        let (punches, store) = (self.punches.borrow(), self.store.borrow());
        punches.passes_new_ones(rows, self.step_began.get())
            && store.as_ref().is_some_and(|store| store.quarantine().is_empty().unwrap())
    }

    /// What the server does with a request.
    fn answer(&self, got: &Got, rows: &[usize], fate: Option<Mishap>) -> Answer {
        let plain = |status, body: &str| Answer { status, body: body.into(), retry_after: None };
        match fate {
            Some(Mishap::Status(status, takes)) => {
                if takes {
                    self.take(got, rows);
                }
                return plain(status, "");
            }
            Some(Mishap::Page) => return plain(200, "<html><body>Log in</body></html>\n"),
            Some(Mishap::Empty) => return plain(200, ""),
            Some(Mishap::Words) => return plain(200, "ERROR: database\n"),
            Some(Mishap::Later(seconds)) => {
                let until = self.now() + Duration::from_secs(u64::from(seconds) * 5 / 4);
                self.attempts.borrow_mut().ask_later(until);
                return Answer { retry_after: Some(seconds), ..plain(503, "") };
            }
            // A server that counts new rows and takes a part cannot be told from one that had the rest.
            Some(Mishap::Short(share))
                if got.kind == Kind::Punches && self.plan.server.says != Says::CountOfNew =>
            {
                let count = rows.len() * share as usize / 1000;
                self.take(got, &rows[..count]);
                return plain(200, &format!("OK:{count}\n"));
            }
            _ => {}
        }
        self.take(got, rows)
    }

    /// The server takes a request, and says so.
    fn take(&self, got: &Got, rows: &[usize]) -> Answer {
        let answer = {
            let mut server = self.server.borrow_mut();
            let mut commands = self.commands.borrow_mut();
            let mut punches = self.punches.borrow_mut();
            let mut operations = self.operations.borrow_mut();
            server.answer(got, rows, (&mut punches, &mut operations), &mut commands)
        };
        match answer {
            Ok(answer) => answer,
            Err(what) => violated(what),
        }
    }

    /// An answer reaches the terminal, all of it or so many bytes.
    fn heard(&self, got: &Got, rows: &[usize], answer: &Answer, cut: Option<usize>) {
        let is_unframed = self.plan.server.is_unframed;
        let body = match cut {
            Some(_) if !is_unframed => None,
            cut => Some(&answer.body[..cut.unwrap_or(answer.body.len())]),
        };
        self.tell(|| {
            let text = String::from_utf8_lossy(&answer.body).replace('\n', "|");
            let shown: String = text.chars().take(150).collect();
            format!("    {} {shown}{}", answer.status, if cut.is_some() { " (cut)" } else { "" })
        });
        let sent = got.body.iter().filter(|byte| **byte == b'\n').count();
        let heard = body.map_or(Heard::Nothing, |body| meaning(answer.status, body, sent));
        match got.kind {
            Kind::Punches => self.punches.borrow_mut().heard(rows, heard),
            Kind::Rows => self.operations.borrow_mut().heard(rows, heard),
            _ => {}
        }
        let is_whole = cut.is_none() && (200..300).contains(&answer.status);
        let log = self.punches.borrow();
        self.server.borrow_mut().reached(got, &answer.body, is_whole, &log);
        if let Some(seconds) = answer.retry_after {
            let until = self.now() + Duration::from_secs(seconds.into());
            self.attempts.borrow_mut().refused(got.kind, until);
        }
        self.commands.borrow_mut().reached(got, answer, body, is_whole && !is_unframed);
    }

    fn response(
        &self,
        answer: Answer,
        cut: Option<usize>,
        took: Duration,
        was_repeated: bool,
    ) -> Response {
        let is_unframed = self.plan.server.is_unframed;
        let mut response = says(answer.status, &answer.body);
        response.retry_after = answer.retry_after;
        response.took = took;
        response.was_repeated = was_repeated;
        response.framed = !is_unframed;
        if is_unframed {
            response.file.length = None;
        }
        let date = self.true_time();
        response.date = Some(DateHeader { text: date.to_string(), at: Ok(date) });
        if let Some(length) = cut {
            let body = Cursor::new(answer.body[..length].to_vec());
            response.body = Box::new(BrokenOff { body, is_unframed });
        }
        response
    }
}

/// What an answer to an upload of so many rows means, as the document has it.
fn meaning(status: u16, body: &[u8], sent: usize) -> Heard {
    let text = String::from_utf8_lossy(body);
    if !(200..300).contains(&status) || !text.starts_with("OK") {
        return Heard::Nothing;
    }
    match text[2..].trim().trim_start_matches(':').trim().parse::<usize>() {
        Ok(count) if count < sent => Heard::Some,
        _ => Heard::All,
    }
}

/// What follows the last line end.
fn last_line(body: &[u8]) -> &[u8] {
    let begin = body.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    &body[begin..]
}

/// A body that breaks off.
struct BrokenOff {
    body: Cursor<Vec<u8>>,
    is_unframed: bool,
}

impl Read for BrokenOff {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self.body.read(into)? {
            0 if !into.is_empty() && !self.is_unframed => {
                Err(io::Error::new(ErrorKind::ConnectionReset, "reset in the answer"))
            }
            amount => Ok(amount),
        }
    }
}
