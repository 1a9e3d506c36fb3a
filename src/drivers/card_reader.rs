//! `punchd card-reader`: a reader that types its cards like a keyboard, by USB or on a serial
//! line. Card, person, punch.

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::rc::Rc;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags};
use serde_json::Value;

use super::card_queue::{CardQueue, MOST_WAITING, Seen};
use super::link::{Heard, Link};
use super::source::{Source, Turn};
use super::typed::{Read, Typed};
use super::{Stop, begin, settings};
use crate::driver_socket;
use crate::reactor::{self, Served};

/// Runs until TERM or INT, or until a file has been read.
///
/// # Errors
/// What stands at the path is no reader; the system refuses something.
pub fn run(run_dir: &Path, settings: &settings::CardReader) -> Result<(), Stop> {
    begin()?;
    let end = Rc::new(End::default());
    let reader = Rc::new(RefCell::new(CardReader {
        link: Link::new(driver_socket::socket_path(run_dir), "card-reader", &["card"]),
        source: Source::new(&settings.device, settings.baud),
        typed: Typed::new(settings.format),
        card_queue: CardQueue::new(settings.again, settings.status),
        end: Rc::clone(&end),
    }));
    super::run(Rc::clone(&reader) as Rc<RefCell<dyn Served>>, &end.done)?;
    for number in reader.borrow().card_queue.waiting() {
        log::error!("card {number} is NOT recorded: punchd did not come back before the end");
    }
    match end.wrong.take() {
        Some(message) => Err(Stop::NoReader(message)),
        None => Ok(()),
    }
}

/// How it ends by itself.
#[derive(Default)]
struct End {
    done: Cell<bool>,
    /// The file has been read; what came of it is not all recorded yet.
    read: Cell<bool>,
    wrong: Cell<Option<String>>,
}

struct CardReader {
    link: Link,
    source: Source,
    typed: Typed,
    card_queue: CardQueue,
    end: Rc<End>,
}

impl CardReader {
    /// Whether the source is to be read: a file waits until there is room for what is in it.
    fn wants_keys(&self) -> bool {
        !self.end.read.get()
            && (!self.source.is_file() || self.card_queue.room() > Source::LEAST_ROOM)
    }

    /// When what was typed is a number although nothing more is typed. A file has no pauses.
    fn deadline_of_keys(&self) -> Option<Instant> {
        self.typed.due().filter(|_| !self.source.is_file())
    }

    fn read(&mut self, now: Instant) {
        let (typed, mut reads) = (&mut self.typed, Vec::new());
        let turn = self.source.read(|key, at| reads.extend(typed.press(key, at, now)));
        match turn {
            Turn::More => {}
            Turn::Quiet if self.source.is_file() => {}
            Turn::Quiet => reads.extend(self.typed.pause(now)),
            Turn::Gone => self.typed.clear(),
            Turn::End => {
                reads.extend(self.typed.finish());
                self.end.read.set(true);
            }
        }
        for read in reads {
            self.take(read, now);
        }
    }

    fn take(&mut self, read: Read, now: Instant) {
        let number = match read {
            Read::Card(number) => number,
            Read::Refused(why) => {
                log::warn!("{why}");
                let answer = self.card_queue.on_read_error();
                return self.answer(answer);
            }
        };
        match self.card_queue.on_card(number.clone(), now) {
            Seen::Repeated => log::info!("card {number} is still held there: that is one punch"),
            Seen::NoRoom => log::error!(
                "card {number} is NOT recorded: {MOST_WAITING} cards wait for punchd already"
            ),
            Seen::Waits(count) if !self.link.is_here() => log::warn!(
                "card {number} waits for punchd ({count} of at most {MOST_WAITING}, not on disk)"
            ),
            Seen::Waits(_) => {}
            Seen::Enrolled(id, answer) => self.answer(Some((id, answer))),
        }
    }

    fn hear(&mut self, heard: Heard, now: Instant) {
        match heard {
            Heard::Here => {}
            Heard::Gone => self.card_queue.lost(),
            Heard::Answer(answer) => self.card_queue.answered(answer, now),
            Heard::Asked { id: None, method, params } => {
                if method == "cancel" {
                    let answer = self.card_queue.cancel(&params);
                    self.answer(answer);
                }
            }
            Heard::Asked { id: Some(id), method, params } => match method.as_str() {
                "enroll" if params["kind"] == "card" => {
                    let answer = self.card_queue.enroll(id, &params, now);
                    self.answer(answer);
                }
                "enroll" => self.link.refuse(&id, -32602, "kind: this reader enrols cards only"),
                _ => self.link.refuse(&id, -32601, "this is a card reader: it enrols cards"),
            },
        }
    }

    fn answer(&mut self, answer: Option<(Value, Value)>) {
        if let Some((id, result)) = answer {
            self.link.answer(&id, &result);
        }
    }
}

impl Served for CardReader {
    fn watch<'a>(&'a self, fds: &mut Vec<PollFd<'a>>) {
        if let Some((fd, interest)) = self.link.watched() {
            fds.push(PollFd::from_borrowed_fd(fd, interest));
        }
        if let Some(fd) = self.source.fd().filter(|_| self.wants_keys()) {
            fds.push(PollFd::from_borrowed_fd(fd, PollFlags::IN));
        }
    }

    fn serve(&mut self, ready: &[PollFlags]) {
        let now = Instant::now();
        let mut ready = ready.iter().map(|flags| !flags.is_empty());
        let link_is_ready = self.link.watched().is_some() && ready.next().unwrap_or(false);
        let source_is_ready = self.source.fd().is_some() && ready.next().unwrap_or(false);
        for heard in self.link.serve(link_is_ready, now) {
            self.hear(heard, now);
        }
        // Read before a pause is believed: this process may have been the one that paused.
        let is_late = self.deadline_of_keys().is_some_and(|due| due <= now);
        if source_is_ready || is_late {
            self.read(now);
        }
        if let Err(message) = self.source.look(now) {
            self.end.wrong.set(Some(message));
            self.end.done.set(true);
            reactor::wake_loop();
        }
        let answer = self.card_queue.look_after(now);
        self.answer(answer);
        if self.link.is_free()
            && let Some((method, params)) = self.card_queue.call(now)
        {
            self.link.call(method, &params, now);
        }
        if let Some(heard) = self.link.flush(now) {
            self.hear(heard, now);
        }
        if self.end.read.get() && self.card_queue.room() == MOST_WAITING {
            self.end.done.set(true);
            reactor::wake_loop();
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let card_queue = self.card_queue.due(self.link.is_free());
        let all = [self.link.due(), self.source.due(), self.deadline_of_keys(), card_queue];
        all.into_iter().flatten().min()
    }
}
