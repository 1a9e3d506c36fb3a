//! Rows of the journals that wait for their local time: for the clock to be set, or for the zone.
//!
//! While the clock is not set, a row has the seconds on the monotonic clock of its boot, and the
//! name of that boot in `held`. While the zone is awaited, it has UTC, and `held` is `utc`. A row
//! goes from the first state to the second to local time, each step durable, so that a power cut
//! between them loses nothing. A row that has its local time is never changed again.

use rusqlite::params;

use super::db::Db;
use super::error::Result;
use super::rows::{IN_UTC, Seq};
use super::source::Source;
use crate::protocol::stream::Stream;
use crate::protocol::time::LocalTime;

/// Rows that get their local time in one transaction, so that drivers do not wait.
const BATCH: usize = 500;
/// Most rows before a boot in which the last known time is looked for.
const LOOKED_BACK: i64 = 1000;

/// The clock at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// The boot.
    pub boot: &'a str,
    /// Seconds on its monotonic clock.
    pub monotonic: i64,
    /// The same moment in seconds since 1970.
    pub utc: i64,
}

/// The rows that wait for their local time.
#[derive(Clone, Copy)]
pub struct Undated<'a> {
    db: &'a Db,
}

impl<'a> Undated<'a> {
    pub(super) fn new(db: &'a Db) -> Self {
        Self { db }
    }

    /// How many rows wait for the clock, and how many for the zone alone.
    pub fn count(&self) -> Result<(u64, u64)> {
        let count = |table| {
            format!(
                "SELECT held <> '{IN_UTC}' AS for_clock, held = '{IN_UTC}' AS for_zone
                 FROM {table} WHERE held IS NOT NULL"
            )
        };
        let sql = format!(
            "SELECT coalesce(sum(for_clock), 0), coalesce(sum(for_zone), 0) FROM ({})",
            tables().map(count).collect::<Vec<_>>().join(" UNION ALL ")
        );
        Ok(self.db.prepare_cached(&sql)?.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?)
    }

    /// The same for one stream.
    pub fn of_stream(&self, stream: Stream) -> Result<(u64, u64)> {
        let Source { table, filter, can_await_clock, .. } = Source::of(stream);
        if !can_await_clock {
            return Ok((0, 0));
        }
        let sql = format!(
            "SELECT coalesce(sum(held <> '{IN_UTC}'), 0), coalesce(sum(held = '{IN_UTC}'), 0)
             FROM {table} WHERE held IS NOT NULL AND {filter}"
        );
        Ok(self.db.prepare_cached(&sql)?.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?)
    }

    /// Gives the rows of this boot, counted back from now, their time in UTC. They wait for the
    /// zone then, and no longer depend on the boot. Returns how many there were.
    pub fn date_this_boot(&self, now: Known<'_>) -> Result<usize> {
        self.db.atomically(|| {
            let mut dated = 0;
            for table in tables() {
                // `time` is how long after the boot the row was recorded.
                let sql = format!(
                    "UPDATE {table} SET time = ?1 - max(?2 - time, 0), held = '{IN_UTC}' WHERE held = ?3"
                );
                let row = params![now.utc, now.monotonic, now.boot];
                dated += self.db.prepare_cached(&sql)?.execute(row)?;
            }
            Ok(dated)
        })
    }

    /// Gives the rows that have their time in UTC their local time, by the offset of the zone at
    /// that moment. Returns how many there were.
    pub fn date_by_zone(&self, offset: impl Fn(i64) -> i32) -> Result<usize> {
        let mut dated = 0;
        for table in tables() {
            loop {
                let batch = self.db.atomically(|| self.date_batch(table, &offset))?;
                dated += batch;
                if batch < BATCH {
                    break;
                }
            }
        }
        Ok(dated)
    }

    fn date_batch(&self, table: &str, offset: &impl Fn(i64) -> i32) -> Result<usize> {
        let sql = format!("SELECT seq, time FROM {table} WHERE held = '{IN_UTC}' LIMIT {BATCH}");
        let rows: Vec<(Seq, i64)> = self
            .db
            .prepare_cached(&sql)?
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<rusqlite::Result<_>>()?;
        let sql = format!("UPDATE {table} SET time = ?1, held = NULL WHERE seq = ?2");
        for (seq, utc) in &rows {
            let local = utc + i64::from(offset(*utc));
            self.db.prepare_cached(&sql)?.execute([local, *seq])?;
        }
        Ok(rows.len())
    }

    /// Gives the rows of earlier boots whose clock was never set a time. The monotonic clock of such
    /// a boot is gone with it. Each row gets the earliest time that it can have: the last time known
    /// before its boot (`floor`, if none is), plus its seconds since that boot. Boots are taken in
    /// their order, so that no row is earlier than one of the boot before. `now` is the latest time.
    /// Returns how many rows there were.
    pub fn estimate_earlier_boots(
        &self,
        boot: &str,
        now: LocalTime,
        floor: LocalTime,
    ) -> Result<usize> {
        let held = |table| format!("SELECT held, seq FROM {table} WHERE held IS NOT NULL");
        let boots = format!(
            "SELECT held, min(seq) FROM ({}) WHERE held NOT IN (?1, '{IN_UTC}')
             GROUP BY held ORDER BY min(seq)",
            tables().map(held).collect::<Vec<_>>().join(" UNION ALL ")
        );
        self.db.atomically(|| {
            let boots: Vec<(String, Seq)> = self
                .db
                .prepare_cached(&boots)?
                .query_map([boot], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect::<rusqlite::Result<_>>()?;
            let mut estimated = 0;
            for (earlier, first) in boots {
                let base = self.last_known_before(first, now)?.unwrap_or(floor.seconds());
                for table in tables() {
                    let sql = format!(
                        "UPDATE {table} SET time = min(?2, ?1 + time), held = NULL WHERE held = ?3"
                    );
                    let row = params![base, now.seconds(), earlier];
                    estimated += self.db.prepare_cached(&sql)?.execute(row)?;
                }
            }
            Ok(estimated)
        })
    }

    /// The latest time of the rows just before a number, but not one that is still to come.
    fn last_known_before(&self, seq: Seq, now: LocalTime) -> Result<Option<i64>> {
        let latest = |table| {
            format!(
                "SELECT max(time) AS latest FROM (SELECT time FROM {table}
                 WHERE seq < ?1 AND held IS NULL AND time <= ?2 ORDER BY seq DESC LIMIT {LOOKED_BACK})"
            )
        };
        let latest = tables().map(latest).collect::<Vec<_>>().join(" UNION ALL ");
        let sql = format!("SELECT max(latest) FROM ({latest})");
        Ok(self.db.prepare_cached(&sql)?.query_row([seq, now.seconds()], |row| row.get(0))?)
    }
}

fn tables() -> impl Iterator<Item = &'static str> {
    Source::tables_that_await_the_clock().into_iter()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::protocol::record::{Jpeg, Operand, Pin};
    use crate::store::{Limits, Moment, NewOperation, NewPhoto, NewPunch, Store};

    /// 2026-11-10 12:00:00 UTC.
    const NOON: i64 = 1_794_312_000;

    struct TestStore(PathBuf, Store, u32);

    impl TestStore {
        fn new(name: &str) -> Self {
            let dir =
                std::env::temp_dir().join(format!("punchd-undated-{name}-{}", std::process::id()));
            let _ = std::fs::remove_dir_all(&dir);
            std::fs::create_dir_all(&dir).unwrap();
            let store = Store::open(&dir.join("punchd.db"), Limits::default()).unwrap();
            Self(dir, store, 0)
        }

        /// What a power cut leaves.
        fn reopen(&mut self) {
            self.2 += 1;
            let copy = self.0.join(format!("copy{}.db", self.2));
            for suffix in ["", "-wal"] {
                let file = |path: &std::path::Path| format!("{}{suffix}", path.display());
                std::fs::copy(file(self.1.path()), file(&copy)).unwrap();
            }
            self.1 = Store::open(&copy, Limits::default()).unwrap();
        }

        fn punch(&self, moment: Moment) -> Seq {
            let punch = NewPunch::of("7", moment);
            self.1.journal().add_punch(&punch).unwrap()
        }

        /// Seconds of the wall clock at which punches happened, by their numbers; those that wait
        /// are left out.
        fn times(&self) -> Vec<i64> {
            let (punches, _) = self.1.journal().punches_after(0, 1000).unwrap();
            punches.iter().map(|punch| punch.time.seconds()).collect()
        }
    }

    impl Drop for TestStore {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn on(boot: &str, seconds: i64) -> Moment {
        Moment::AwaitingClock { boot: boot.into(), seconds }
    }

    fn at(seconds: i64) -> LocalTime {
        LocalTime::from_seconds(seconds).unwrap()
    }

    /// Noon, when this boot is an hour old.
    fn noon(boot: &str) -> Known<'_> {
        Known { boot, monotonic: 3600, utc: NOON }
    }

    #[test]
    fn rows_of_this_boot_are_counted_back_from_now() {
        let test = TestStore::new("back");
        for seconds in [10, 600, 3599, 3600] {
            test.punch(on("this", seconds));
        }
        let undated = test.1.undated();
        assert_eq!(undated.count().unwrap(), (4, 0));
        assert_eq!(undated.date_this_boot(noon("this")).unwrap(), 4);
        // They wait for the zone: none has a local time yet.
        assert_eq!((undated.count().unwrap(), test.times()), ((0, 4), vec![]));
        assert_eq!(undated.date_by_zone(|_| 8 * 3600).unwrap(), 4);
        let local = NOON + 8 * 3600;
        assert_eq!(test.times(), [local - 3590, local - 3000, local - 1, local]);
        assert_eq!(undated.count().unwrap(), (0, 0));
        // What has its time keeps it.
        assert_eq!(undated.date_this_boot(Known { utc: NOON + 9, ..noon("this") }).unwrap(), 0);
        assert_eq!(undated.date_by_zone(|_| -3600).unwrap(), 0);
        assert_eq!(test.times(), [local - 3590, local - 3000, local - 1, local]);
    }

    #[test]
    fn rows_that_wait_for_the_zone_get_the_offset_of_their_own_moment() {
        let test = TestStore::new("summer");
        // Summer time ends at noon: two punches an hour apart have one time, and both stay.
        test.punch(Moment::AwaitingZone { utc: NOON - 1800 });
        test.punch(Moment::AwaitingZone { utc: NOON + 1800 });
        let offset = |utc| if utc < NOON { 7200 } else { 3600 };
        assert_eq!(test.1.undated().date_by_zone(offset).unwrap(), 2);
        assert_eq!(test.times(), [NOON + 5400, NOON + 5400]);
    }

    #[test]
    fn a_reboot_loses_no_time_that_was_in_utc() {
        let mut test = TestStore::new("reboot");
        test.punch(Moment::AwaitingZone { utc: NOON - 100 });
        test.punch(on("first", 3500));
        test.1.undated().date_this_boot(noon("first")).unwrap();
        test.reopen();
        test.punch(on("second", 20));
        let undated = test.1.undated();
        undated.date_this_boot(Known { boot: "second", monotonic: 60, utc: NOON + 600 }).unwrap();
        undated.date_by_zone(|_| 3600).unwrap();
        let local = NOON + 3600;
        assert_eq!(undated.estimate_earlier_boots("second", at(local + 600), at(NOON)).unwrap(), 0);
        assert_eq!(test.times(), [local - 100, local - 100, local + 560]);
    }

    #[test]
    fn rows_of_earlier_boots_get_the_earliest_time_they_can_have_in_their_order() {
        let test = TestStore::new("boots");
        test.punch(Moment::At(at(NOON)));
        // The second boot came after the first: its rows are later, although it was younger.
        test.punch(on("first", 900));
        test.punch(on("first", 1000));
        test.punch(on("second", 5));
        test.punch(on("this", 3000));
        let undated = test.1.undated();
        let now = NOON + 86_400;
        assert_eq!(undated.date_this_boot(Known { utc: now, ..noon("this") }).unwrap(), 1);
        assert_eq!(undated.date_by_zone(|_| 0).unwrap(), 1);
        assert_eq!(undated.estimate_earlier_boots("this", at(now), at(NOON - 9)).unwrap(), 3);
        assert_eq!(test.times(), [NOON, NOON + 900, NOON + 1000, NOON + 1005, now - 600]);
    }

    #[test]
    fn an_estimate_is_never_in_the_future_and_never_before_the_build() {
        let test = TestStore::new("floor");
        let floor = at(NOON - 50);
        // A driver's wrong time, still to come, is no base.
        test.punch(Moment::At(at(NOON + 1_000_000)));
        test.punch(on("first", 20));
        test.punch(on("first", 70));
        let undated = test.1.undated();
        assert_eq!(undated.estimate_earlier_boots("this", at(NOON), floor).unwrap(), 2);
        assert_eq!(test.times(), [NOON + 1_000_000, NOON - 30, NOON]);
    }

    #[test]
    fn operations_and_photos_get_their_time_with_the_punches() {
        let test = TestStore::new("journals");
        test.punch(on("this", 3000));
        let operation = NewOperation {
            code: 0,
            moment: on("this", 3100),
            operator: Operand::default(),
            who: Operand::default(),
            values: Default::default(),
        };
        test.1.journal().add_operation(&operation).unwrap();
        let photo = NewPhoto {
            pin: Pin::new("7").unwrap(),
            moment: on("this", 3200),
            card: None,
            photo: Jpeg::new("photo", b"\xFF\xD8\xFF\xE0made-up picture\xFF\xD9".to_vec()).unwrap(),
        };
        test.1.journal().add_photo(&photo).unwrap();
        let undated = test.1.undated();
        assert_eq!(undated.count().unwrap(), (3, 0));
        assert_eq!(undated.date_this_boot(noon("this")).unwrap(), 3);
        assert_eq!(undated.date_by_zone(|_| 0).unwrap(), 3);
        assert_eq!(undated.count().unwrap(), (0, 0));
        assert_eq!(test.times(), [NOON - 600]);
    }

    #[test]
    fn more_rows_than_one_batch_get_their_time() {
        let test = TestStore::new("many");
        test.1
            .atomically(|| {
                for nth in 0..1201 {
                    test.punch(Moment::AwaitingZone { utc: NOON + nth });
                }
                Ok::<(), crate::store::StoreError>(())
            })
            .unwrap();
        assert_eq!(test.1.undated().date_by_zone(|_| 60).unwrap(), 1201);
        assert_eq!(test.1.undated().count().unwrap(), (0, 0));
    }
}
