//! The server's mind: one request in, one answer out. Nothing here reads, writes or waits.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::net::TcpStream;
use std::time::{Duration, SystemTime};

use crate::act::{Act, SealFault};
use crate::answer::{Answer, Delivery};
use crate::command::Commands;
use crate::deviation::{Deviation, Flaw, Flaws, Kind};
use crate::exchange::Exchange;
use crate::fault::Faults;
use crate::file;
use crate::http::{Head, Request};
use crate::query::Packs;
use crate::received::{Received, Seen};
use crate::record::attlog;
use crate::session::Session;
use crate::settings::{DateField, Settings};
use crate::text::Charset;

/// All an emulator knows.
pub(crate) struct State {
    pub settings: Settings,
    pub options: Vec<(String, String)>,
    pub removed_options: Vec<String>,
    pub date: DateField,
    /// Seconds its clock is ahead.
    pub clock_offset: i64,
    /// The time its clock stands at, in unix seconds.
    pub clock_fixed: Option<u64>,
    pub sessions: HashMap<String, Session>,
    pub commands: Commands,
    pub faults: Faults,
    pub received: Received,
    pub allowed: HashSet<Kind>,
    pub queries: HashMap<(String, String), Packs>,
    pub files: BTreeMap<String, file::Offered>,
    pub remote_users: HashMap<String, String>,
    pub verify_answer: String,
    pub next_handshakes: VecDeque<Vec<u8>>,
    pub next_polls: VecDeque<Vec<u8>>,
    /// The connections that are open.
    pub open: HashMap<u64, TcpStream>,
    /// How many connections there were.
    pub connections: u64,
    /// How often stalled requests were released.
    pub released: u64,
    /// The server plays dead, or is.
    pub down: bool,
    /// Another number after each change.
    pub revision: u64,
}

/// Where a request came from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer {
    pub connection: u64,
    pub port: u16,
}

impl State {
    pub(crate) fn new(settings: Settings) -> State {
        State {
            options: settings.options.clone(),
            settings,
            removed_options: Vec::new(),
            date: DateField::default(),
            clock_offset: 0,
            clock_fixed: None,
            sessions: HashMap::new(),
            commands: Commands::default(),
            faults: Faults::default(),
            received: Received::default(),
            allowed: HashSet::new(),
            queries: HashMap::new(),
            files: BTreeMap::new(),
            remote_users: HashMap::new(),
            verify_answer: "OK".to_owned(),
            next_handshakes: VecDeque::new(),
            next_polls: VecDeque::new(),
            open: HashMap::new(),
            connections: 0,
            released: 0,
            down: false,
            revision: 0,
        }
    }

    /// Forgets what came in, what was queued and armed. What was set or agreed upon stays.
    pub(crate) fn reset(&mut self) {
        self.sessions.values_mut().for_each(Session::forget_stamps);
        self.commands = Commands::default();
        self.faults.clear();
        self.received = Received::default();
        self.queries.clear();
        self.next_handshakes.clear();
        self.next_polls.clear();
    }

    /// The time on its clock, in unix seconds.
    pub(crate) fn clock(&self) -> u64 {
        let now = self.clock_fixed.unwrap_or_else(|| unix_time().as_secs());
        now.saturating_add_signed(self.clock_offset)
    }

    /// The Date fields of the next answer.
    pub(crate) fn dates(&self) -> Vec<String> {
        let date = |seconds: u64| {
            httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
        };
        match self.date {
            DateField::Once => vec![date(self.clock())],
            DateField::Omitted => Vec::new(),
            DateField::Doubled => vec![date(self.clock()), date(self.clock() + 3600)],
        }
    }

    /// A line for the log.
    pub(crate) fn note(&self, line: &str) {
        if let Some(log) = &self.settings.log {
            log(line);
        }
    }

    /// Serves a request that was read.
    pub(crate) fn receive(&mut self, request: &Request, peer: Peer) -> Delivery {
        let exchange = Exchange::of(&request.head.method, &request.path, &request.query);
        let (mut request, mut flaws) = (request.clone(), request.flaws.clone());
        let sealed = self.unseal(&mut request, &mut flaws);
        let request = &request;
        let act = self.faults.at_request(&exchange.to_string(), &request.body);
        let (sealed, refusal) = match sealed {
            Ok(_) if act == Some(Act::Seal { how: SealFault::Lost }) => {
                self.forget_keys();
                (None, Some(Answer::of(409, "no keys")))
            }
            Ok(sealed) => (sealed, None),
            Err(refusal) => (None, Some(refusal)),
        };
        let arrives = !act.as_ref().is_some_and(Act::cuts);
        let mut answer = match act.as_ref().and_then(Act::instead) {
            Some(answer) => {
                self.commands.know(&String::from_utf8_lossy(&answer.body));
                answer
            }
            None if refusal.is_some() => refusal.unwrap_or_default(),
            None => self.serve(request, &exchange, arrives, &mut flaws),
        };
        if let Some(act) = &act {
            act.reword(&mut answer);
            self.note(&format!("fault {act:?} for {exchange}"));
        }
        // What a fault says in place of an answer comes from somebody on the way.
        let is_instead = act.as_ref().is_some_and(|act| act.instead().is_some());
        if let Some(sealed) = sealed.filter(|_| !is_instead) {
            sealed.answer(&mut answer, act.as_ref());
        }
        let status = if act.as_ref().is_some_and(Act::silent) { 0 } else { answer.status };
        self.record(&request.head, &exchange, request.body.len(), status, peer);
        self.note_terminal(request, &exchange);
        self.deviate(&request.head, &request.body, flaws.0);
        let close =
            request.head.wants_close() || !self.settings.keep_alive || request.length().is_none();
        Delivery { answer, dates: self.dates(), close, act, released: self.released }
    }

    /// Keeps a request in the list.
    pub(crate) fn record(
        &mut self,
        head: &Head,
        exchange: &Exchange,
        body_length: usize,
        status: u16,
        peer: Peer,
    ) {
        self.received.request_count += 1;
        self.received.take_request(Seen {
            number: self.received.request_count,
            method: head.method.clone(),
            target: head.target.clone(),
            exchange: exchange.to_string(),
            status,
            body_length,
            at_ms: unix_time().as_millis() as u64,
            connection: peer.connection,
            remote_port: peer.port,
        });
    }

    /// Keeps what is wrong with the request last recorded, unless it is allowed.
    pub(crate) fn deviate(&mut self, head: &Head, body: &[u8], flaws: Vec<Flaw>) {
        let mut kept = false;
        for flaw in flaws.into_iter().filter(|flaw| !self.allowed.contains(&flaw.kind)) {
            let of = head.target.replace("/iclock/", "");
            let of = if of.len() > 100 {
                format!("{}…", of.chars().take(100).collect::<String>())
            } else {
                of
            };
            let of = format!("{} {of}", head.method);
            let deviation = Deviation {
                kind: flaw.kind,
                request: self.received.request_count,
                of,
                text: flaw.text,
            };
            self.note(&format!("deviation: {deviation}"));
            self.received.deviations.push(deviation);
            if !kept {
                self.received.keep_bytes(&[&head.raw, body]);
                kept = true;
            }
        }
    }

    fn serve(
        &mut self,
        request: &Request,
        exchange: &Exchange,
        arrives: bool,
        flaws: &mut Flaws,
    ) -> Answer {
        if request.head.method == "POST" && request.length().is_none() {
            return Answer::of(411, "");
        }
        let sn = request.parameter("SN").unwrap_or("").to_owned();
        if exchange.needs_serial() {
            if let Some(refusal) = self.check_serial(&sn, flaws) {
                return refusal;
            }
            if *exchange != Exchange::Handshake
                && !self.sessions.get(&sn).is_some_and(|session| session.established)
            {
                flaws.add(
                    Kind::BeforeHandshake,
                    format!("{exchange} came before {sn} made the initial exchange"),
                );
            }
        }
        match exchange {
            Exchange::Handshake => self.handshake(request, &sn, arrives, flaws),
            Exchange::Poll => self.poll(request, &sn, flaws),
            Exchange::Reply => self.replies(request, &sn, flaws),
            Exchange::Upload(table) => self.upload(request, &sn, table, flaws),
            Exchange::Remote => self.remote(request, flaws),
            Exchange::Verify => self.verify(request, flaws),
            Exchange::Keys => self.keys(request, &sn, flaws),
            Exchange::File(name) => self.file(name, request, flaws),
            Exchange::Unknown => {
                flaws.note([Exchange::unknown(&request.head.method, &request.path)]);
                self.not_found()
            }
        }
    }

    /// When a terminal was last here, and what for.
    fn note_terminal(&mut self, request: &Request, exchange: &Exchange) {
        let sn = request.parameter("SN").unwrap_or("");
        if exchange.needs_serial() && self.knows(sn) {
            self.session(sn).presence.take(request, exchange, unix_time().as_millis() as u64);
        }
    }

    fn knows(&self, sn: &str) -> bool {
        let known = &self.settings.serials;
        !sn.is_empty() && (known.is_empty() || known.iter().any(|known| known == sn))
    }

    fn check_serial(&self, sn: &str, flaws: &mut Flaws) -> Option<Answer> {
        if self.knows(sn) {
            return None;
        }
        match sn {
            "" => flaws.add(Kind::MissingSerial, "there is no SN"),
            _ => flaws.add(Kind::UnknownSerial, format!("the server does not know {sn}")),
        }
        Some(if self.settings.manners.html_on_unknown {
            page()
        } else {
            Answer::ok("UNKNOWN DEVICE")
        })
    }

    /// A user fetched at the keypad (chapter 14).
    fn remote(&mut self, request: &Request, flaws: &mut Flaws) -> Answer {
        let pin = request.parameter("PIN").unwrap_or("");
        flaws.note(crate::text::pin(pin).err());
        Answer::ok(self.remote_users.get(pin).cloned().unwrap_or_else(|| "NONE".to_owned()))
    }

    /// Background verification (§12.11.3): the row of the attempt.
    fn verify(&mut self, request: &Request, flaws: &mut Flaws) -> Answer {
        let row = request.body.strip_suffix(b"\n").unwrap_or(&request.body);
        match Charset::Utf8.decode(row).and_then(|row| attlog::parse(&row)) {
            Ok(punch) => self.received.verifications.push(punch),
            Err(flaw) => flaws.note([flaw.at("the attempt")]),
        }
        Answer::ok(self.verify_answer.clone())
    }

    /// No server in use exchanges keys (chapters 7 and 8).
    fn keys(&mut self, request: &Request, sn: &str, flaws: &mut Flaws) -> Answer {
        if !self.sessions.get(sn).is_some_and(|session| session.terms.encrypted) {
            flaws.add(Kind::UnknownPath, "keys are offered, but the server did not say Encrypt=1");
        }
        if self.settings.exchanges_keys {
            return self.exchange_keys(request, sn, flaws);
        }
        self.not_found()
    }

    fn file(&mut self, name: &str, request: &Request, flaws: &mut Flaws) -> Answer {
        if request.parameter("url").is_some() && request.parameter("SN").is_none_or(str::is_empty) {
            flaws.add(Kind::MissingSerial, "there is no SN");
        }
        let by_end = |path: &str| name == path || name.ends_with(&format!("/{path}"));
        match self.files.iter().find(|(path, _)| by_end(path)) {
            Some((_, offered)) => {
                let answer = file::serve(offered, request);
                self.received.file_bytes += answer.body.len() as u64;
                answer
            }
            None => {
                flaws.note([Exchange::unknown(&request.head.method, &request.path)]);
                self.not_found()
            }
        }
    }

    fn not_found(&self) -> Answer {
        if self.settings.manners.html_on_unknown { page() } else { Answer::of(404, "Not Found") }
    }
}

fn page() -> Answer {
    Answer::ok("<!DOCTYPE html><html><body>Who are you?</body></html>")
        .with("Content-Type", "text/html")
}

pub(crate) fn unix_time() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}
