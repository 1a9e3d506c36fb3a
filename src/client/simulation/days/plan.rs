//! What happens in a day: a list of events, made from a seed before the day begins, so that events can be
//! left out of a day that failed.

use std::time::Duration;

use super::super::random::Random;

pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const MINUTE: Duration = Duration::from_secs(60);
pub(super) const HOUR: Duration = Duration::from_secs(3600);

/// How long the plan goes on; then nothing new happens, and nothing fails any more.
pub(super) const DAY: Duration = Duration::from_secs(24 * 3600);

/// A day of a terminal and its server.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) server: Character,
    pub(super) events: Vec<(Duration, Event)>,
}

/// What a server is like, the whole day.
#[derive(Clone, Debug)]
pub(super) struct Character {
    /// `Delay` and `ErrorDelay` in seconds.
    pub(super) delay: u32,
    pub(super) error_delay: u32,
    /// What it says to rows that it took.
    pub(super) says: Says,
    /// Its answers have no length: their end is the end of the connection.
    pub(super) is_unframed: bool,
    /// Its command ids.
    pub(super) ids: Ids,
    /// Most commands in one answer.
    pub(super) most_commands: usize,
    /// Offset of its zone from UTC in hours.
    pub(super) zone: i32,
}

/// What a server says to rows that it took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Says {
    Ok,
    Count,
    /// The count of those that it did not have.
    CountOfNew,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ids {
    /// Numbers that rise.
    Rising,
    /// Words, and a few fixed ones for its buttons.
    Words,
}

/// Something that happens.
#[derive(Clone, Debug)]
pub(super) enum Event {
    /// A driver records so many punches in one transaction.
    Punches(u32),
    Photo,
    Operation,
    /// A driver changes the name of a person.
    Edit(u32),
    /// The server asks for something.
    Command(Ask),
    /// It sends the last answered command once more, by a timer.
    Redeliver,
    /// The next request of this kind meets this; of any kind without one.
    Mishap(Option<Kind>, Mishap),
    /// The server is away.
    Outage(Mishap, Duration),
    /// For so long the server answers so to the punch that is recorded next.
    Poison(Mishap, Duration),
    /// The program dies at the nth look at the clock or statement of the store from now on, or at once (0).
    Crash(u32),
    /// It dies at the nth look after the device did this next.
    CrashAtAct(&'static str, u32),
    /// It is stopped and started.
    Restart,
    /// The power fails, and comes back after so long. `true`: the clock shows 1970 then.
    PowerCut(Duration, bool),
    /// The terminal's wall clock is moved by so many seconds.
    Clock(i64),
    /// The server's zone changes by so many hours.
    Zone(i32),
    /// The server does not know the terminal any more.
    Forget,
    /// The server has lost all rows, and asks for them by a stamp of 0.
    Lose,
    /// The server is copied, with its rows and its stamp.
    Backup,
    /// It is set back to its last copy, and asks from the stamp of it on.
    Restore,
    /// The server's command ids begin anew.
    IdsBegin,
    /// A link comes up.
    Link,
    /// The disk is full for so long.
    Full(Duration),
}

/// What a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Handshake,
    Poll,
    Punches,
    Rows,
    Reply,
    Query,
    File,
    Other,
}

/// What goes wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mishap {
    /// There is no connection.
    Refused,
    /// The connection is reset inside the request.
    CutRequest,
    /// The server heard all, and the connection is closed without an answer.
    LostAnswer,
    /// The answer breaks off after so many thousandths of its body.
    CutAnswer(u64),
    /// No answer in time. `true`: the server heard all.
    TimeOut(bool),
    /// A status and nothing else. `true`: the server took the request all the same.
    Status(u16, bool),
    /// A web page.
    Page,
    /// Nothing with a status of 200.
    Empty,
    /// Words that are not OK.
    Words,
    /// The server takes so many thousandths of the rows, and says so.
    Short(u64),
    /// A kept connection was closed after the server heard the request, which went once more.
    Twice,
    /// 503 with `Retry-After`.
    Later(u32),
    /// The server holds a poll for so many seconds.
    Hold(u32),
    /// Each part of a file takes so many milliseconds.
    Slow(u32),
}

/// What the server asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    Name(u32),
    Delete(u32),
    Shell,
    Unlock,
    Button,
    Reboot,
    Check,
    Log,
    Info,
    ClearLog,
    QueryLog,
    QueryUsers,
    GetFile,
    PutFile,
    Unknown,
    Option,
    Enroll(u32),
}

/// Most punches that a small terminal keeps: the server has many that it deletes.
const FEW_PUNCHES: u64 = 150;

impl Plan {
    /// Most punches that the terminal keeps: few on each seventh day.
    pub(super) fn most_punches(&self) -> Option<u64> {
        (self.seed % 7 == 5).then_some(FEW_PUNCHES)
    }

    /// The day of a seed.
    pub(super) fn of(seed: u64) -> Self {
        let mut random = Random::new(seed ^ 0x5EED);
        let server = Character::of(&mut random);
        let mut events = Vec::new();
        let mut add = |random: &mut Random, event| events.push((some_time(random), event));
        // Punches, single ones and crowds: 300 at least.
        let mut punches = 0;
        while punches < 450 {
            let count =
                if random.below(25) == 0 { 20 + random.below(40) } else { 1 + random.below(3) };
            punches += count;
            add(&mut random, Event::Punches(count as u32));
        }
        for _ in 0..65 + random.below(20) {
            let ask = Ask::of(&mut random);
            add(&mut random, Event::Command(ask));
        }
        for _ in 0..random.below(12) {
            add(&mut random, Event::Photo);
            add(&mut random, Event::Operation);
            let pin = random.below(4) as u32;
            add(&mut random, Event::Edit(pin));
            add(&mut random, Event::Redeliver);
        }
        for _ in 0..14 + random.below(30) {
            let mishap = Mishap::of(&mut random);
            let kind = Kind::of(&mut random);
            add(&mut random, Event::Mishap(kind, mishap));
        }
        for _ in 0..1 + random.below(5) {
            let length = [SECOND * 20, MINUTE * 5, MINUTE * 40, HOUR * 3][random.below(4) as usize];
            let length = length / 2 + length.mul_f64(random.below(1000) as f64 / 1000.0);
            let mishap = Mishap::of_outage(&mut random);
            add(&mut random, Event::Outage(mishap, length));
        }
        for _ in 0..random.below(6) {
            let most = [40, 200, 1000][random.below(3) as usize];
            let looks = if random.below(6) == 0 { 0 } else { 1 + random.below(most) as u32 };
            add(&mut random, Event::Crash(looks));
        }
        for _ in 0..random.below(3) {
            add(&mut random, Event::Restart);
        }
        let few = |random: &mut Random| random.below(3) == 0;
        if few(&mut random) {
            let refusal = Mishap::of_poison(&mut random);
            let hours = HOUR * (1 + random.below(20) as u32);
            add(&mut random, Event::Poison(refusal, hours));
        }
        for _ in 0..random.below(3) {
            let off = SECOND * (10 + random.below(3000) as u32);
            let is_unset = random.below(3) > 0;
            add(&mut random, Event::PowerCut(off, is_unset));
        }
        if few(&mut random) {
            let by = [40, -40, 7200, -7200, 90_000, -90_000][random.below(6) as usize];
            add(&mut random, Event::Clock(by));
        }
        if few(&mut random) {
            let by = if random.below(2) == 0 { 1 } else { -1 };
            add(&mut random, Event::Zone(by));
        }
        if few(&mut random) {
            add(&mut random, Event::Forget);
        }
        if few(&mut random) {
            add(&mut random, Event::Lose);
        }
        if server.ids == Ids::Rising && few(&mut random) {
            add(&mut random, Event::IdsBegin);
        }
        if few(&mut random) {
            add(&mut random, Event::Link);
        }
        if few(&mut random) {
            let length = MINUTE * (1 + random.below(90) as u32);
            add(&mut random, Event::Full(length));
        }
        for _ in 0..[0, 0, 3, 12][random.below(4) as usize] {
            let seconds = 1 + random.below(90) as u32;
            add(&mut random, Event::Mishap(Some(Kind::Poll), Mishap::Hold(seconds)));
        }
        if few(&mut random) {
            let (copied, restored) = (some_time(&mut random) / 2, some_time(&mut random) / 2);
            events.push((copied, Event::Backup));
            events.push((DAY / 2 + restored, Event::Restore));
        }
        // Lists that are cut: where nothing tells the end of an answer, the rest looks like a whole one.
        for _ in 0..if server.is_unframed { 4 } else { 1 } {
            let mishap = Mishap::CutAnswer(random.below(1000));
            events.push((some_time(&mut random), Event::Mishap(Some(Kind::Poll), mishap)));
        }
        events.extend(interrupted(&mut random));
        for _ in 0..1 + random.below(3) {
            let (at, each) = (some_time(&mut random), 50 + random.below(2000) as u32);
            events.push((at, Event::Mishap(Some(Kind::File), Mishap::Slow(each))));
            events.push((at, Event::Command(Ask::PutFile)));
        }
        events.sort_by_key(|(at, _)| *at);
        Self { seed, server, events }
    }
}

fn some_time(random: &mut Random) -> Duration {
    Duration::from_millis(random.below(DAY.as_millis() as u64))
}

/// Commands that the device carries out, each with a crash soon after the device began.
fn interrupted(random: &mut Random) -> Vec<(Duration, Event)> {
    let mut events = Vec::new();
    let enroll = Ask::Enroll(random.below(4) as u32);
    for (act, ask) in [("program", Ask::Shell), ("door", Ask::Unlock), ("enrolment", enroll)] {
        for _ in 0..1 + random.below(2) {
            let (at, looks) = (some_time(random), random.below(40) as u32);
            events.push((at, Event::Command(ask.clone())));
            events.push((at, Event::CrashAtAct(act, looks)));
        }
    }
    events
}

impl Character {
    fn of(random: &mut Random) -> Self {
        Self {
            delay: 55 + random.below(15) as u32,
            error_delay: [10, 30, 60, 120][random.below(4) as usize],
            says: [Says::Ok, Says::Count, Says::Count, Says::CountOfNew][random.below(4) as usize],
            is_unframed: random.below(3) == 0,
            ids: [Ids::Rising, Ids::Rising, Ids::Words][random.below(3) as usize],
            most_commands: 1 + random.below(6) as usize,
            zone: random.below(27) as i32 - 12,
        }
    }
}

impl Ask {
    fn of(random: &mut Random) -> Self {
        let pin = random.below(4) as u32;
        match random.below(30) {
            0..8 => Self::Name(pin),
            8 | 9 => Self::Delete(pin),
            10 | 11 => Self::Shell,
            12..14 => Self::Unlock,
            14..16 => Self::Button,
            16 => Self::Check,
            17 => Self::Log,
            18 => Self::Info,
            19 => Self::ClearLog,
            20 | 21 => Self::QueryLog,
            22 | 23 => Self::QueryUsers,
            24 => Self::GetFile,
            25 => Self::PutFile,
            26 => Self::Unknown,
            27 => Self::Option,
            28 => Self::Enroll(pin),
            _ if random.below(4) == 0 => Self::Reboot,
            _ => Self::Name(pin),
        }
    }
}

impl Kind {
    fn of(random: &mut Random) -> Option<Self> {
        match random.below(10) {
            0 => Some(Self::Handshake),
            1 | 2 => Some(Self::Poll),
            3..6 => Some(Self::Punches),
            6 => Some(Self::Rows),
            7 => Some(Self::Reply),
            8 => Some(Self::Query),
            _ => None,
        }
    }
}

impl Mishap {
    fn of(random: &mut Random) -> Self {
        let share = random.below(1000);
        let status = [500, 502, 503, 504, 404, 408, 413, 429][random.below(8) as usize];
        match random.below(14) {
            0 => Self::Refused,
            1 => Self::CutRequest,
            2 | 3 => Self::LostAnswer,
            4 | 5 => Self::CutAnswer(share),
            6 => Self::TimeOut(random.below(2) == 0),
            7 => Self::Status(status, random.below(2) == 0),
            8 => Self::Page,
            9 => Self::Empty,
            10 => Self::Words,
            11 => Self::Short(share),
            12 => Self::Twice,
            _ => Self::Later(1 + random.below(600) as u32),
        }
    }

    fn of_outage(random: &mut Random) -> Self {
        match random.below(7) {
            0 | 1 => Self::Refused,
            2 => Self::CutRequest,
            3 => Self::LostAnswer,
            4 => Self::TimeOut(false),
            5 => Self::Status(503, false),
            _ => Self::Page,
        }
    }

    fn of_poison(random: &mut Random) -> Self {
        match random.below(6) {
            0 => Self::Status(500, false),
            1 => Self::Status(400, false),
            2 => Self::Words,
            3 => Self::LostAnswer,
            4 => Self::Empty,
            _ => Self::Status(403, false),
        }
    }
}
