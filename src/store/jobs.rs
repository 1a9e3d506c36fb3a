//! Jobs: commands that continue after their command list was read (downloads, programs, driver
//! requests). Each step is recorded before it is taken, so that a restart continues there.

use rusqlite::{OptionalExtension, Row, params};

use super::audit_log::AuditLog;
use super::command_log::CommandLog;
use super::db::Db;
use super::error::Result;
use super::retention::Retention;
use super::rows::{Origin, Seq};
use crate::protocol::codes::ReturnCode;

/// A command that continues in the background.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// The row of its command in the command log.
    pub row: i64,
    /// The server's id of the command.
    pub id: String,
    /// The command's text.
    pub text: Vec<u8>,
    /// How far it is.
    pub stage: Stage,
    /// Failures at this stage.
    pub attempts: u32,
    /// How far its download is.
    pub download: Download,
    /// The last number that was given when it began: what changed since is newer than it.
    pub high_water_mark: Seq,
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

/// How far a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Nothing happened yet, or its file is being fetched.
    Fetching,
    /// The file of an upgrade is there and is what it should be.
    Verified,
    /// A program runs, or a driver was asked; it must not happen twice by itself.
    HandedOver,
    /// The program said that the upgrade is installed; it is to prove itself.
    Running,
}

impl Stage {
    /// In the order of their numbers in the store.
    const ALL: [Self; 4] = [Self::Fetching, Self::Verified, Self::HandedOver, Self::Running];

    /// As text, for `punchd status`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fetching => "downloading",
            Self::Verified => "verified",
            Self::HandedOver => "handed over",
            Self::Running => "running",
        }
    }
}

/// A job waits for the jobs of its own lane only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Files and programs, one after the other.
    Work,
    /// Enrolments, one after the other.
    Enrolment,
    /// Doors, which wait for nothing.
    Door,
}

const COLUMNS: &str =
    "job.command, command.id, text, stage, job.attempts, fetched, kept, total, etag, mark
     FROM job JOIN command ON command.row = job.command";

/// Commands that go on beyond their command list.
#[derive(Clone, Copy)]
pub struct Jobs<'a> {
    db: &'a Db,
}

impl<'a> Jobs<'a> {
    pub(super) fn new(db: &'a Db) -> Self {
        Self { db }
    }

    /// A command of the log continues as a job. A door's driver has been asked already.
    ///
    /// # Errors
    /// If there is no room for its text; a door needs none.
    pub fn begin(&self, row: i64, text: &[u8], lane: Lane) -> Result<()> {
        let stage = match lane {
            Lane::Work | Lane::Enrolment => Stage::Fetching,
            Lane::Door => Stage::HandedOver,
        };
        if lane != Lane::Door {
            Retention::new(self.db).require_room_for_rest(Origin::Server, text.len())?;
        }
        self.db
            .prepare_cached(
                "INSERT INTO job (command, text, lane, stage, attempts, fetched, kept, mark)
                 VALUES (?1, ?2, ?3, ?4, 0, 0, 0, ?5)",
            )?
            .execute(params![row, text, lane as u8, stage as u8, self.db.last_seq()])?;
        self.db.counts.jobs.set(None);
        Ok(())
    }

    /// How many jobs there are.
    pub fn count(&self) -> Result<u64> {
        self.db.counted(&self.db.counts.jobs, "SELECT count(*) FROM job")
    }

    /// The rows of all jobs.
    pub fn command_rows(&self) -> Result<Vec<i64>> {
        let mut statement = self.db.prepare_cached("SELECT command FROM job")?;
        let rows = statement.query_map([], |row| row.get(0))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// The jobs, in the order in which they came, as many as `most`.
    pub fn list(&self, most: usize) -> Result<Vec<Job>> {
        let sql = format!("SELECT {COLUMNS} ORDER BY job.command LIMIT ?1");
        let mut statement = self.db.prepare_cached(&sql)?;
        let jobs = statement.query_map([most as i64], job)?;
        Ok(jobs.collect::<rusqlite::Result<_>>()?)
    }

    /// The jobs of a lane, those without trouble first, as many as `most`.
    pub fn in_lane(&self, lane: Lane, most: usize) -> Result<Vec<Job>> {
        // Asked at each step of the loop; most of the time there is no job.
        if self.count()? == 0 {
            return Ok(Vec::new());
        }
        let sql = format!(
            "SELECT {COLUMNS} WHERE lane = ?1 ORDER BY job.attempts > 0, job.command LIMIT ?2"
        );
        let mut statement = self.db.prepare_cached(&sql)?;
        let jobs = statement.query_map(params![lane as u8, most as i64], job)?;
        Ok(jobs.collect::<rusqlite::Result<_>>()?)
    }

    /// One job, unless it came to its end.
    pub fn get(&self, row: i64) -> Result<Option<Job>> {
        let sql = format!("SELECT {COLUMNS} WHERE job.command = ?1");
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
        self.db.prepare_cached("DELETE FROM job WHERE command = ?1")?.execute([row])?;
        self.db.counts.jobs.set(None);
        AuditLog::new(self.db).set_result(row, code)?;
        CommandLog::new(self.db).finish(row, code, rest)
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
    })
}
