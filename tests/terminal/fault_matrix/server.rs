//! A server that knows the document and nothing else. It is a good server, but for a fault at the requests
//! of one kind, from a moment on until it is well again.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use rustix::net::sockopt::{set_socket_linger, set_socket_reuseaddr};
use rustix::net::{
    AddressFamily, SocketFlags, SocketType, bind, connect, getsockname, listen, socket_with,
};

use super::faults::Fault;
use crate::harness::until;

/// The kinds of requests of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// §6.
    Handshake,
    /// Punches (§11.2).
    Upload,
    /// For commands (§12).
    Poll,
    /// The results of commands (§13).
    Reply,
    /// A picture that a command names (§12.2.8).
    Download,
    /// The rows of `DATA QUERY` (§12.4).
    Query,
    /// What else goes up.
    Other,
}

impl Kind {
    /// Those of which each meets each fault.
    pub const ALL: [Self; 6] =
        [Self::Handshake, Self::Upload, Self::Poll, Self::Reply, Self::Download, Self::Query];

    fn of(method: &str, target: &str) -> Self {
        match target {
            _ if target.contains("options=all") => Self::Handshake,
            _ if target.contains("/getrequest") => Self::Poll,
            _ if target.contains("/devicecmd") => Self::Reply,
            _ if target.contains(PICTURE) => Self::Download,
            _ if target.contains("CmdId=") || target.contains("cmdid=") => Self::Query,
            _ if method == "POST" && target.contains("table=ATTLOG") => Self::Upload,
            _ => Self::Other,
        }
    }
}

/// What servers in use say behind `OK`.
const MORE: &str = "POST from: MADE0001\n";
/// The picture that can be had.
pub const PICTURE: &str = "face.jpg";

/// On which connection a request meets the fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// A new one: the server closes after each answer.
    First,
    /// One that was kept, and from then on any.
    Kept,
    /// One that was kept, and none that is new.
    OnlyKept,
    /// One that was kept, and the next one, which is new: a proxy that closes every second connection.
    KeptAndNext,
}

/// A request that came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub kind: Kind,
    pub at: Instant,
    pub body: Vec<u8>,
    /// It was answered well, and the answer was sent.
    pub is_taken: bool,
}

/// What the server does.
struct Script {
    kind: Kind,
    fault: Fault,
    on: On,
    phase: Phase,
    /// The list of commands: id and text.
    commands: Vec<(String, String)>,
    /// Nothing is known of the terminal: the next poll is refused.
    forgets: bool,
    error_delay: u32,
    /// What is answered in place of a good answer counts as much.
    counts: bool,
    bait: String,
    picture: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Good,
    /// The fault begins at the next request of the kind, or, if it is one of connections, when commands
    /// were given.
    Armed,
    /// The fault was met.
    Faulty,
    Well,
}

struct Shared {
    port: Port,
    script: Mutex<Script>,
    seen: Mutex<Vec<Seen>>,
    door: Mutex<Door>,
    streams: Mutex<Vec<TcpStream>>,
}

/// How connections are met.
enum Door {
    Open(TcpListener),
    Shut,
    /// A listener that accepts nothing, and what fills its queue.
    Full {
        _sockets: Vec<OwnedFd>,
    },
    /// Each is reset.
    Resets(TcpListener),
    Over,
}

pub struct FaultServer {
    shared: Arc<Shared>,
}

/// A port that no other program gets while nobody listens there.
struct Port {
    address: SocketAddr,
    reserved: OwnedFd,
}

impl Port {
    fn new() -> Self {
        let reserved = Self::socket(SocketFlags::empty());
        bind(&reserved, &SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = SocketAddr::try_from(getsockname(&reserved).unwrap()).unwrap();
        Self { address, reserved }
    }

    /// A socket that listens, with room for so many connections that are not accepted.
    fn listen(&self, backlog: i32) -> OwnedFd {
        let listening = Self::socket(SocketFlags::empty());
        set_socket_reuseaddr(&listening, true).unwrap();
        set_socket_reuseaddr(&self.reserved, true).unwrap();
        // A process that is being started may hold the listener before, until it is another program.
        let bound = || bind(&listening, &self.address).is_ok();
        until("bound", bound, || self.address.to_string());
        listen(&listening, backlog).unwrap();
        set_socket_reuseaddr(&self.reserved, false).unwrap();
        listening
    }

    /// No other program inherits it.
    fn socket(flags: SocketFlags) -> OwnedFd {
        let flags = flags | SocketFlags::CLOEXEC;
        socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).unwrap()
    }

    fn listener(&self) -> TcpListener {
        let listener = TcpListener::from(self.listen(128));
        listener.set_nonblocking(true).unwrap();
        listener
    }

    /// A listener whose queue is full: the kernel drops what comes.
    fn full(&self) -> Door {
        let mut sockets = vec![self.listen(0)];
        for _ in 0..2 {
            let filling = Self::socket(SocketFlags::NONBLOCK);
            let _ = connect(&filling, &self.address);
            sockets.push(filling);
        }
        Door::Full { _sockets: sockets }
    }
}

impl FaultServer {
    pub fn start(kind: Kind, fault: Fault, on: On, counts: bool, picture: Vec<u8>) -> Self {
        let port = Port::new();
        // Where nothing but an answer of the same request is to help, no second attempt comes in time.
        let error_delay = if matches!(on, On::OnlyKept | On::KeptAndNext) { 3600 } else { 1 };
        let (phase, commands, bait) = (Phase::Good, Vec::new(), String::new());
        let forgets = false;
        let script = Script {
            kind,
            fault,
            on,
            phase,
            commands,
            forgets,
            error_delay,
            counts,
            bait,
            picture,
        };
        let shared = Arc::new(Shared {
            door: Mutex::new(Door::Open(port.listener())),
            port,
            script: Mutex::new(script),
            seen: Mutex::default(),
            streams: Mutex::default(),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || while accept(&accepting) {});
        Self { shared }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.shared.port.address)
    }

    /// The line that nobody may carry out.
    pub fn set_bait(&self, bait: String) {
        self.script().bait = bait;
    }

    /// The fault begins: at the next request of its kind, or now, if it is one of connections and no
    /// commands are needed for a request of the kind.
    pub fn arm(&self) {
        let mut script = self.script();
        script.phase = Phase::Armed;
        let needs_commands = matches!(script.kind, Kind::Reply | Kind::Download | Kind::Query);
        if script.fault.is_of_connections() && !needs_commands {
            self.shared.close_door(&mut script);
        }
    }

    /// Gives out these commands, each until its reply is taken.
    pub fn give(&self, commands: &[(&str, String)]) {
        let commands = commands.iter().map(|(id, text)| ((*id).to_owned(), text.clone()));
        self.script().commands.extend(commands);
    }

    /// The next poll is refused: the server does not know the terminal.
    pub fn forget(&self) {
        self.script().forgets = true;
    }

    /// The server is a good one from now on.
    pub fn heal(&self) {
        let mut script = self.script();
        script.phase = Phase::Well;
        let mut door = self.shared.door.lock().unwrap();
        if !matches!(*door, Door::Open(_)) {
            *door = Door::Shut;
            *door = Door::Open(self.shared.port.listener());
        }
    }

    /// Every request so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// Those of a kind.
    pub fn seen_of(&self, kind: Kind) -> Vec<Seen> {
        self.seen().into_iter().filter(|seen| seen.kind == kind).collect()
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.shared.script.lock().unwrap()
    }
}

impl Drop for FaultServer {
    fn drop(&mut self) {
        *self.shared.door.lock().unwrap() = Door::Over;
        self.shared.reset_all();
    }
}

/// Accepts what comes; whether it goes on.
fn accept(shared: &Arc<Shared>) -> bool {
    let accepted = match &*shared.door.lock().unwrap() {
        Door::Over => return false,
        Door::Open(listener) => listener.accept().ok().map(|(stream, _)| (stream, false)),
        Door::Resets(listener) => listener.accept().ok().map(|(stream, _)| (stream, true)),
        Door::Shut | Door::Full { .. } => None,
    };
    match accepted {
        None => std::thread::sleep(Duration::from_millis(5)),
        Some((stream, true)) => set_socket_linger(&stream, Some(Duration::ZERO)).unwrap(),
        Some((stream, false)) => {
            stream.set_nonblocking(false).unwrap();
            shared.streams.lock().unwrap().push(stream.try_clone().unwrap());
            let shared = Arc::clone(shared);
            std::thread::spawn(move || serve(&shared, &stream));
        }
    }
    true
}

impl Shared {
    /// A fault of connections begins.
    fn close_door(&self, script: &mut Script) {
        script.phase = Phase::Faulty;
        if script.on == On::OnlyKept {
            return self.reset_all();
        }
        let mut door = self.door.lock().unwrap();
        *door = Door::Shut;
        match script.fault {
            Fault::BlackHole => *door = self.port.full(),
            Fault::ResetBefore => *door = Door::Resets(self.port.listener()),
            _ => {}
        }
        drop(door);
        self.reset_all();
    }

    /// Every connection is reset; the thread that serves it wakes, and drops it.
    fn reset_all(&self) {
        for stream in self.streams.lock().unwrap().drain(..) {
            let _ = set_socket_linger(&stream, Some(Duration::ZERO));
            let _ = stream.shutdown(std::net::Shutdown::Read);
        }
    }
}

/// Serves one connection to its end.
fn serve(shared: &Shared, stream: &TcpStream) {
    let mut reader = BufReader::new(stream);
    let mut nth = 1;
    while serve_one(shared, stream, &mut reader, nth).unwrap_or(false) {
        nth += 1;
    }
    // What resets it is its last end: the other is in the list.
    let peer = stream.peer_addr().ok();
    shared.streams.lock().unwrap().retain(|other| other.peer_addr().ok() != peer);
}

/// What is done with a request.
enum Deed {
    Good(Vec<u8>),
    Refuse,
    Fault(Fault, Vec<u8>, String),
}

fn serve_one(
    shared: &Shared,
    stream: &TcpStream,
    reader: &mut BufReader<&TcpStream>,
    nth: usize,
) -> Option<bool> {
    let mut first = String::new();
    reader.read_line(&mut first).ok().filter(|bytes| *bytes > 0)?;
    let mut words = first.split(' ').map(str::to_owned);
    let (method, target) = (words.next()?, words.next()?);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|bytes| *bytes > 0)?;
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let kind = Kind::of(&method, &target);
    let (is_met, fault, keeps, counts) = {
        let mut script = shared.script.lock().unwrap();
        let may_be = match (script.phase, script.on) {
            (Phase::Armed, On::First) | (Phase::Faulty, On::First | On::Kept) => true,
            (Phase::Faulty, On::KeptAndNext) => true,
            (Phase::Armed | Phase::Faulty, _) => nth > 1,
            _ => false,
        };
        let is_met = may_be && kind == script.kind && !script.fault.is_of_connections();
        if is_met {
            let is_last = script.on == On::KeptAndNext && script.phase == Phase::Faulty;
            script.phase = if is_last { Phase::Well } else { Phase::Faulty };
        }
        (is_met, script.fault, script.on != On::First, script.counts)
    };
    let mut body = vec![0; length];
    if !(is_met && fault.leaves_request()) {
        reader.read_exact(&mut body).ok()?;
    }
    let deed = shared.deed(kind, &body, is_met);
    let is_taken = matches!(deed, Deed::Good(_));
    let note = |is_taken| {
        shared.seen.lock().unwrap().push(Seen { kind, at: Instant::now(), body, is_taken });
    };
    match deed {
        Deed::Fault(fault, good, bait) => {
            note(counts);
            Some(fault.play(stream, &good, &bait, keeps))
        }
        Deed::Refuse => {
            note(false);
            Some(answer(stream, "401 X", b"", keeps))
        }
        Deed::Good(body) => {
            note(is_taken);
            Some(answer(stream, "200 OK", &body, keeps))
        }
    }
}

fn answer(mut stream: &TcpStream, status: &str, body: &[u8], keeps: bool) -> bool {
    let close = if keeps { "" } else { "Connection: close\r\n" };
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{close}\r\n", body.len());
    stream.write_all(&[head.as_bytes(), body].concat()).is_ok() && keeps
}

impl Shared {
    fn deed(&self, kind: Kind, body: &[u8], is_met: bool) -> Deed {
        let mut script = self.script.lock().unwrap();
        let text = String::from_utf8_lossy(body).into_owned();
        let good = match kind {
            Kind::Handshake => options(script.error_delay).into_bytes(),
            Kind::Download => script.picture.clone(),
            Kind::Poll if script.commands.is_empty() => b"OK".to_vec(),
            Kind::Poll => {
                let line = |(id, text): &(String, String)| format!("C:{id}:{text}\n");
                script.commands.iter().map(line).collect::<String>().into_bytes()
            }
            Kind::Upload | Kind::Query => {
                format!("OK:{}\n{MORE}", text.lines().count()).into_bytes()
            }
            Kind::Reply | Kind::Other => format!("OK\n{MORE}").into_bytes(),
        };
        if is_met && !script.counts {
            return Deed::Fault(script.fault, good, script.bait.clone());
        }
        match kind {
            Kind::Poll if std::mem::take(&mut script.forgets) => return Deed::Refuse,
            Kind::Poll
                if !script.commands.is_empty()
                    && script.phase == Phase::Armed
                    && script.fault.is_of_connections() =>
            {
                self.close_door(&mut script);
            }
            Kind::Reply => {
                let answered =
                    |id: &str| text.split(['\n', '&']).any(|part| part == format!("ID={id}"));
                script.commands.retain(|(id, _)| !answered(id));
            }
            _ => {}
        }
        if is_met {
            return Deed::Fault(script.fault, good, script.bait.clone());
        }
        Deed::Good(good)
    }
}

fn options(error_delay: u32) -> String {
    format!(
        "GET OPTION FROM: MADE0001\nATTLOGStamp=None\nOPERLOGStamp=None\nATTPHOTOStamp=None\n\
         TransTimes=00:00\nTransInterval=1\nTransFlag=1111111111\nTimeZone=0\nRealtime=1\n\
         Encrypt=0\nServerVer=2.4.1\nPushProtVer=2.4.1\nDelay=1\nErrorDelay={error_delay}\n"
    )
}
