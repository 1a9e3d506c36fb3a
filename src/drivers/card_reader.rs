//! `punchd card-reader`: records the cards of a reader that types them like a keyboard, by USB or
//! on a serial line.

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::rc::Rc;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags};

use super::card_queue::{Answer, CardQueue, CardRead, MOST_WAITING};
use super::link::{Event, Link};
use super::source::{Progress, Source};
use super::typed::{Read, Typed};
use super::{Stop, settings, take_signals};
use crate::reactor::{self, Served};
use crate::rpc::{DriverMethod, ErrorCode, Request, RpcError};

/// Runs until TERM or INT, or until a file has been read.
///
/// # Errors
/// Cards cannot be read from the device; the system refused something.
pub(crate) fn run(socket: &Path, settings: &settings::CardReader) -> Result<(), Stop> {
    take_signals()?;
    let end = Rc::new(End::default());
    let reader = Rc::new(RefCell::new(CardReader {
        link: Link::new(socket, "card-reader", &["card"]),
        source: Source::new(&settings.device, settings.baud),
        typed: Typed::new(settings.format),
        card_queue: CardQueue::new(settings.again, settings.status),
        end: Rc::clone(&end),
    }));
    super::run(Rc::clone(&reader) as Rc<RefCell<dyn Served>>, &end.done)?;
    for number in reader.borrow().card_queue.waiting() {
        log::error!(
            "card {number} is NOT recorded: punchd was not reached before this driver ended"
        );
    }
    match end.wrong.take() {
        Some(message) => Err(Stop::NoReader(message)),
        None => Ok(()),
    }
}

/// How the driver ends by itself.
#[derive(Default)]
struct End {
    done: Cell<bool>,
    /// The file has been read; its cards may still wait.
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

    /// When a number ends by a pause. A file has no pauses.
    fn deadline_of_keys(&self) -> Option<Instant> {
        self.typed.deadline().filter(|_| !self.source.is_file())
    }

    fn read(&mut self, now: Instant) {
        let (typed, mut reads) = (&mut self.typed, Vec::new());
        let progress = self.source.read(|key, at| reads.extend(typed.press(key, at, now)));
        match progress {
            Progress::More => {}
            Progress::Idle if self.source.is_file() => {}
            Progress::Idle => reads.extend(self.typed.pause(now)),
            Progress::Gone => self.typed.clear(),
            Progress::End => {
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
            CardRead::Repeated => {
                log::info!("card {number} is still at the reader: that is one punch");
            }
            CardRead::QueueFull => log::error!(
                "card {number} is NOT recorded: {MOST_WAITING} cards wait for punchd already"
            ),
            CardRead::Queued(count) if !self.link.is_registered() => log::warn!(
                "card {number} waits for punchd ({count} of at most {MOST_WAITING}, not on disk)"
            ),
            CardRead::Queued(_) => {}
            CardRead::Enrolled(answer) => self.answer(Some(answer)),
        }
    }

    fn on_event(&mut self, event: Event, now: Instant) {
        match event {
            Event::Registered => {}
            Event::Disconnected => self.card_queue.on_disconnect(),
            Event::Answered(answer) => self.card_queue.on_answer(answer, now),
            Event::Requested(request) => self.on_request(request, now),
        }
    }

    fn on_request(&mut self, Request { id, method, params }: Request, now: Instant) {
        let Some(id) = id else {
            if method == DriverMethod::Cancel.name() {
                let answer = self.card_queue.cancel(&params);
                self.answer(answer);
            }
            return;
        };
        let error = match DriverMethod::from_name(&method) {
            Some(DriverMethod::Enroll) if params.get("kind") == "card" => {
                let answer = self.card_queue.enroll(id, &params, now);
                return self.answer(answer);
            }
            Some(DriverMethod::Enroll) => {
                RpcError::param("kind", "must be card: this reader enrols cards only")
            }
            _ => {
                let message = "this is a card reader: it enrols cards only";
                RpcError::new(ErrorCode::MethodNotFound, message)
            }
        };
        self.link.answer(&id, Err(error));
    }

    fn answer(&mut self, answer: Option<Answer>) {
        if let Some(Answer { id, result }) = answer {
            self.link.answer(&id, Ok(result));
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
        for event in self.link.serve(link_is_ready, now) {
            self.on_event(event, now);
        }
        // Keys that have come are read first: the pause may have been one of this process.
        let is_late = self.deadline_of_keys().is_some_and(|due| due <= now);
        if source_is_ready || is_late {
            self.read(now);
        }
        if let Err(message) = self.source.open_if_due(now) {
            self.end.wrong.set(Some(message));
            self.end.done.set(true);
            reactor::wake_loop();
        }
        let answer = self.card_queue.check_timeout(now);
        self.answer(answer);
        if self.link.is_free()
            && let Some((method, params)) = self.card_queue.next_call(now)
        {
            self.link.call(method, &params, now);
        }
        if let Some(event) = self.link.flush(now) {
            self.on_event(event, now);
        }
        if self.end.read.get() && self.card_queue.room() == MOST_WAITING {
            self.end.done.set(true);
            reactor::wake_loop();
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let card_queue = self.card_queue.deadline(self.link.is_free());
        let all =
            [self.link.deadline(), self.source.deadline(), self.deadline_of_keys(), card_queue];
        all.into_iter().flatten().min()
    }
}
