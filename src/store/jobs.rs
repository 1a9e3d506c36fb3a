//! Jobs: commands that continue after their command list was read (downloads, programs, driver
//! requests). Each step is recorded before it is taken, so that a restart continues there.

use rusqlite::{OptionalExtension, Row, params};

use super::audit_log::AuditLog;
use super::command_log::CommandLog;
use super::db::Db;
use super::error::{Result, StoreError};
use super::job_order::{JobOrder, touches};
use super::lane::{Lane, Stage};
use super::options::Options;
use super::retention::Retention;
use super::rows::{Origin, Seq};
use crate::protocol::codes::ReturnCode;
use crate::protocol::touches::{Also, Things, Touches};

/// A command that continues in the background.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// The row of its command in the command log.
    pub row: i64,
    /// The server's id of the command.
    pub id: String,
    /// The command's text; where jobs are listed, its first 256 bytes.
    pub text: Vec<u8>,
    /// How far it is.
    pub stage: Stage,
    /// Failures at this stage.
    pub attempts: u32,
    /// How far its download is.
    pub download: Download,
    /// The last number that was given when it began: what changed since is newer than it.
    pub high_water_mark: Seq,
    /// Its place in the order in which commands came.
    pub turn: i64,
    /// What it touches.
    pub touches: Touches,
    /// The row of the command that it waits for; 0 if that has ended.
    pub after: Option<i64>,
    /// The number of its lane.
    lane: u8,
}

/// How far a download is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Download {
    /// Bytes that came and are safe on disk.
    pub fetched: u64,
    /// What they are on disk, in bytes: less, if they came as base64.
    pub kept: u64,
    /// All there is to fetch, as the server says.
    pub total: Option<u64>,
    /// The file's ETag or modification time, as the server gave it.
    pub version: Option<String>,
}

impl Download {
    /// Whether nothing is left to fetch.
    pub fn is_whole(&self) -> bool {
        self.total == Some(self.fetched)
    }
}

/// Most commands that may be under way or wait.
const MOST_JOBS: u64 = 100_000;
/// Bytes of a command's text where jobs are listed.
const BEGINNING: usize = 256;
/// Upgrades touch the device: they come one after the other.
const MOST_UPGRADES: i64 = 8;
/// Most bytes of their texts.
const MOST_TEXT: u64 = 64 << 20;
/// Longest text of a command that may wait, or clear the log, where the part of the rest is used up: it takes the room that
/// is kept for commands ([`super::capacity::Capacity::commands`]). So deletions and `REBOOT` go also
/// when something is before them.
const SHORT: usize = 128;

/// Selects jobs; `text` is what of their text is read.
fn select(text: &str) -> String {
    format!(
        "SELECT job.command, command.id, {text}, stage, job.attempts, fetched, kept, total, etag,
            mark, turn, reads, writes, pin, also, after, lane
         FROM job CROSS JOIN command ON command.row = job.command"
    )
}

/// Commands that go on beyond their command list.
#[derive(Clone, Copy)]
pub struct Jobs<'a> {
    db: &'a Db,
}

impl<'a> Jobs<'a> {
    pub(super) fn new(db: &'a Db) -> Self {
        Self { db }
    }

    /// A command of the log continues as a job: a door's driver has been asked already; one that
    /// waits does so for the command in the row `after`.
    ///
    /// # Errors
    /// If there is no room for its text; urgent ones, and short ones that wait or go over the log, need
    /// none.
    pub fn begin(
        &self,
        row: i64,
        text: &[u8],
        lane: Lane,
        touches: &Touches,
        after: Option<i64>,
    ) -> Result<()> {
        let is_of_log = (touches.reads | touches.writes).meets(Things::LOG | Things::PHOTOS);
        let is_from_reserve = (lane == Lane::Waiting || is_of_log) && text.len() <= SHORT;
        if !lane.is_urgent(touches) && !is_from_reserve {
            Retention::new(self.db).require_room_for_rest(Origin::Server, text.len())?;
        }
        let Touches { reads, writes, pin, also } = touches;
        self.db
            .prepare_cached(
                "INSERT INTO job (command, text, lane, stage, attempts, fetched, kept, mark, turn,
                    reads, writes, pin, also, after)
                 VALUES (?1, ?2, ?3, ?4, 0, 0, 0, ?5, (SELECT coalesce(max(turn), 0) + 1 FROM job),
                    ?6, ?7, ?8, ?9, ?10)",
            )?
            .execute(params![
                row,
                text,
                lane as u8,
                lane.first_stage() as u8,
                self.db.last_seq(),
                reads.0,
                writes.0,
                pin,
                *also as u8,
                after
            ])?;
        JobOrder::new(self.db).added(lane as u8, touches, text.len());
        Ok(())
    }

    /// A command that waited is carried out: it continues in a lane.
    pub fn start(&self, job: &Job, lane: Lane, touches: &Touches) -> Result<()> {
        let Touches { reads, writes, pin, also } = touches;
        let order = JobOrder::new(self.db);
        order.removed(job.lane, &job.touches, job.text.len());
        self.db
            .prepare_cached(
                "UPDATE job SET lane = ?2, stage = ?3, attempts = 0, mark = ?4, reads = ?5, writes = ?6,
                    pin = ?7, also = ?8, after = NULL WHERE command = ?1",
            )?
            .execute(params![
                job.row,
                lane as u8,
                lane.first_stage() as u8,
                self.db.last_seq(),
                reads.0,
                writes.0,
                pin,
                *also as u8
            ])?;
        order.added(lane as u8, touches, job.text.len());
        // Those that wait for it may not have to any longer.
        order.release(job.row)
    }

    /// A job that waits goes on waiting, for the command in the row `after`.
    pub fn set_after(&self, row: i64, after: i64) -> Result<()> {
        let sql = "UPDATE job SET after = ?2 WHERE command = ?1";
        self.db.prepare_cached(sql)?.execute([row, after]).map(drop)?;
        Ok(())
    }

    /// How many jobs there are.
    pub fn count(&self) -> Result<u64> {
        JobOrder::new(self.db).count()
    }

    /// Whether there is room for one more, with a text of so many bytes.
    pub fn has_room(&self, bytes: usize) -> Result<bool> {
        let order = JobOrder::new(self.db);
        let (count, bytes) = (order.count()?, order.bytes()? + bytes as u64);
        if count < MOST_JOBS / 10 * 9 && bytes < MOST_TEXT / 10 * 9 {
            self.db.jobs_refused.set(false);
        }
        Ok(count < MOST_JOBS && bytes <= MOST_TEXT)
    }

    /// Whether it has to be said that there is no room: it was not, since a tenth was free.
    pub fn must_say_no_room(&self) -> bool {
        !self.db.jobs_refused.replace(true)
    }

    /// Whether one more may begin, with a text of so many bytes: there is room also in the part of the
    /// store that is not for punches.
    pub fn has_room_for(&self, bytes: usize) -> Result<bool> {
        let part = Retention::new(self.db).require_room_for_rest(Origin::Server, bytes);
        match part {
            Err(StoreError::PartFull(_)) => Ok(false),
            part => part.and_then(|()| self.has_room(bytes)),
        }
    }

    /// The last command before the one with this `turn` (before all that are to come, if there is
    /// none) that touches the same, and has not ended.
    pub fn blocker(&self, touches: &Touches, turn: Option<i64>) -> Result<Option<i64>> {
        JobOrder::new(self.db).blocker(touches, turn)
    }

    /// The jobs that wait for nothing any longer, the oldest first.
    pub fn released(&self, most: usize) -> Result<Vec<Job>> {
        if JobOrder::new(self.db).in_lane(Lane::Waiting as u8)? == 0 {
            return Ok(Vec::new());
        }
        let which = |operator: &str| {
            let queries = Also::Queries as u8;
            format!("WHERE after = 0 AND also {operator} {queries} ORDER BY turn LIMIT ?1")
        };
        let mut jobs = self.beginnings(&which("<>"), [most as i64])?;
        // Of queries there may be thousands, which wait for their turn.
        jobs.extend(self.beginnings(&which("="), [1])?);
        Ok(jobs)
    }

    /// The jobs that wait for commands before them, but not for ever: `REBOOT`, enrolments.
    pub fn impatient(&self, most: usize) -> Result<Vec<Job>> {
        if JobOrder::new(self.db).in_lane(Lane::Waiting as u8)? == 0 {
            return Ok(Vec::new());
        }
        let (all, briefly, lane) = (Also::All as u8, Also::Briefly as u8, Lane::Waiting as u8);
        let which = format!(
            "WHERE also IN ({all}, {briefly}) AND lane = {lane} AND after > 0 ORDER BY turn LIMIT ?1"
        );
        self.beginnings(&which, [most as i64])
    }

    /// How many bytes all downloads together have fetched.
    pub fn bytes_fetched(&self) -> Result<i64> {
        let sql = "SELECT coalesce(sum(fetched), 0) FROM job WHERE lane = 0";
        Ok(self.db.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
    }

    /// The jobs after a job that wait, and that touch the same as it does.
    pub fn waiting_for(&self, job: &Job) -> Result<Vec<Job>> {
        let which = format!("WHERE lane = {} AND turn > ?1 ORDER BY turn", Lane::Waiting as u8);
        let waiting = self.beginnings(&which, [job.turn])?;
        Ok(waiting.into_iter().filter(|other| other.touches.conflicts(&job.touches)).collect())
    }

    /// Jobs with the beginning of their texts: a text may have megabytes.
    fn beginnings(&self, which: &str, values: [i64; 1]) -> Result<Vec<Job>> {
        let beginning = format!("coalesce(substr(text, 1, {BEGINNING}), x'')");
        let sql = format!("{} {which}", select(&beginning));
        let mut statement = self.db.prepare_cached(&sql)?;
        let jobs = statement.query_map(values, job)?;
        Ok(jobs.collect::<rusqlite::Result<_>>()?)
    }

    /// The rows of all jobs.
    pub fn command_rows(&self) -> Result<Vec<i64>> {
        let mut statement = self.db.prepare_cached("SELECT command FROM job")?;
        let rows = statement.query_map([], |row| row.get(0))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// The jobs, in the order in which they came, as many as `most`.
    pub fn list(&self, most: usize) -> Result<Vec<Job>> {
        self.beginnings("ORDER BY turn LIMIT ?1", [most as i64])
    }

    /// The jobs of a lane, those without trouble first, as many as `most`.
    pub fn in_lane(&self, lane: Lane, most: usize) -> Result<Vec<Job>> {
        // Asked at each step of the loop; most of the time there is no job.
        if JobOrder::new(self.db).in_lane(lane as u8)? == 0 {
            return Ok(Vec::new());
        }
        let mut jobs = Vec::new();
        for trouble in ["job.attempts = 0", "job.attempts > 0"] {
            let which = format!("WHERE lane = {} AND {trouble} ORDER BY turn LIMIT ?1", lane as u8);
            jobs.extend(self.beginnings(&which, [(most - jobs.len()) as i64])?);
        }
        Ok(jobs)
    }

    /// The upgrades whose new program is to prove itself, however many other jobs are before them.
    pub fn upgrades_to_prove(&self) -> Result<Vec<Job>> {
        let lane = Lane::Work as u8;
        if JobOrder::new(self.db).in_lane(lane)? == 0 {
            return Ok(Vec::new());
        }
        let (running, on_trial) = (Stage::Running as u8, Stage::OnTrial as u8);
        let which = format!("WHERE lane = {lane} AND stage IN ({running}, {on_trial}) LIMIT ?1");
        self.beginnings(&which, [MOST_UPGRADES])
    }

    /// One job, unless it came to its end.
    pub fn get(&self, row: i64) -> Result<Option<Job>> {
        let sql = format!("{} WHERE job.command = ?1", select("text"));
        Ok(self.db.prepare_cached(&sql)?.query_row([row], job).optional()?)
    }

    /// Records how far a download is; its bytes must be on disk.
    pub fn set_download(&self, row: i64, download: &Download, attempts: u32) -> Result<()> {
        let Download { fetched, kept, total, version } = download;
        self.db
            .prepare_cached(
                "UPDATE job SET fetched = ?2, kept = ?3, total = ?4, etag = ?5, attempts = ?6 WHERE command = ?1",
            )?
            .execute(params![row, *fetched as i64, *kept as i64, total.map(|all| all as i64), version, attempts])?;
        Ok(())
    }

    /// Counts failures of a job.
    pub fn add_failures(&self, row: i64, troubles: u32) -> Result<()> {
        let sql = "UPDATE job SET attempts = attempts + ?2 WHERE command = ?1";
        self.db.prepare_cached(sql)?.execute(params![row, troubles])?;
        Ok(())
    }

    /// A job gets on: failures at this stage do not count any longer.
    pub fn forget_failures(&self, row: i64) -> Result<()> {
        let sql = "UPDATE job SET attempts = 0 WHERE command = ?1 AND attempts > 0";
        self.db.prepare_cached(sql)?.execute([row])?;
        Ok(())
    }

    /// These attempts do not count: the store failed, or the time was over before.
    pub fn void_failures(&self, rows: &[i64]) -> Result<()> {
        self.db.atomically(|| {
            rows.iter().try_for_each(|row| {
                let sql = "UPDATE job SET attempts = max(attempts - 1, 0) WHERE command = ?1";
                self.db.prepare_cached(sql)?.execute([row]).map(drop)?;
                Ok(())
            })
        })
    }

    /// Records that a job begins a stage.
    pub fn set_stage(&self, job: &Job, stage: Stage) -> Result<()> {
        let attempts = if job.stage == stage { job.attempts + 1 } else { 0 };
        self.db
            .prepare_cached("UPDATE job SET stage = ?2, attempts = ?3 WHERE command = ?1")?
            .execute(params![job.row, stage as u8, attempts])?;
        Ok(())
    }

    /// Ends a job with the result of its command.
    pub fn finish(&self, row: i64, code: ReturnCode, rest: &[u8]) -> Result<()> {
        self.remove(row)?;
        AuditLog::new(self.db).set_result(row, code)?;
        CommandLog::new(self.db).finish(row, code, rest)
    }

    /// A job is over; its command has its result already, or gets it next.
    pub fn remove(&self, row: i64) -> Result<()> {
        let Some(job) = self.get(row)? else { return Ok(()) };
        self.db.prepare_cached("DELETE FROM job WHERE command = ?1")?.execute([row])?;
        Options::new(self.db).forget_replacement(row)?;
        let order = JobOrder::new(self.db);
        order.removed(job.lane, &job.touches, job.text.len());
        order.release(row)
    }
}

fn job(row: &Row<'_>) -> rusqlite::Result<Job> {
    let stage: usize = row.get::<_, u8>(3)?.into();
    Ok(Job {
        row: row.get(0)?,
        id: row.get(1)?,
        text: row.get(2)?,
        stage: Stage::ALL.get(stage).copied().unwrap_or(Stage::Fetching),
        attempts: row.get(4)?,
        download: Download {
            fetched: row.get::<_, i64>(5)?.unsigned_abs(),
            kept: row.get::<_, i64>(6)?.unsigned_abs(),
            total: row.get::<_, Option<i64>>(7)?.map(i64::unsigned_abs),
            version: row.get(8)?,
        },
        high_water_mark: row.get(9)?,
        turn: row.get(10)?,
        touches: touches(row, 11)?,
        after: row.get(15)?,
        lane: row.get(16)?,
    })
}
