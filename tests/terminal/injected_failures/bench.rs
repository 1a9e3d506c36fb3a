//! A traced terminal and its server, which has seen what it sent and says when a phase begins.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::phases::Phase;
use crate::harness::{
    CALLS, Driver, Injection, RawAnswer, RawRequest, RawServer, TIMEOUT, Terminal, Tracer, kept,
    noise, options, replies_in, says,
};

/// Bytes of the files that the server has.
pub const SMALL: usize = 3_000;
pub const LARGE: usize = 600_000;

/// What the server knows.
#[derive(Default)]
pub struct Seen {
    pub polls: u64,
    /// The rows that came of each PIN.
    pub punches: BTreeMap<String, Vec<String>>,
    pub replies: BTreeMap<String, Vec<i64>>,
    /// What is asked for until it is answered.
    pub asked: Option<(String, String)>,
    /// What begins with the next answer to an upload of punches, or to a poll with a command.
    begins: Option<Option<Injection>>,
    /// How often each system call was made when the phase began.
    counts: Vec<u64>,
}

/// A terminal, its tracer and its server.
pub struct Bench {
    pub terminal: Terminal,
    pub tracer: Arc<Tracer>,
    pub seen: Arc<Mutex<Seen>>,
    /// PINs of punches that were acknowledged to the driver; that were refused; that got no answer.
    pub acknowledged: BTreeSet<String>,
    pub refused: BTreeSet<String>,
    /// Numbers of PINs and commands.
    next: u64,
    _server: RawServer,
}

impl Bench {
    /// A terminal that does not run yet. `None` where none can be traced.
    pub fn prepare() -> Option<Self> {
        let terminal = Terminal::prepare("http://127.0.0.1:9", "");
        let tracer = Arc::new(Tracer::of(&terminal)?);
        let seen = Arc::new(Mutex::new(Seen::default()));
        let server = serve(Arc::clone(&seen), Arc::clone(&tracer));
        let files = terminal.path("files");
        fs::create_dir(&files).unwrap();
        let more = format!(
            "[commands]\nshell = \"allow\"\nput_dirs = [{files:?}]\n[limits]\nstart_spread = 0\n\
             on_damage = \"set-aside\"\n[timeouts]\nretry = 1\nanswer = 5\n"
        );
        terminal.configure(&server.url(), &more);
        Some(Self {
            terminal,
            tracer,
            seen,
            acknowledged: BTreeSet::new(),
            refused: BTreeSet::new(),
            next: 500_000,
            _server: server,
        })
    }

    /// One that runs and has polled.
    pub fn start() -> Option<Self> {
        let mut bench = Self::prepare()?;
        bench.run().unwrap();
        bench.until_polled().unwrap();
        Some(bench)
    }

    /// A number that was not used yet.
    pub fn number(&mut self) -> String {
        self.next += 1;
        self.next.to_string()
    }

    /// The number that was used last.
    pub fn last_number(&self) -> String {
        self.next.to_string()
    }

    /// What a driver is told of the terminal; `None` if it is not answered.
    pub fn status(&self) -> Option<Value> {
        let mut driver = Driver::try_connect(&self.terminal.path("run/driver.sock"))?;
        driver.try_call("status", &json!({}))?.ok()
    }

    /// Starts the program.
    pub fn run(&mut self) -> Result<(), ExitStatus> {
        self.terminal.try_run_as(Tracer::command(&self.terminal))
    }

    /// What the server knows.
    pub fn seen<R>(&self, read: impl FnOnce(&mut Seen) -> R) -> R {
        read(&mut self.seen.lock().unwrap())
    }

    /// The phase begins now. An injection of `None` fails nothing, and only counts.
    pub fn begin(&self, injection: Option<Injection>) {
        self.seen(|seen| seen.begin(&self.tracer, injection));
    }

    /// The phase begins with the next answer to an upload, or to a poll with a command.
    pub fn begin_with_answer(&self, injection: Option<Injection>) {
        self.seen(|seen| seen.begins = Some(injection));
    }

    /// The phase has ended: how often each system call was made in it.
    pub fn end(&self) -> Vec<u64> {
        self.tracer.disarm();
        let (before, after) = (self.seen(|seen| seen.counts.clone()), self.tracer.counts());
        (0..CALLS).map(|call| after[call] - before.get(call).copied().unwrap_or(0)).collect()
    }

    /// Waits until it is so, or the program has ended; says which by `false`.
    pub fn until(
        &mut self,
        what: &str,
        mut is_so: impl FnMut(&Self) -> bool,
    ) -> Result<bool, String> {
        let limit = Instant::now() + TIMEOUT;
        while !is_so(self) {
            if self.terminal.has_ended() {
                return Ok(false);
            }
            if Instant::now() > limit {
                return Err(format!("hung: never {what}"));
            }
            std::thread::sleep(Duration::from_millis(3));
        }
        Ok(true)
    }

    /// Waits until a poll has begun after this, or the program has ended.
    pub fn until_polled(&mut self) -> Result<bool, String> {
        let polls = self.seen(|seen| seen.polls);
        self.until("polled", |bench| bench.seen(|seen| seen.polls > polls))
    }

    /// The program ended in the phase: starts it again, without a failure.
    pub fn restart(&mut self) -> Result<(), String> {
        self.run().map_err(|status| format!("does not start again: {status}"))
    }

    /// Stops the program, and removes what it keeps.
    pub fn clear(&mut self) {
        for name in ["punchd.db", "punchd.db-wal", "punchd.db.marker", "punchd.db.notice"] {
            let _ = fs::remove_file(self.terminal.path(name));
        }
        self.acknowledged.clear();
        self.refused.clear();
        self.seen(|seen| seen.punches.clear());
    }
}

impl Seen {
    /// Whether a phase is to begin with an answer that was not sent yet.
    pub fn is_awaited(&self) -> bool {
        self.begins.is_some()
    }

    fn begin(&mut self, tracer: &Tracer, injection: Option<Injection>) {
        self.counts = tracer.counts();
        match injection {
            Some(injection) => tracer.arm(injection),
            None => tracer.disarm(),
        }
    }

    /// The answer to a request.
    fn answer(&mut self, request: &RawRequest, tracer: &Tracer) -> RawAnswer {
        if request.is_handshake() {
            return kept(options(""));
        }
        if request.is_poll() {
            self.polls += 1;
            let Some((id, text)) = &self.asked else { return kept(says(200, "OK")) };
            let answer = kept(says(200, format!("C:{id}:{text}\n")));
            if let Some(injection) = self.begins.take() {
                self.begin(tracer, injection);
            }
            return answer;
        }
        for (id, codes) in replies_in(std::slice::from_ref(request)) {
            self.asked.take_if(|(asked, _)| *asked == id);
            self.replies.entry(id).or_default().extend(codes);
        }
        if request.target.ends_with("small.bin") {
            return part(&noise(SMALL), request.range);
        }
        if request.target.ends_with("large.bin") {
            return part(&noise(LARGE), request.range);
        }
        if request.is_upload("ATTLOG") {
            for row in request.lines() {
                let pin = row.split('\t').next().unwrap_or_default().to_owned();
                self.punches.entry(pin).or_default().push(row);
            }
            if let Some(injection) = self.begins.take() {
                self.begin(tracer, injection);
            }
        }
        match request.method.as_str() {
            "POST" if request.target.contains("/cdata") => {
                kept(says(200, format!("OK:{}", request.lines().len())))
            }
            _ => kept(says(200, "OK")),
        }
    }
}

fn serve(seen: Arc<Mutex<Seen>>, tracer: Arc<Tracer>) -> RawServer {
    RawServer::start(move |request| seen.lock().unwrap().answer(request, &tracer))
}

/// A part of a file, or all of it.
fn part(file: &[u8], range: Option<(usize, usize)>) -> RawAnswer {
    let Some((first, last)) = range else { return RawAnswer::Bytes(file.to_vec()) };
    let bytes = &file[first.min(file.len())..(last + 1).min(file.len())];
    let head = format!(
        "HTTP/1.1 206 X\r\nContent-Length: {}\r\nContent-Range: bytes {first}-{}/{}\r\n\
         ETag: \"a\"\r\nConnection: close\r\n\r\n",
        bytes.len(),
        first + bytes.len().max(1) - 1,
        file.len()
    );
    RawAnswer::Exactly([head.as_bytes(), bytes].concat())
}

impl Bench {
    /// What the program said last, when it ended by itself; else the last line of its log.
    pub fn last_message(&self) -> String {
        let log = self.terminal.log();
        let message = log.rsplit_once("punchd: ").map(|(_, message)| message.replace('\n', " "));
        let line = log.lines().last().unwrap_or_default();
        message.filter(|message| message.contains(line.trim())).unwrap_or_else(|| line.to_owned())
    }

    /// Brings the terminal into the state in which a phase begins.
    pub fn prepare_for(&mut self, phase: Phase) -> Result<(), String> {
        match phase {
            Phase::Recovery => self.terminal.kill(),
            _ if phase.is_start() && self.terminal.stop() != 0 => {
                return Err("TERM does not end it with 0".into());
            }
            _ => {}
        }
        if matches!(phase, Phase::FirstStart | Phase::Migration) {
            self.clear();
        }
        Ok(())
    }
}
