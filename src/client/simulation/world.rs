//! What is outside of the loop: the server, the clock, the device.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::io::{Cursor, Read};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use super::model::ENROLLED;
use super::random::Random;
use crate::clock::{BUILD_TIME, Clock, TOLERANCE, ZoneSource};
use crate::device::Device;
use crate::driver_requests::{Answer, DriverRequest, Unasked};
use crate::processes::{End, Order, Outcome};
use crate::protocol::codes::Language;
use crate::protocol::enroll::Enroll;
use crate::protocol::record::{Template, TemplateForm};
use crate::uplink::{Cause, DateHeader, Failure, ReadLimit, Request, Response, Uplink};

/// A clock that the test moves: the time since boot, and what the wall clock shows.
#[derive(Default)]
pub(super) struct VirtualClock(pub(super) Cell<Duration>, pub(super) WallClock);

/// A wall clock. It is set, unless a test boots the terminal without one.
pub(super) struct WallClock {
    pub(super) boot: Cell<&'static str>,
    /// Seconds since 1970 at the boot.
    pub(super) utc_at_boot: Cell<i64>,
    /// Offset of the zone in seconds.
    pub(super) offset: Cell<i32>,
}

impl Default for WallClock {
    fn default() -> Self {
        let utc_at_boot = Cell::new(BUILD_TIME + 86_400);
        Self { boot: Cell::new("boot"), utc_at_boot, offset: Cell::default() }
    }
}

impl Clock for VirtualClock {
    fn utc(&self) -> i64 {
        self.1.utc_at_boot.get() + self.0.get().as_secs() as i64
    }
    fn monotonic(&self) -> Duration {
        self.0.get()
    }
    fn boot(&self) -> &str {
        self.1.boot.get()
    }
    fn offset(&self, _: i64) -> i32 {
        self.1.offset.get()
    }
    fn set(&self, utc: i64) -> Option<i64> {
        let off = utc - self.utc();
        (off.abs() > TOLERANCE).then(|| {
            self.1.utc_at_boot.set(self.1.utc_at_boot.get() + off);
            off
        })
    }
    fn set_zone(&self, _: Option<i32>) {}
    fn zone_source(&self) -> ZoneSource {
        ZoneSource::Server
    }
}

/// The server: what it is to say, and what it heard.
#[derive(Default)]
pub(super) struct Server {
    pub(super) lists: VecDeque<String>,
    /// The first answer to each command.
    pub(super) answers: BTreeMap<String, (String, Vec<u8>)>,
    /// The rows that came for each query, by pack.
    pub(super) rows: BTreeMap<String, BTreeMap<u64, String>>,
    /// Files by their names, and how often each still fails.
    pub(super) files: BTreeMap<String, Vec<u8>>,
    pub(super) failures: BTreeMap<String, u64>,
    /// One of so many requests fails; 0 for none.
    pub(super) unreliable: u64,
    pub(super) random: Option<Random>,
    /// What is answered with a status and nothing else: a part of the target.
    pub(super) fails: Vec<(&'static str, u16)>,
    /// From when until when the server is away, and how a request fails then.
    pub(super) outage: Option<(Duration, Duration, Outage)>,
    /// Every second connection is closed without an answer.
    pub(super) closes_every_second: bool,
    /// When each request came or failed, and whether it was answered.
    pub(super) exchanges: Vec<(Duration, bool)>,
    /// When each poll came.
    pub(super) polls: Vec<Duration>,
    /// A file of which each part takes five seconds.
    pub(super) trickles: Option<&'static str>,
    /// Further options of the handshake.
    pub(super) options: &'static str,
    /// What breaks off without an answer, however the server heard it: a part of the target.
    pub(super) breaks: Vec<(&'static str, Cause)>,
    /// How long it takes until it breaks off.
    pub(super) break_takes: Duration,
    /// Each request that came.
    pub(super) heard: Vec<Heard>,
    /// Seconds since 1970 by the server's clock at the terminal's boot; without it, it sends no `Date`.
    pub(super) utc_at_boot: Option<i64>,
    /// How long the body of an answer takes after its head.
    pub(super) body_takes: Duration,
}

/// A body that takes its time.
struct SlowBody {
    body: Box<dyn Read>,
    clock: Rc<VirtualClock>,
    takes: Duration,
}

impl Read for SlowBody {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        self.clock.0.set(self.clock.0.get() + std::mem::take(&mut self.takes));
        self.body.read(into)
    }
}

/// A request as the server heard it.
pub(super) struct Heard {
    pub(super) at: Duration,
    pub(super) target: String,
    /// Without the content of a file.
    pub(super) body: String,
}

/// How a request fails while the server is away.
#[derive(Clone, Copy, Debug)]
pub(super) enum Outage {
    Refused,
    Closed,
    TimedOut,
    Status(u16),
}

/// How long a request takes that times out.
pub(super) const TIME_OUT: Duration = Duration::from_secs(15);

/// The way to the server.
pub(super) struct VirtualUplink {
    pub(super) server: Rc<RefCell<Server>>,
    pub(super) clock: Rc<VirtualClock>,
}

impl Uplink for VirtualUplink {
    fn exchange(&mut self, request: &Request<'_>) -> Result<Response, Failure> {
        self.clock.0.set(self.clock.0.get() + Duration::from_millis(20));
        let (now, mut server) = (self.clock.0.get(), self.server.borrow_mut());
        let outage = server.outage.filter(|(from, until, _)| (from..until).contains(&&now));
        let nth = server.exchanges.len();
        let closes = server.closes_every_second && nth % 2 == 1;
        server.exchanges.push((now, outage.is_none() && !closes));
        let body = request.body.map_or(&b""[..], |body| body.bytes);
        let body = String::from_utf8_lossy(body).into_owned();
        server.heard.push(Heard { at: now, target: request.target.to_owned(), body });
        if request.target.contains("/getrequest") {
            server.polls.push(now);
        }
        match outage.map(|(.., outage)| outage) {
            Some(Outage::Refused) => {
                return Err(Failure::Unsent(Cause::NoConnection, "refused".into()));
            }
            Some(Outage::Closed) => return Err(Failure::Broken(Cause::Closed, "closed".into())),
            Some(Outage::TimedOut) => {
                self.clock.0.set(now + TIME_OUT);
                return Err(Failure::Unsent(Cause::TimedOut, "timed out".into()));
            }
            Some(Outage::Status(status)) => return Ok(says(status, b"")),
            None if closes => return Err(Failure::Broken(Cause::Closed, "closed".into())),
            None => {}
        }
        match server.fault() {
            0 => return Err(Failure::Unsent(Cause::NoConnection, "no connection".into())),
            1 => return Ok(says(503, b"")),
            2 => {
                // It heard all, and its answer is lost. A list is given out until it is answered.
                if !request.target.contains("/getrequest") {
                    server.answer(request);
                }
                return Err(Failure::Broken(Cause::Closed, "reset".into()));
            }
            _ => {}
        }
        if let Some((_, status)) =
            server.fails.iter().find(|(part, _)| request.target.contains(part))
        {
            return Ok(says(*status, b""));
        }
        if let Some((_, cause)) =
            server.breaks.iter().find(|(part, _)| request.target.contains(part))
        {
            self.clock.0.set(self.clock.0.get() + server.break_takes);
            return Err(Failure::Broken(*cause, "broken".into()));
        }
        if server.trickles.is_some_and(|name| request.target.contains(name)) {
            self.clock.0.set(self.clock.0.get() + Duration::from_secs(5));
            let (from, to) = request.part.map_or((0, 0), |part| (part.from, part.to));
            let mut response = says(206, &vec![7; (to - from + 1) as usize]);
            response.file.range = Some((from, to, 15 << 20));
            return Ok(response);
        }
        let (status, body) = server.answer(request);
        let mut response = says(status, &body);
        let (clock, takes) = (Rc::clone(&self.clock), server.body_takes);
        response.body = Box::new(SlowBody { body: response.body, clock, takes });
        response.date = server
            .utc_at_boot
            .map(|utc| DateHeader { text: String::new(), at: Ok(utc + now.as_secs() as i64) });
        Ok(response)
    }
}

pub(super) fn says(status: u16, body: &[u8]) -> Response {
    let mut response = Response {
        status,
        date: None,
        retry_after: None,
        took: Duration::from_millis(20),
        path: String::new(),
        redirect: None,
        coding: None,
        proxy: None,
        was_repeated: false,
        secrets: [].into(),
        framed: true,
        file: Default::default(),
        body: Box::new(Cursor::new(body.to_vec())),
        reads: ReadLimit::default(),
    };
    response.file.length = Some(body.len() as u64);
    response
}

const OPTIONS: &str = "GET OPTION FROM: MADE0001\nATTLOGStamp=None\nErrorDelay=1\nDelay=1\n\
     TransFlag=1111111111\nTimeZone=0\nRealtime=1\nPushProtVer=2.4.1\n";

impl Server {
    /// What goes wrong with a request; a high number for nothing.
    fn fault(&mut self) -> u64 {
        match self.random.as_mut() {
            Some(random) if self.unreliable > 0 => random.below(self.unreliable * 3),
            _ => u64::MAX,
        }
    }

    fn answer(&mut self, request: &Request<'_>) -> (u16, Vec<u8>) {
        let target = request.target;
        if target.contains("options=all") {
            return (200, format!("{OPTIONS}{}", self.options).into());
        }
        if target.contains("/getrequest") {
            return (200, self.lists.pop_front().unwrap_or_else(|| "OK".into()).into());
        }
        if let Some((_, name)) = self.files.iter().find_map(|(name, content)| {
            target.contains(name.as_str()).then(|| (content.clone(), name.clone()))
        }) {
            return match self.failures.get_mut(&name) {
                Some(left @ 1..) => {
                    *left -= 1;
                    (503, Vec::new())
                }
                _ => (200, self.files[&name].clone()),
            };
        }
        let body = request.body.map_or(Vec::new(), |body| body.whole());
        if target.contains("/devicecmd") {
            self.take_replies(&body);
        } else if let Some(id) = part(target, "CmdId=") {
            let pack = part(target, "PackIdx=").unwrap().parse().unwrap();
            let text = String::from_utf8(body.clone()).unwrap();
            let packs = self.rows.entry(id.into()).or_default();
            // A pack that comes again has the same bytes.
            let before = packs.insert(pack, text.clone());
            assert!(before.is_none_or(|before| before == text), "{target}: {text}");
        }
        let rows = body.iter().filter(|byte| **byte == b'\n').count();
        (200, format!("OK:{rows}").into_bytes())
    }

    fn take_replies(&mut self, body: &[u8]) {
        for (id, code, content) in replies(body) {
            let new = (code, content);
            let known = self.answers.entry(id.clone()).or_insert_with(|| new.clone());
            assert_eq!(known.0, new.0, "{id} was answered with two codes");
        }
    }
}

/// The replies in a body: the id, the code and the content of each.
pub(super) fn replies(body: &[u8]) -> Vec<(String, String, Vec<u8>)> {
    let text = String::from_utf8_lossy(body);
    if text.starts_with("ID=") && text.contains("\nReturn=") {
        // The form of several lines: one reply.
        let line = |key: &str| {
            text.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default().to_owned()
        };
        let content = text.split_once("Content=").map_or("", |(_, content)| content);
        let content = content.trim_start_matches('\n').as_bytes().to_vec();
        return vec![(line("ID="), line("Return="), content)];
    }
    let reply = |line| Some((part(line, "ID=")?.to_owned(), part(line, "Return=")?.to_owned()));
    let found = text.lines().filter_map(reply);
    found.map(|(id, code)| (id, code, Vec::new())).collect()
}

/// A value of a query string or of a reply.
fn part<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.split(['?', '&']).find_map(|part| part.strip_prefix(key))
}

/// Programs that write a text to a file after a time: `echo TEXT > PATH`.
pub(super) struct VirtualDevice {
    pub(super) clock: Rc<dyn Clock>,
    pub(super) programs: Rc<RefCell<BTreeMap<i64, Program>>>,
    /// What drivers are asked for: they answer after a moment.
    pub(super) requests: Rc<RefCell<BTreeMap<i64, Asked>>>,
    /// When it was asked to reboot, and when drivers were asked for something.
    pub(super) acts: Rc<RefCell<Vec<Act>>>,
    /// The file of the store.
    pub(super) store: PathBuf,
    pub(super) images: Images,
    /// The programs that were started, by their lines.
    pub(super) started: Rc<RefCell<Vec<String>>>,
}

/// Something that the device did.
pub(super) struct Act {
    pub(super) at: Duration,
    pub(super) what: &'static str,
    /// The row of the command for which a driver was asked; 0 for none.
    pub(super) row: i64,
}

/// What a power cut would leave of the store in the middle of each `RELOAD OPTIONS`, if that is wanted.
pub(super) type Images = Rc<RefCell<Option<Vec<PathBuf>>>>;

/// Copies a store that is in use, with its log.
pub(super) fn copy_store(from: &Path, to: &Path) {
    for suffix in ["", "-wal"] {
        let file = |path: &Path| PathBuf::from(format!("{}{suffix}", path.display()));
        match file(from).exists() {
            true => drop(std::fs::copy(file(from), file(to)).unwrap()),
            // A store that was opened and closed since has no log.
            false => drop(std::fs::remove_file(file(to))),
        }
    }
}

pub(super) struct Asked {
    begun: Duration,
    pub(super) ends: Duration,
    answer: Answer,
}

pub(super) struct Program {
    pub(super) ends: Duration,
    line: String,
    has_ended: bool,
}

impl Program {
    /// Ends the program if its time has come.
    pub(super) fn turn(&mut self, now: Duration) {
        if !self.has_ended && self.ends <= now {
            self.has_ended = true;
            let (text, path) = self.line.split_once(" > ").unwrap();
            std::fs::write(path, text.strip_prefix("echo ").unwrap()).unwrap();
        }
    }
}

/// The template of a finger.
fn enrolled(enroll: &Enroll) -> Answer {
    let finger = enroll.sought.number().unwrap();
    let record = format!("PIN={}\tFID={finger}\tSize=4\tValid=1\tTMP={ENROLLED}", enroll.pin);
    let form = TemplateForm::Fingerprint;
    Answer::Templates(vec![Template::parse(form, record.as_bytes(), Language::ENGLISH).unwrap()])
}

impl Device for VirtualDevice {
    fn reload(&mut self) -> Result<(), String> {
        if let Some(images) = &mut *self.images.borrow_mut() {
            let image = self.store.with_extension(format!("image{}", images.len()));
            copy_store(&self.store, &image);
            images.push(image);
        }
        Ok(())
    }
    fn can_reboot(&self) -> bool {
        true
    }
    fn candidate(&self) -> Result<PathBuf, String> {
        Err("nothing is tried before it replaces this program".into())
    }
    fn start_candidate_check(&mut self, _: i64, _: i64) -> Result<(), String> {
        self.candidate().map(drop)
    }
    fn reboot(&mut self) -> Result<(), String> {
        let now = self.clock.monotonic();
        self.acts.borrow_mut().push(Act { at: now, what: "reboot", row: 0 });
        Ok(())
    }
    fn start(&mut self, key: i64, order: &Order) -> Result<(), String> {
        let line = order.argv[2].to_string_lossy().into_owned();
        // As long as its text says.
        let ends = self.clock.monotonic() + Duration::from_millis(line.len() as u64 % 7 * 400);
        self.started.borrow_mut().push(line.clone());
        self.programs.borrow_mut().insert(key, Program { ends, line, has_ended: false });
        Ok(())
    }
    fn is_running(&self, key: i64) -> bool {
        let now = self.clock.monotonic();
        if let Some(asked) = self.requests.borrow().get(&key) {
            return asked.ends > now;
        }
        let mut programs = self.programs.borrow_mut();
        programs.values_mut().for_each(|program| program.turn(now));
        programs.get(&key).is_some_and(|program| !program.has_ended)
    }
    fn ran(&self, key: i64) -> Option<Outcome> {
        let programs = self.programs.borrow();
        let program = programs.get(&key).filter(|program| program.has_ended);
        program.map(|_| Outcome { end: End::Exited(0), output: Vec::new() })
    }
    fn ask(&mut self, key: i64, request: DriverRequest) -> Result<(), Unasked> {
        let now = self.clock.monotonic();
        let (what, answer) = match request {
            DriverRequest::Enroll { enroll, .. } => ("enrolment", enrolled(&enroll)),
            DriverRequest::Unlock | DriverRequest::Unalarm => ("door", Answer::Done),
        };
        self.acts.borrow_mut().push(Act { at: now, what, row: key });
        // It gets the request with the next wait.
        let ends = now + Duration::from_millis(1 + key as u64 % 4 * 100);
        self.requests.borrow_mut().insert(key, Asked { begun: now, ends, answer });
        Ok(())
    }
    fn answered(&self, key: i64) -> Option<Answer> {
        let requests = self.requests.borrow();
        let asked = requests.get(&key).filter(|asked| asked.ends <= self.clock.monotonic());
        asked.map(|asked| asked.answer.clone())
    }
    fn forget(&mut self, key: i64) {
        self.programs.borrow_mut().remove(&key);
        let asked = self.requests.borrow_mut().remove(&key);
        // Drivers get a request with the next wait: one that is withdrawn in the same moment, since it
        // could not be recorded, never was one.
        let now = self.clock.monotonic();
        if asked.is_some_and(|asked| asked.begun == now && asked.ends > now) {
            let mut acts = self.acts.borrow_mut();
            let its = |act: &&mut Act| act.at == now && act.row == key;
            acts.iter_mut().rev().find(its).unwrap().what = "withdrawn";
        }
    }
    fn start_version_check(&mut self, _: i64) -> Result<(), String> {
        Err("not here".into())
    }
    fn restart(&mut self) {}
    fn address(&self) -> IpAddr {
        IpAddr::from([127, 0, 0, 1])
    }
}
