//! What tells a command that the server sends again from one that it asks for anew: which answers came
//! without it, and whether the server's ids only rise. It is one row, written with a command list, with
//! replies that the server took, and with the first answer that shows something new: a server that
//! sends nothing costs no write.

use rusqlite::{OptionalExtension, params};

use super::db::Db;
use super::error::Result;

/// How many different ids have to rise before it counts: fewer may be the fixed ids of some buttons.
const RISING: u8 = 5;

/// In which kind of answer commands come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerKind {
    /// Of a poll.
    Poll,
    /// Of a handshake.
    Handshake,
    /// Of an upload.
    Upload,
}

/// What the server's answers and ids showed so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Askings {
    /// The number of the last answer with commands. Rows of the command log hold the number of the
    /// last in which they came, or that was the last when their reply was taken.
    pub list: i64,
    /// For each kind: a complete answer came without the commands up to this number.
    pub without_it: [i64; 3],
    /// The same, of answers without any command.
    pub without_any: [i64; 3],
    /// The server began its ids anew: what came up to this number is forgotten.
    pub forgotten: i64,
    /// The ids.
    pub ids: Ids,
    /// The host of the server.
    pub host: String,
    /// When this was written last.
    pub time: LogTime,
}

impl Default for Askings {
    fn default() -> Self {
        // Commands of a store of an earlier version have the number 0, and nothing is known of them.
        Self {
            list: 0,
            without_it: [-1; 3],
            without_any: [-1; 3],
            forgotten: -1,
            ids: Ids::default(),
            host: String::new(),
            time: LogTime::default(),
        }
    }
}

impl Askings {
    /// The number for commands of a new answer, above all others.
    pub fn begin_list(&mut self) -> i64 {
        self.list += 1;
        self.list
    }

    /// The number for what happens now: above those of which an answer showed something.
    pub fn current(&mut self) -> i64 {
        let marks = self.without_it.iter().chain(&self.without_any).max();
        self.list = self.list.max(marks.map_or(0, |mark| mark + 1));
        self.list
    }

    /// A complete answer came: with the commands of this list, or without any. Whether it shows
    /// something new.
    pub fn saw_answer(&mut self, kind: AnswerKind, list: Option<i64>) -> bool {
        let (it, any) = (&mut self.without_it[kind as usize], &mut self.without_any[kind as usize]);
        let before = (*it, *any);
        match list {
            Some(list) => *it = (*it).max(list - 1),
            // Nothing was ever asked.
            None if self.list == 0 => {}
            None => (*it, *any) = (self.list, self.list),
        }
        before != (*it, *any)
    }

    /// The server sent an id with a text that it did not have before. `has_other_text`: whether the id
    /// came before, with another; asked only where it matters.
    ///
    /// # Errors
    /// Those of `has_other_text`.
    pub fn saw_id(
        &mut self,
        id: &str,
        has_other_text: impl FnOnce() -> Result<bool>,
        list: i64,
    ) -> Result<()> {
        if self.ids.saw(id) && has_other_text()? {
            log::info!("the server began its command ids anew with {id}");
            self.forgotten = list - 1;
        }
        Ok(())
    }
}

/// What the ids of the server's commands showed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ids {
    /// The highest since they were seen to rise.
    pub highest: Option<u128>,
    /// The highest before they fell.
    pub before: Option<u128>,
    /// How many rose, at most [`RISING`].
    pub risen: u8,
    /// They are not all numbers, or of two sorts: rising ones and fixed ones.
    pub mixed: bool,
}

impl Ids {
    /// Whether they are numbers that have only ever risen.
    pub fn only_rise(&self) -> bool {
        !self.mixed && self.risen >= RISING
    }

    /// Takes an id that is new, or that came with a new text. Whether it shows that they fell.
    fn saw(&mut self, id: &str) -> bool {
        let number = id.parse::<u128>().ok().filter(|_| id.bytes().all(|b| b.is_ascii_digit()));
        let Some(number) = number else {
            self.mixed = true;
            return false;
        };
        match self.highest {
            Some(highest) if number <= highest => {
                self.before = self.before.max(Some(highest));
                (self.highest, self.risen) = (Some(number), 1);
                true
            }
            highest => {
                // One low id, and then on from where they were: a button beside rising ids.
                let went_on = self.before.is_some_and(|before| number > before);
                let jumped = highest.is_some_and(|highest| number - highest > 1);
                self.mixed |= self.risen == 1 && went_on && jumped;
                self.highest = Some(number);
                self.risen = (self.risen + 1).min(RISING);
                false
            }
        }
    }
}

/// A moment, as the terminal's clocks show it.
#[derive(Clone, Copy, Debug)]
pub struct ClockReading<'a> {
    /// The boot to which the monotonic clock belongs.
    pub boot: &'a str,
    /// Seconds on the monotonic clock.
    pub monotonic: i64,
    /// Seconds since 1970, if the clock is set.
    pub utc: Option<i64>,
}

/// The command log's own time, in seconds. It follows the monotonic clock, so that a clock that is set
/// moves nothing. Over a reboot it goes on by the wall clock if that was set before and after, and by no
/// less than the time since the boot: without a clock a pause counts shorter than it was, and a command is
/// taken as a repeat for longer, not shorter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogTime {
    /// What it showed.
    pub at: i64,
    boot: String,
    monotonic: i64,
    utc: Option<i64>,
}

impl LogTime {
    /// What it shows now.
    pub fn now(&self, clock: ClockReading<'_>) -> i64 {
        if clock.boot == self.boot {
            return self.at + (clock.monotonic - self.monotonic).max(0);
        }
        let by_wall = clock.utc.zip(self.utc).map_or(0, |(now, then)| now - then);
        // At first there is nothing from which it could go on.
        if self.boot.is_empty() { self.at } else { self.at + by_wall.max(clock.monotonic) }
    }

    /// Goes on from here.
    pub fn set(&mut self, clock: ClockReading<'_>) {
        *self = Self {
            at: self.now(clock),
            boot: clock.boot.to_owned(),
            monotonic: clock.monotonic,
            utc: clock.utc,
        };
    }
}

/// Reads the row.
pub(super) fn read(db: &Db) -> Result<Askings> {
    let sql = "SELECT list, poll_without_it, handshake_without_it, upload_without_it, poll_without_any,
        handshake_without_any, upload_without_any, forgotten, highest, before, risen, mixed, host, at, boot,
        monotonic, utc FROM askings";
    let number = |text: Option<String>| text.and_then(|text| text.parse().ok());
    let row = db.prepare_cached(sql)?.query_row([], |row| {
        Ok(Askings {
            list: row.get(0)?,
            without_it: [row.get(1)?, row.get(2)?, row.get(3)?],
            without_any: [row.get(4)?, row.get(5)?, row.get(6)?],
            forgotten: row.get(7)?,
            ids: Ids {
                highest: number(row.get(8)?),
                before: number(row.get(9)?),
                risen: row.get(10)?,
                mixed: row.get(11)?,
            },
            host: row.get(12)?,
            time: LogTime {
                at: row.get(13)?,
                boot: row.get(14)?,
                monotonic: row.get(15)?,
                utc: row.get(16)?,
            },
        })
    });
    Ok(row.optional()?.unwrap_or_default())
}

/// Writes the row.
pub(super) fn write(db: &Db, askings: &Askings) -> Result<()> {
    let Askings { list, without_it, without_any, forgotten, ids, host, time } = askings;
    let sql = "INSERT OR REPLACE INTO askings VALUES
        (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)";
    db.prepare_cached(sql)?.execute(params![
        list,
        without_it[0],
        without_it[1],
        without_it[2],
        without_any[0],
        without_any[1],
        without_any[2],
        forgotten,
        ids.highest.map(|id| id.to_string()),
        ids.before.map(|id| id.to_string()),
        ids.risen,
        ids.mixed,
        host,
        time.at,
        time.boot,
        time.monotonic,
        time.utc
    ])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Limits, Store};

    #[test]
    fn ids_rise_fall_and_mix() {
        for (ids, only_rise, falls) in [
            (&["1", "2", "3", "4"][..], false, 0),
            (&["1", "2", "3", "4", "5"], true, 0),
            (&["7", "9", "20", "100", "340282366920938463463374607431768211455"], true, 0),
            (&["1", "2", "door", "4", "5", "6", "7", "8"], false, 0),
            (&["1", "2", "+3", "4", "5", "6", "7", "8"], false, 0),
            // Restored from a backup: the ids go on from lower ones.
            (&["1", "2", "3", "4", "5", "3"], false, 1),
            (&["1", "2", "3", "4", "5", "3", "4", "5", "6", "7"], true, 1),
            // A button with the id 1 beside rising ids.
            (&["50", "51", "52", "53", "54", "1", "55", "56", "57", "58", "59"], false, 1),
        ] {
            let mut seen = Ids::default();
            let fell = ids.iter().filter(|id| seen.saw(id)).count();
            assert_eq!((seen.only_rise(), fell), (only_rise, falls), "{ids:?}");
        }
    }

    #[test]
    fn time_goes_on_whatever_the_clocks_do() {
        let reading = |boot, monotonic, utc| ClockReading { boot, monotonic, utc };
        let mut time = LogTime::default();
        time.set(reading("a", 100, None));
        assert_eq!(time.now(reading("a", 160, Some(1_800_000_000))), 60);
        time.set(reading("a", 160, Some(1_800_000_000)));
        // A clock that is set in the same boot moves nothing.
        assert_eq!(time.now(reading("a", 161, Some(1_900_000_000))), 61);
        // Over a reboot: by the wall clock, or at least the time since the boot.
        assert_eq!(time.now(reading("b", 5, Some(1_800_000_300))), 360);
        assert_eq!(time.now(reading("b", 5, None)), 65);
        assert_eq!(time.now(reading("b", 5, Some(1_700_000_000))), 65);
    }

    #[test]
    fn what_is_written_is_read_the_same() {
        let store = Store::in_memory(Limits::default());
        let written = Askings {
            list: 1,
            without_it: [2, 3, 4],
            without_any: [5, 6, 7],
            forgotten: 8,
            ids: Ids { highest: Some(u128::MAX), before: Some(10), risen: 11, mixed: true },
            host: "h".into(),
            time: LogTime { at: 13, boot: "b".into(), monotonic: 14, utc: Some(15) },
        };
        store.command_log().set_askings(&written).unwrap();
        assert_eq!(store.command_log().askings().unwrap(), written);
    }

    #[test]
    fn an_idle_server_shows_nothing_new_twice() {
        let mut askings = Askings::default();
        assert!(!askings.saw_answer(AnswerKind::Poll, None));
        let list = askings.begin_list();
        assert!(askings.saw_answer(AnswerKind::Poll, Some(list)));
        assert_eq!(askings.current(), list);
        assert!(askings.saw_answer(AnswerKind::Poll, None));
        assert!(!askings.saw_answer(AnswerKind::Poll, None));
        assert_eq!(askings.current(), list + 1);
        assert!(askings.saw_answer(AnswerKind::Poll, None));
        assert!(!askings.saw_answer(AnswerKind::Poll, None));
    }
}
