//! What was promised of each row of a journal, and whether it is kept: rules 1 to 3 of docs/promises.md.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::clock::BUILD_TIME;
use crate::protocol::stream::Stream;
use crate::protocol::time::LocalTime;
use crate::store::{Moment, Seq};

/// Seconds by which a time may be off that was counted back: the clock counts as right within ten.
const COUNTED_BACK: i64 = 13;

/// A row that a driver was told is recorded.
pub(super) struct Row {
    seq: Seq,
    /// The time that it has to carry, if it was known when it was recorded.
    time: Option<String>,
    /// Until its time is known: when it happened in seconds since 1970, by how many seconds that may be off,
    /// and the boot.
    undated: Option<(i64, i64, u32)>,
    /// The bytes of its row, once they were sent.
    bytes: Option<Vec<u8>>,
    state: State,
    recorded: Duration,
    /// How often the server stored it since it lost its rows.
    stored: u32,
    /// The same, when the server was copied.
    backed_up: u32,
    /// It has to be at the server in the end.
    is_owed: bool,
    /// It may be deleted once the server has it: `CLEAR LOG` came after it was recorded.
    may_be_cleared: bool,
    /// The server answers so to any request with it, until then.
    pub(super) is_poison: bool,
}

/// Whether a row waits at the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// No acknowledgement of a request with it reached the terminal.
    Pending,
    /// One did, of a request with it.
    Acknowledged,
    /// One did in part, or the terminal died in that moment: the store shows which.
    Unclear,
    /// The server asked for it again.
    AskedAgain,
}

/// What the terminal heard of an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// All rows are taken.
    All,
    /// Some are, or it may be understood so.
    Some,
    Nothing,
}

/// The server asks for the rows after a number again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Again {
    pub(super) after: Seq,
    /// The terminal must have understood it so.
    pub(super) surely: bool,
}

/// All rows of a journal; the nth has the number n in a field.
pub(super) struct Journal {
    stream: Stream,
    pub(super) rows: Vec<Row>,
    pending: usize,
    unclear: usize,
    /// Acknowledged in the step under way.
    just_now: Vec<usize>,
    pub(super) sent_again: u64,
}

/// What a terminal knows of the time when it sends something.
#[derive(Clone, Copy)]
pub(super) struct Now<'a> {
    pub(super) boot: u32,
    /// By the terminal's clock, in seconds since 1970.
    pub(super) utc: i64,
    /// The zones that the server has named, in hours.
    pub(super) zones: &'a [i32],
}

impl Journal {
    pub(super) fn new(stream: Stream) -> Self {
        Self {
            stream,
            rows: Vec::new(),
            pending: 0,
            unclear: 0,
            just_now: Vec::new(),
            sent_again: 0,
        }
    }

    /// A row was recorded, in truth at `happened`.
    pub(super) fn record(
        &mut self,
        seq: Seq,
        moment: &Moment,
        happened: i64,
        boot: u32,
        now: Duration,
    ) {
        let (time, undated) = match moment {
            Moment::At(time) => (Some(time.to_string()), None),
            Moment::AwaitingZone { utc } => (None, Some((*utc, 0, boot))),
            Moment::AwaitingClock { .. } => (None, Some((happened, COUNTED_BACK, boot))),
        };
        self.rows.push(Row {
            seq,
            time,
            undated,
            bytes: None,
            state: State::Pending,
            recorded: now,
            stored: 0,
            backed_up: 0,
            is_owed: true,
            may_be_cleared: false,
            is_poison: false,
        });
        self.pending += 1;
    }

    /// How many rows there are up to the first that waits for its time.
    pub(super) fn count_dated(&self) -> usize {
        self.rows.iter().take_while(|row| row.undated.is_none()).count()
    }

    /// How many wait.
    pub(super) fn pending(&self) -> usize {
        self.pending
    }

    /// How many the terminal may not delete.
    pub(super) fn kept(&self) -> u64 {
        let is_kept = |row: &&Row| row.state != State::Acknowledged;
        self.rows.iter().filter(is_kept).count() as u64
    }

    /// How many rows the server asked for again that it does not have yet.
    pub(super) fn asked_again(&self) -> u64 {
        self.rows.iter().filter(|row| row.state == State::AskedAgain).count() as u64
    }

    /// The number in a row of this journal, and its time.
    fn of_line<'a>(&self, line: &'a str) -> Option<(Option<usize>, &'a str)> {
        let mut fields = line.split('\t');
        let (time, number) = match self.stream {
            Stream::Punches => (fields.nth(1)?, fields.nth(2)?),
            _ if !line.starts_with("OPLOG 4\t") => return None,
            _ => (fields.nth(2)?, fields.next()?),
        };
        Some((number.parse().ok(), time))
    }

    /// The rows of a body; it is about to be sent, or `is_asked` by a query.
    pub(super) fn sent(
        &mut self,
        body: &[u8],
        is_asked: bool,
        now: Now<'_>,
    ) -> Result<Vec<usize>, String> {
        let mut found = Vec::new();
        for line in body.split_inclusive(|byte| *byte == b'\n') {
            let text = String::from_utf8_lossy(line);
            let Some((nth, time)) = self.of_line(&text) else { continue };
            let row = nth.and_then(|nth| self.rows.get_mut(nth.checked_sub(1)?));
            let (Some(row), Some(nth)) = (row, nth) else {
                return Err(format!("a row that nobody recorded is sent: {text:?}"));
            };
            if let Err(why) = row.check(line, time, now) {
                return Err(format!("row {nth}, {text:?}: {why}"));
            }
            if !is_asked {
                self.sent_again += u64::from(row.bytes.is_some());
                if row.state == State::Acknowledged {
                    return Err(format!("row {nth} is sent although the server acknowledged it"));
                }
            }
            row.bytes = Some(line.to_vec());
            if found.last().is_some_and(|last| *last >= nth - 1) {
                return Err(format!("row {nth} comes after a later one"));
            }
            found.push(nth - 1);
        }
        Ok(found)
    }

    /// The server stored these.
    pub(super) fn store(&mut self, rows: &[usize]) {
        rows.iter().for_each(|row| self.rows[*row].stored += 1);
    }

    /// How many of these the server did not have.
    pub(super) fn count_new(&self, rows: &[usize]) -> usize {
        rows.iter().filter(|row| self.rows[**row].stored == 0).count()
    }

    /// What the terminal heard of a request with these.
    pub(super) fn heard(&mut self, rows: &[usize], heard: Heard) {
        let state = match heard {
            Heard::All => State::Acknowledged,
            Heard::Some => State::Unclear,
            Heard::Nothing => return,
        };
        for row in rows {
            self.set(*row, state);
        }
        if heard == Heard::All {
            self.just_now.extend(rows);
        }
    }

    fn set(&mut self, row: usize, state: State) {
        let before = std::mem::replace(&mut self.rows[row].state, state);
        self.pending -= usize::from(before == State::Pending);
        self.unclear -= usize::from(before == State::Unclear);
        self.pending += usize::from(state == State::Pending);
        self.unclear += usize::from(state == State::Unclear);
    }

    /// The step has come to its end. Whether the store has to show what became of some rows.
    pub(super) fn step_ended(&mut self) -> bool {
        self.just_now.clear();
        self.unclear > 0
    }

    /// The terminal died before the step came to its end.
    pub(super) fn cut_off(&mut self) {
        for row in std::mem::take(&mut self.just_now) {
            self.set(row, State::Unclear);
        }
    }

    /// Compares with the rows that wait in the store. What is unclear is as it is there; if rows go again
    /// that the server asked for, it is one of these.
    pub(super) fn compare(
        &mut self,
        waiting: &BTreeSet<Seq>,
        goes_again: bool,
    ) -> Result<(), String> {
        for nth in 0..self.rows.len() {
            let row = &self.rows[nth];
            let waits = waiting.contains(&row.seq);
            match row.state {
                State::Pending if !waits => {
                    return Err(format!("row {} waits no more without an answer", nth + 1));
                }
                State::Acknowledged if waits => {
                    return Err(format!("row {} waits although it was acknowledged", nth + 1));
                }
                State::Unclear => {
                    self.set(
                        nth,
                        match waits {
                            true => State::Pending,
                            false if goes_again => State::AskedAgain,
                            false => State::Acknowledged,
                        },
                    );
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The server has lost all rows.
    pub(super) fn lose(&mut self) {
        for row in &mut self.rows {
            if row.stored > 0 {
                (row.stored, row.is_owed) = (0, row.state != State::Acknowledged);
            }
        }
    }

    /// The server is copied.
    pub(super) fn back_up(&mut self) {
        self.rows.iter_mut().for_each(|row| row.backed_up = row.stored);
    }

    /// The server has the rows of its copy, and has lost the others.
    pub(super) fn restore(&mut self) {
        for row in &mut self.rows {
            if row.stored > 0 && row.backed_up == 0 {
                row.is_owed = row.state != State::Acknowledged;
            }
            row.stored = row.backed_up;
        }
    }

    /// The number of the last row that was acknowledged.
    pub(super) fn acknowledged(&self) -> Seq {
        let came = |row: &&Row| [State::Acknowledged, State::AskedAgain].contains(&row.state);
        self.rows.iter().rev().find(came).map_or(0, |row| row.seq)
    }

    /// Whether it is not known of a row if it was acknowledged, or some go again.
    pub(super) fn is_unclear(&self) -> bool {
        self.unclear > 0 || self.asked_again() > 0
    }

    /// The server asked for the rows after this number again. `surely`: the terminal cannot have missed it.
    pub(super) fn ask_again(&mut self, Again { after, surely }: Again) {
        for nth in 0..self.rows.len() {
            if self.rows[nth].state == State::Acknowledged && self.rows[nth].seq > after {
                self.set(nth, State::AskedAgain);
                self.rows[nth].is_owed |= surely && !self.rows[nth].may_be_cleared;
            }
        }
    }

    /// The server asked for the log to be cleared.
    pub(super) fn clear(&mut self) {
        self.rows.iter_mut().for_each(|row| row.may_be_cleared = true);
    }

    /// Whether any of these was asked for again, and one that is new waits longer than since `before`.
    pub(super) fn passes_new_ones(&self, rows: &[usize], before: Duration) -> bool {
        let is_again = |row: &usize| self.rows[*row].state == State::AskedAgain;
        let waits = |row: &Row| row.state == State::Pending && row.recorded < before;
        rows.iter().any(is_again)
            && self.count_dated() == self.rows.len()
            && self.rows.iter().any(waits)
    }

    /// The oldest punch that waits and is not one that the server refuses: since when.
    pub(super) fn waits_since(&self) -> Option<(usize, Duration)> {
        let mut waiting = self.rows.iter().enumerate();
        let found = waiting.find(|(_, row)| row.state == State::Pending && !row.is_poison);
        found.map(|(nth, row)| (nth + 1, row.recorded))
    }

    /// The day is over, and the server took all that it was sent: what is not there.
    pub(super) fn settle(&self, aside: &BTreeSet<Seq>) -> Result<(), String> {
        for (nth, row) in self.rows.iter().enumerate() {
            let is_there = row.stored > 0 || aside.contains(&row.seq);
            if row.is_owed && !is_there {
                return Err(format!("row {} of {:?} is not at the server", nth + 1, row.recorded));
            }
        }
        Ok(())
    }
}

impl Row {
    /// Whether it may be sent so.
    fn check(&mut self, line: &[u8], time: &str, now: Now<'_>) -> Result<(), String> {
        if self.time.as_ref().is_some_and(|known| known != time) {
            return Err(format!("it was recorded at {:?}", self.time));
        }
        if self.bytes.as_deref().is_some_and(|bytes| bytes != line) {
            return Err("it was sent with other bytes before".into());
        }
        let seconds = LocalTime::parse(time).map_or(0, |time| time.seconds());
        if seconds < BUILD_TIME - 14 * 3600 {
            return Err("the clock was not set".into());
        }
        self.time.get_or_insert_with(|| time.to_owned());
        let Some((happened, tolerance, boot)) = self.undated.take() else { return Ok(()) };
        let mut zones = now.zones.iter().map(|hours| i64::from(*hours) * 3600);
        let is_right = |utc: i64| (utc - happened).abs() <= tolerance;
        let may_be = if boot == now.boot || tolerance == 0 {
            zones.any(|zone| is_right(seconds - zone))
        } else {
            // The monotonic clock of an earlier boot is gone.
            zones.any(|zone| seconds - zone <= now.utc)
        };
        if may_be { Ok(()) } else { Err(format!("it happened at {happened} (UTC)")) }
    }
}
